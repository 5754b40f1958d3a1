"""The section `tasks`: one question each, asked of a label of the datasets."""

from collections.abc import Mapping
from typing import Any

from cfbench.specs import Task
from cfbench.suite.findings import Findings

_KEYS = ("label", "kind", "grades", "positive", "exclude_from_fit", "prompts")


def read_task(name: str, value: Any, findings: Findings) -> Task | None:
    """Return one task, noting what is wrong with it."""
    path = ("tasks", name)
    config = findings.mapping(path, value, "a mapping with label, kind, grades and positive")
    findings.unknown_keys(path, config, list(_KEYS))
    label, kind = config.get("label"), config.get("kind", "binary")
    if not isinstance(label, str):
        findings.add((*path, "label"), f"expected the name of a label of the dataset, got {label!r}")
        return None
    if kind not in ("binary", "ordinal"):
        findings.add((*path, "kind"), f"expected binary or ordinal, got {kind!r}")
        return None
    grades = _grades((*path, "grades"), config.get("grades", [0, 1]), findings)
    positive = _grades((*path, "positive"), config.get("positive", [1]), findings)
    exclude = _grades((*path, "exclude_from_fit"), config.get("exclude_from_fit", []), findings)
    for key, values in (("positive", positive), ("exclude_from_fit", exclude)):
        for grade in set(values) - set(grades):
            findings.add((*path, key), f"grade {grade:g} is not one of the grades {list(grades)}")
    kept = set(grades) - set(exclude)
    if not (kept & set(positive)) or not (kept - set(positive)):
        findings.add((*path, "positive"), "both classes need a grade that is not excluded")
    prompts = _prompts((*path, "prompts"), config.get("prompts", {}), grades, findings)
    return Task(name=name, label=label, kind=kind, grades=grades, positive=positive, exclude=exclude, prompts=prompts)


def _grades(path: tuple[str, ...], value: Any, findings: Findings) -> tuple[float, ...]:
    if not findings.expect(path, value, list, "a list of grades such as [0, 1, 2]"):
        return ()
    for index, grade in enumerate(value):
        if not findings.expect((*path, str(index)), grade, (int, float), "a number"):
            return ()
    if len(set(value)) < len(value):
        findings.add(path, f"a grade is there twice: {value}")
    return tuple(sorted(float(grade) for grade in value))


def _prompts(path: tuple[str, ...], value: Any, grades: tuple[float, ...], findings: Findings) -> tuple[str, ...]:
    """Return a prompt per grade, empty where the dataset's own holds; nothing if the suite says none."""
    wanted = "a mapping from grades to prompts such as {0: normal chest scan, 1: lung opacity}"
    given: Mapping[Any, Any] = findings.mapping(path, value, wanted)
    for grade, prompt in given.items():
        if not isinstance(grade, int | float) or grade not in grades:
            findings.add((*path, str(grade)), f"{grade!r} is not one of the grades {list(grades)}")
        elif not isinstance(prompt, str) or not prompt.strip():
            findings.add((*path, str(grade)), f"expected a prompt in words, got {prompt!r}")
    return tuple(str(given.get(grade, "")) for grade in grades) if given else ()
