"""One YAML file as plain data, and the position of every key in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cfbench.errors import SuiteError

Path_ = tuple[str, ...]
Positions = dict[Path_, str]
_MAX_BYTES = 1_000_000
_MAX_NODES = 10_000
_MAX_DEPTH = 40


def read_document(path: Path) -> tuple[dict[str, Any], Positions]:
    """Return the file's mapping and `{key path: "file:line:column"}`.

    Raises SuiteError, with the position, for anything that is not one plain YAML mapping with unique keys.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    text = _read_text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise SuiteError(f"{path}:1:1: expected a mapping of keys such as `suite:` and `datasets:`")
        positions = dict(_walk(node, (), str(path), [0]))
        data = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise SuiteError(f"{at}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise SuiteError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(data, dict):
        raise SuiteError(f"{path}:1:1: expected a mapping of keys such as `suite:` and `datasets:`")
    return {str(key): value for key, value in data.items()}, positions


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SuiteError(f"{path}: larger than {_MAX_BYTES} bytes; that is no suite")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: is not UTF-8 text (byte {error.start})") from error


def _walk(node: yaml.Node, path: Path_, file: str, count: list[int]) -> Iterator[tuple[Path_, str]]:
    """Yield the position of every key and list item. Aliases are walked again, so the number of nodes is bounded."""
    count[0] += 1
    if count[0] > _MAX_NODES or len(path) > _MAX_DEPTH:
        raise SuiteError(f"{file}: more than {_MAX_NODES} values or {_MAX_DEPTH} levels; that is no suite")
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            at = f"{file}:{key.start_mark.line + 1}:{key.start_mark.column + 1}"
            if str(key.value) in seen:
                raise SuiteError(f"{at}: {'.'.join((*path, str(key.value)))}: this key is there twice")
            seen.add(str(key.value))
            yield (*path, str(key.value)), at
            yield from _walk(value, (*path, str(key.value)), file, count)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, str(index)), f"{file}:{value.start_mark.line + 1}:{value.start_mark.column + 1}"
            yield from _walk(value, (*path, str(index)), file, count)
