"""Read YAML that people write: plain mappings, refused where it is ambiguous or hostile.

Anchors and aliases are refused (ten lines of them expand to 10^10 nodes), duplicate keys are refused (PyYAML keeps the
last one silently), tags are refused (`yaml.SafeLoader`), files over 1 MB are refused. Only `true` and `false` are
booleans, as in YAML 1.2: `off`, `no` and `on` are the words they look like (`purify: {mode: off}`).
"""

import re
from pathlib import Path
from typing import Any

import yaml

from geosemi.errors import ConfigError

MAX_BYTES = 1_000_000


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without aliases and without duplicate keys."""

    def compose_node(self, parent: yaml.nodes.Node | None, index: Any) -> yaml.nodes.Node | None:
        """Refuse aliases, then compose as usual."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"aliases are not allowed (line {self.line + 1})")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.nodes.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice in one mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.nodes.ScalarNode):
                raise yaml.YAMLError(f"a key is a word or number (line {key.start_mark.line + 1})")
            if key.value in seen:
                raise yaml.YAMLError(f"`{key.value}` stands twice (line {key.start_mark.line + 1})")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_BOOL = "tag:yaml.org,2002:bool"
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != _BOOL]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(_BOOL, re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))


def parse_value(text: str) -> Any:
    """Return the value that a short YAML text means, by the same rules as in files.

    Raises:
        ValueError: it is not YAML.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        ConfigError: the file is missing, too large, not YAML, or not a mapping.
    """
    if not path.is_file():
        raise ConfigError(f"`{path}` does not exist", hint="check the path; configs are YAML files")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"`{path}` is larger than 1 MB", hint="a config or legend is a short YAML file; is this one?")
    try:
        # utf-8-sig: editors on Windows write a byte-order mark
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read: {error.strerror}", hint="check its permissions") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date like 2024-13-45
        cause = " ".join(str(error).split())
        raise ConfigError(f"`{path}` is not readable YAML: {cause}", hint="fix the line that is named") from error
    if not isinstance(content, dict):
        raise ConfigError(f"`{path}` holds no mapping", hint="write `key: value` lines")
    return content
