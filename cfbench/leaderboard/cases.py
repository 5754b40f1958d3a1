"""Cases as pages show them: pictures in rows, numbers below, and one sheet of all cases for ordering and search."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from cfbench.leaderboard.gallery import MASK, REFERENCES, ROLES, Asked, Case, Method
from cfbench.leaderboard.markup import as_json
from cfbench.leaderboard.png import Png
from cfbench.leaderboard.runs import Run
from cfbench.leaderboard.scores import read_scores
from cfbench.leaderboard.text import decimals, number, plain

#: Cases of one static page.
PER_PAGE = 24
#: Views whose lines are a case under a target.
_ANSWERS = ("counterfactual", "sweep", "walk", "map")

#: (dataset, task, method, case, target) to metric to score.
Table = Mapping[tuple[str, str | None, Method, str, float | None], Mapping[str, float]]


@dataclass(frozen=True)
class PictureRow:
    """One row of pictures: the case's own, then each method's."""

    title: str
    #: Names and pictures of the case itself that the row is to be compared with.
    references: Sequence[tuple[str, Png | str]]
    pictures: Sequence[Png | str | None]


@dataclass(frozen=True)
class NumberRow:
    """One number, of each method."""

    title: str
    arrow: str
    values: Sequence[str]


def case_scores(run: Run) -> Table:
    """Return the score of every pictured line under every case metric."""
    shown = {(case.dataset, case.task, case.id) for case in run.gallery.cases}
    found: dict[tuple[str, str | None, Method, str, float | None], dict[str, float]] = {}
    for record in run.records if shown else ():
        if record.view not in _ANSWERS:
            continue
        scores, cell = read_scores(run.folder, record), record.cell
        method = Method(cell.generator, cell.attribution, cell.seed)
        for case, target, score in zip(scores.case, scores.target, scores.score, strict=True) if scores else ():
            if score is not None and (cell.dataset, cell.task, case) in shown:
                found.setdefault((cell.dataset, cell.task, method, case, target), {})[record.metric] = score
    return found


def directions(run: Run) -> Mapping[str, str]:
    """Return metric to which scores are better."""
    return {record.metric: record.direction for record in run.records}


def picture_rows(case: Case, asked: Asked, methods: Sequence[Method]) -> list[PictureRow]:
    """Return the rows of pictures that a method or the case itself fills."""
    own = {**case.images, **asked.images}
    filled = dict.fromkeys(role for answer in asked.answers.values() for role in answer.images)
    rows = []
    for role in [*ROLES, *(role for role in filled if role not in ROLES)]:
        names = [REFERENCES[role]] if role in REFERENCES else []
        names += [name for name in own if role == "attribution" and name.endswith(MASK)]
        references = [(name, own[name]) for name in names if name in own]
        if role in filled or references:
            answers = [asked.answers.get(method) for method in methods]
            title = role if role in filled else references[0][0]
            rows.append(PictureRow(title, references, [a.images.get(role) if a else None for a in answers]))
    return rows


def number_rows(
    case: Case, asked: Asked, methods: Sequence[Method], table: Table, better: Mapping[str, str]
) -> list[NumberRow]:
    """Return each metric's score, then what the gallery step itself noted, one row each."""
    arrows = {"higher": "↑", "lower": "↓"}
    columns = [_numbers(case, asked, method, table) for method in methods]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = []
    for name in names:
        values = [column.get(name) for column in columns]
        places = min(4, decimals([v for v in values if isinstance(v, int | float)]))
        arrow = arrows.get(better.get(name, ""), "")
        rows.append(NumberRow(name, arrow, [_shown(value, places) for value in values]))
    return rows


def _numbers(case: Case, asked: Asked, method: Method, table: Table) -> dict[str, object]:
    answer = asked.answers.get(method)
    if answer is None:
        return {}
    scores = table.get((case.dataset, case.task, method, case.id, asked.target), {})
    return {**dict(sorted(scores.items())), **answer.numbers}


def _shown(value: object, places: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        return plain(value)
    return number(float(value), places)


def sheet(run: Run, table: Table, places: Mapping[int, tuple[str, int]]) -> Markup:
    """Return all cases as JSON for the page's script. `places` is each case's static page and its number there."""
    gallery = run.gallery
    methods = list(dict.fromkeys(method for case in gallery.cases for method in case.methods))
    metrics = sorted({metric for scores in table.values() for metric in scores})
    better = directions(run)
    content = {
        "methods": [plain(method.label) for method in methods],
        "metrics": [[plain(name), better.get(name, "none")] for name in metrics],
        "rolesOf": ROLES,
        "truth": any("truth" in asked.images for case in gallery.cases for asked in case.targets),
        "roles": [role for role in ROLES if any(role in a.images for c in gallery.cases for a in _answers(c))],
        "cases": [_sheet_case(i, case, methods, metrics, table, places[i]) for i, case in enumerate(gallery.cases)],
    }
    return as_json(content)


def _answers(case: Case) -> Iterable[Any]:
    return (answer for asked in case.asked.values() for answer in asked.answers.values())


def _sheet_case(
    i: int, case: Case, methods: Sequence[Method], metrics: Sequence[str], table: Table, place: tuple[str, int]
) -> dict[str, Any]:
    asked = []
    for each in case.targets:
        answers: list[Any] = []
        for method in methods:
            answer = each.answers.get(method)
            if answer is None:
                answers.append(0)
                continue
            scores = table.get((case.dataset, case.task, method, case.id, each.target), {})
            pictures = [_file(answer.images.get(role)) for role in ROLES]
            values = [_rounded(scores.get(name)) for name in metrics]
            answers.append([plain(answer.status), pictures, values])
        asked.append([each.target, _file(each.images.get("truth")), answers, each.extrapolated])
    return {
        "n": i,
        "id": plain(case.id),
        "of": plain(" · ".join(part for part in (case.dataset, case.task) if part)),
        "g": case.grade,
        "x": _file(case.images.get("input")),
        "p": f"{place[0]}#case-{place[1]}",
        "a": asked,
    }


def _file(picture: Png | str | None) -> str | int:
    return picture.name.removesuffix(".png") if isinstance(picture, Png) else 0


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
