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
    from geosemi.settings import dotted

    if not name:
        wide = max(map(len, KINDS)) + 2
        for each in KINDS:
            kind = method_named(each)
            print(f"{each:<{wide}}{kind.idea} ({kind.source})" if kind.source != "–" else f"{each:<{wide}}{kind.idea}")
        return
    kind = method_named(name)
    print(f"{name}: {kind.idea}\nsource: {kind.source}")
    for key, value in dotted({"method": kind(name=name).model_dump(mode="json")}):
        print(f"  {key} = {value if isinstance(value, str) else json.dumps(value)}")
