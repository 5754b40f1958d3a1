"""From configuration to a Suite, with every mistake reported at its place."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from cfbench.registry import Registry
from cfbench.suite.asks import HOST_KEYS, read_ask, read_rest
from cfbench.suite.components import read_component
from cfbench.suite.document import Positions
from cfbench.suite.findings import Findings
from cfbench.suite.layers import read_layers
from cfbench.suite.model import AttributionUse, Component, Suite
from cfbench.suite.published import read_published
from cfbench.suite.tasks import read_task

_KEYS = [*(f.name for f in fields(Suite) if f.name not in ("name", "config", "exclude")), "cross"]
T = TypeVar("T")
N = TypeVar("N", int, float)
_CELL_KEYS = ("dataset", "task", "generator", "attribution")


def read_suite(path: Path, registry: Registry, overrides: Sequence[str] = ()) -> Suite:
    """Read a suite file. Raises SuiteError with all findings, each as `file:line:column: key: what is wrong`."""
    config, positions = read_layers(path, overrides)
    return suite_from_config(config, registry, positions, str(path))


def suite_from_config(
    config: Mapping[str, Any], registry: Registry, positions: Positions | None = None, file: str = "suite"
) -> Suite:
    """Build a suite from its resolved configuration (a run folder keeps one)."""
    findings = Findings(positions or {}, file)
    findings.unknown_keys((), config, ["suite", "extends", *_KEYS])
    tasks = _section("tasks", config, findings, lambda name, value: read_task(name, value, findings))
    suite = Suite(
        name=_name(config, findings, file),
        title=str(config.get("title", "")),
        description=str(config.get("description", "")),
        datasets=_components("datasets", config, registry, findings),
        tasks=tasks,
        generators=_components("generators", config, registry, findings),
        attributions=_attributions(config, registry, findings),
        explains=_explains(config, registry, findings),
        judges=_components("judges", config, registry, findings),
        figures=_named("figures", config, registry, findings),
        metrics=_named("metrics", config, registry, findings),
        seeds=_seeds(config, findings),
        cases=_number(config, "cases", 0, 0, 10**9, findings, int),
        judge_share=_number(config, "judge_share", 0.33, 0.0, 0.9, findings, float),
        gallery=_number(config, "gallery", 12, 0, 1000, findings, int),
        published=read_published(config, findings),
        allow=_allow(config, findings),
        exclude=_exclude(config, findings),
        config=dict(config),
    )
    if not config.get("datasets"):
        findings.add(("datasets",), "a suite needs at least one dataset")
    findings.raise_if_any()
    return suite


def _name(config: Mapping[str, Any], findings: Findings, file: str) -> str:
    name = config.get("suite", Path(file).stem)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        findings.add(("suite",), f"a suite's name is letters, digits, dots, hyphens and underscores, got {name!r}")
        return "suite"
    return name


def _section(
    key: str, config: Mapping[str, Any], findings: Findings, read: Callable[[str, Any], T | None]
) -> dict[str, T]:
    section = config.get(key, {})
    items = findings.mapping((key,), section, "a mapping from names to settings") if section else {}
    read_items = {str(name): read(str(name), value) for name, value in items.items()}
    return {name: item for name, item in read_items.items() if item is not None}


def _components(kind: str, config: Mapping[str, Any], registry: Registry, findings: Findings) -> dict[str, Component]:
    return _section(kind, config, findings, lambda name, value: read_component((kind, name), value, registry, findings))


def _attributions(config: Mapping[str, Any], registry: Registry, findings: Findings) -> dict[str, AttributionUse]:
    def read(name: str, value: Any) -> AttributionUse | None:
        path = ("attributions", name)
        component = read_component(path, value, registry, findings, HOST_KEYS)
        if component is None:
            return None
        ask = read_ask((*path, "target"), value.get("target", "flip"), findings)
        return AttributionUse(component, ask, read_rest((*path, "rest"), value.get("rest", "inverted"), findings))

    return _section("attributions", config, findings, read)


def _explains(config: Mapping[str, Any], registry: Registry, findings: Findings) -> Component | None:
    """The classifier that is explained: any that could be a judge."""
    value = config.get("explains")
    return read_component(("explains",), value, registry, findings, kind="judges") if value is not None else None


def _named(kind: str, config: Mapping[str, Any], registry: Registry, findings: Findings) -> dict[str, Component]:
    """Metrics and figures are a list of names, or a mapping from names to settings."""
    section = config.get(kind, {})
    if not isinstance(section, list):
        return _components(kind, config, registry, findings)
    components: dict[str, Component] = {}
    for index, name in enumerate(section):
        if findings.expect((kind, str(index)), name, str, f"the name of a {kind[:-1]}"):
            component = read_component((kind, name), {"use": name}, registry, findings)
            if component is not None:
                components[name] = component
    return components


def _seeds(config: Mapping[str, Any], findings: Findings) -> tuple[int, ...]:
    seeds = config.get("seeds", [0])
    if not findings.expect(("seeds",), seeds, list, "a list of integers") or not seeds:
        return (0,)
    for index, seed in enumerate(seeds):
        if not findings.expect(("seeds", str(index)), seed, int, "an integer"):
            return (0,)
    if len(set(seeds)) < len(seeds):
        findings.add(("seeds",), f"a seed is there twice: {seeds}")
    return tuple(seeds)


def _number(config: Mapping[str, Any], key: str, default: N, low: N, high: N, findings: Findings, kind: type[N]) -> N:
    value = config.get(key, default)
    accepted = (int, float) if kind is float else int
    what = f"a number from {low:g} to {high:g}" if kind is float else f"an integer from {low} to {high}"
    if not findings.expect((key,), value, accepted, what):
        return default
    if not low <= value <= high:
        findings.add((key,), f"expected {what}, got {value!r}")
    return kind(value)


def _allow(config: Mapping[str, Any], findings: Findings) -> dict[str, dict[str, str]]:
    """Findings of an audit that a suite accepts, each with its reason."""
    allowed: dict[str, dict[str, str]] = {}
    wanted = "a mapping such as {retina: {identical-images: why that is all right}}"
    for dataset, reasons in findings.mapping(("allow",), config.get("allow") or {}, wanted).items():
        path = ("allow", str(dataset))
        if dataset not in (config.get("datasets") or {}):
            findings.add(path, f"the suite has no dataset {dataset!r}")
        for finding, reason in findings.mapping(path, reasons, "a mapping from findings to reasons").items():
            if not isinstance(reason, str) or not reason.strip():
                findings.add((*path, str(finding)), f"expected the reason in words, got {reason!r}")
            allowed.setdefault(str(dataset), {})[str(finding)] = str(reason)
    return allowed


def _exclude(config: Mapping[str, Any], findings: Findings) -> tuple[Mapping[str, str], ...]:
    cross = findings.mapping(("cross",), config.get("cross", {}), "a mapping such as {exclude: [...]}")
    findings.unknown_keys(("cross",), cross, ["exclude"])
    rules = cross.get("exclude", [])
    if not findings.expect(
        ("cross", "exclude"), rules, list, "a list of combinations such as {generator: a, attribution: b}"
    ):
        return ()
    for index, rule in enumerate(rules):
        path = ("cross", "exclude", str(index))
        findings.unknown_keys(path, findings.mapping(path, rule, "a mapping"), _CELL_KEYS)
        for key, name in rule.items() if isinstance(rule, Mapping) else ():
            if not findings.expect((*path, str(key)), name, str, f"the name of a {key}"):
                continue
            if key in _CELL_KEYS and name not in config.get(f"{key}s", {}):
                findings.add((*path, key), f"the suite has no {key} {name!r}")
    return tuple(rules)
