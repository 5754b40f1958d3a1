"""Suites on suites: `extends:`, command-line overrides, and interpolation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cfbench.errors import SuiteError
from cfbench.suite.document import Positions, read_document


def read_layers(path: Path, overrides: Sequence[str]) -> tuple[dict[str, Any], Positions]:
    """Return the merged, resolved configuration of a suite file and where each key was set.

    Mappings merge by key, `null` removes a key, lists replace. A component whose `use` changes starts afresh.
    """
    config, positions = _extended(path, ())
    for override in overrides:
        patch, places = _override(override)
        config = merge(config, patch)
        positions.update(places)
    return _resolved(config, path), positions


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(old, Mapping) and not _changes_use(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = merge({}, value) if isinstance(value, Mapping) else value
    return merged


def _changes_use(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "use" in old and "use" in new and old["use"] != new["use"]


def _extended(path: Path, below: tuple[Path, ...]) -> tuple[dict[str, Any], Positions]:
    if path.resolve() in below:
        raise SuiteError(f"{path}: extends itself: {' -> '.join(str(p) for p in (*below, path))}")
    config, positions = read_document(path)
    parent = config.pop("extends", None)
    if parent is None:
        return merge({}, config), positions
    if not isinstance(parent, str):
        raise SuiteError(f"{positions[('extends',)]}: extends: expected the path of a suite, got {parent!r}")
    if not (path.parent / parent).is_file():
        raise SuiteError(f"{positions[('extends',)]}: extends: there is no file {path.parent / parent}")
    base, base_positions = _extended(path.parent / parent, (*below, path.resolve()))
    return merge(base, config), {**base_positions, **positions}


def _override(text: str) -> tuple[dict[str, Any], Positions]:
    """Read `generators.dae.steps=2000`."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    where = f"command line: {text!r}"
    if not equals or not all(keys):
        raise SuiteError(f"{where}: an override is written key.key=value, such as generators.dae.steps=2000")
    try:
        patch: Any = OmegaConf.to_container(OmegaConf.create(f"value: {value}"), resolve=False)["value"]  # type: ignore[index,call-overload]
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise SuiteError(f"{where}: the value is not valid YAML: {str(error).splitlines()[0]}") from error
    positions: Positions = {}
    for depth in range(len(keys), 0, -1):
        positions[tuple(keys[:depth])] = where
        patch = {keys[depth - 1]: patch}
    return patch, {tuple(keys): where} | positions


def _resolved(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Fill in `${...}`. Environment variables are out of reach: a stranger's suite must not print them."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    OmegaConf.clear_resolver("oc.env")
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise SuiteError(f"{path}: {str(error).splitlines()[0]}") from error
    assert isinstance(resolved, dict)  # noqa: S101 - it was made from a mapping
    return {str(key): value for key, value in resolved.items()}
