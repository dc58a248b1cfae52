"""YAML whose mistakes can be pointed at: every key knows its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from bombo.errors import ConfigError


class YamlFile:
    """A YAML file read safely, together with the lines its keys stand on.

    Args:
        path: The file.

    Raises:
        ConfigError: The file is missing, a folder, or no YAML mapping, or says a key twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            fix = "give the file; `bombo convert FOLDER NEW --to coco` writes one for a data set that has none"
            raise ConfigError("is a folder, where a YAML file is expected", where=str(path), fix=fix)
        try:
            text = path.read_text(encoding="utf-8")
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.content: dict[object, object] = yaml.safe_load(text)
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError("file is missing", where=str(path), fix="check the path") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read ({error})", where=str(path), fix="save it as UTF-8 text") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or error
            raise ConfigError(f"is not valid YAML ({problem})", where=f"{path}{line}", fix="check the indent") from None
        if not isinstance(self.content, dict):
            raise ConfigError("is no YAML mapping", where=str(path), fix="write `key: value` lines")
        for key in _keys_said_twice(self._root):
            # YAML keeps the last one and forgets the first, which would silently drop a user's data
            raise ConfigError(
                f"key `{key.value}` stands here for the second time",
                where=f"{path}, line {key.start_mark.line + 1}",
                fix="merge the two",
            )

    def where(self, *keys: object) -> str:
        """Names a place as `pets.yaml, line 7, train[1].use`.

        Keys that are not in the file (a missing one, or a step that only the validator knows) do not move the line.
        """
        node, line, trail = self._root, None, ""
        for key in keys:
            inner = _child(node, key)
            if inner is None:
                continue
            node, line = inner
            trail += f"[{key}]" if isinstance(key, int) else f".{key}"
        parts = [str(self.path), f"line {line}" if line else "", trail.lstrip(".")]
        return ", ".join(part for part in parts if part)


def _child(node: yaml.Node | None, key: object) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            if key_node.value == str(key):
                return value_node, key_node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark.line + 1
    return None


def _keys_said_twice(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _keys_said_twice(item)
    elif isinstance(node, yaml.MappingNode):
        seen: set[object] = set()
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    yield key_node
                seen.add(key_node.value)
            yield from _keys_said_twice(value_node)
