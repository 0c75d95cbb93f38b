"""`geosemi methods`: which ways to learn there are."""

import json
from typing import Annotated

import typer

EPILOG = """
**Examples**

`geosemi methods`

`geosemi methods cps`   (its numbers, as `train --set method.KEY=VALUE` takes them)
"""


def methods(
    name: Annotated[str, typer.Argument(help="One of them, to see its numbers.", show_default=False)] = "",
) -> None:
    """List the methods of `geosemi train --method`, or the numbers of one of them.

    Defaults are those of the released code, with pretrained networks in mind; docs/methods.md has ideas, losses and
    sources. Those that start from scratch (`light`) get a few others.
    """
    from geosemi.config import method_named
    from geosemi.methods.settings import KINDS

    if not name:
        wide = max(map(len, KINDS)) + 2
        for each in KINDS:
            kind = method_named(each)
            print(f"{each:<{wide}}{kind.idea} ({kind.source})" if kind.source != "–" else f"{each:<{wide}}{kind.idea}")
        return
    kind = method_named(name)
    print(f"{name}: {kind.idea}\nsource: {kind.source}")
    for key, value in kind(name=name).model_dump(mode="json").items():
        for line, shown in _flat(f"method.{key}", value):
            print(f"  {line} = {shown}")


def _flat(key: str, value: object) -> list[tuple[str, object]]:
    """Return dotted keys of nested settings, as `--set` takes them."""
    if not isinstance(value, dict):
        return [(key, value if isinstance(value, str) else json.dumps(value))]
    return [pair for inner, each in value.items() for pair in _flat(f"{key}.{inner}", each)]
