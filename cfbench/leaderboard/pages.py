"""Every page of the site: its file name, its template, and what the template shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cfbench.leaderboard import cases
from cfbench.leaderboard.board import Board, make_boards
from cfbench.leaderboard.chooser import chooser
from cfbench.leaderboard.classifiers import classifiers_of
from cfbench.leaderboard.environment import unique
from cfbench.leaderboard.gallery import Case
from cfbench.leaderboard.history import History, history_page
from cfbench.leaderboard.markup import frames_of
from cfbench.leaderboard.method import method_page
from cfbench.leaderboard.metric import metric_page
from cfbench.leaderboard.opponents import CasePages, opponent_rows
from cfbench.leaderboard.pareto import columns_of, pareto_page
from cfbench.leaderboard.published import papers
from cfbench.leaderboard.runs import Run
from cfbench.leaderboard.text import slug
from cfbench.leaderboard.view import board_view, counts
from cfbench.records import flat_params, records_digest

#: What a page's template is given.
Context = dict[str, Any]
#: At most so many facts of a run are listed.
_MOST_FACTS = 400


@dataclass(frozen=True)
class Place:
    """Where the pages of a run are."""

    run: Run
    #: Its table.
    page: str
    boards: Sequence[Board]
    #: The pages of its rows, board by board, aligned with their lines.
    rows: Sequence[Sequence[str]]
    #: First page of its cases; empty if there is nothing to show or to say.
    cases: str
    #: The pages of any two rows, and of trade-offs, board by board; empty if there is nothing to compare.
    pairs: Sequence[str]
    trades: Sequence[str]
    history: str = ""

    def versus(self, row: str) -> str:
        """Return the page of a row against the best."""
        return row.replace("method-", "versus-", 1)

    @property
    def case_pages(self) -> CasePages:
        """Return where each case is shown in detail."""
        found = enumerate(self.run.gallery.cases)
        return {(c.dataset, c.task, c.id): f"{self.case_page(i // cases.PER_PAGE)}#case-{i + 1}" for i, c in found}

    def case_page(self, chunk: int) -> str:
        """Return the file of some cases."""
        return f"cases-{self.run.slug}-{chunk + 1}.html"


def make_pages(runs: Sequence[Run], histories: Sequence[History] = ()) -> Iterator[tuple[str, str, Context]]:
    """Yield the file name, the template and the context of every page."""
    past = {history.newest.folder: history for history in histories}
    places = [_place(run, past.get(run.folder), alone=len(runs) == 1) for run in runs]
    metrics = _metric_names(places)
    above = [("index.html", "All suites")] if len(places) > 1 else []
    if len(places) != 1:
        yield "index.html", "index.html", {"suites": [_card(place) for place in places]}
    for place in places:
        common = {"suite": place.run, "page": place.page, "cases_page": place.cases, "nav": above}
        common["history_page"] = place.history
        yield place.page, "suite.html", {**common, **_suite(place, metrics)}
        for i, (board, names) in enumerate(zip(place.boards, place.rows, strict=True)):
            frames = frames_of(board)
            for j, name in enumerate(names):
                versus = place.versus(name) if place.pairs[i] and board.lines[j].kind == "method" else ""
                context = {**common, "versus_page": versus, **method_page(place.run, board, frames, j, metrics)}
                yield name, "method.html", context
            for name, template, found in _compare_pages(place, i):
                yield name, template, {**common, **found}
        for name, template, context in _case_pages(place):
            yield name, template, {**common, **context}
    for history in histories:
        file = next((place.page for place in places if place.run.folder == history.newest.folder), "")
        yield history.page, "history.html", {"nav": above, "page": file, **history_page(history)}
    for metric, name in metrics.items():
        uses = [(p.run, p.page) for p in places if any(r.metric == metric for r in p.run.records)]
        yield name, "metric.html", {"nav": [], **metric_page(metric, uses)}
    yield "published.html", "published.html", {"nav": [], "papers": papers()}


def _compare_pages(place: Place, i: int) -> Iterator[tuple[str, str, Context]]:
    """Yield the pages that set the rows of one board against each other."""
    run, board, names, shown = place.run, place.boards[i], place.rows[i], place.case_pages
    if place.pairs[i]:
        methods = [(line, name) for line, name in zip(board.lines, names, strict=True) if line.kind == "method"]
        for line, name in methods:
            rows = opponent_rows(run, board, line, names, shown)
            about = {"line": line, "board": board, "method": name, "pairs_page": place.pairs[i], "rows": rows}
            yield place.versus(name), "versus.html", about
        ready = [(line.label, place.versus(name)) for line, name in methods]
        yield place.pairs[i], "pairs.html", {"board": board, "versus_pages": ready, **chooser(run, board, names, shown)}
    if place.trades[i]:
        yield place.trades[i], "pareto.html", {"board": board, **pareto_page(board, names)}


def _comparable(run: Run, board: Board) -> bool:
    """Return whether two rows or more of a board were compared."""
    tested = {(dataset, view, metric) for (dataset, _, view, metric), some in run.ranks.pairs.items() if some}
    several = sum(line.kind != "published" for line in board.lines) > 1
    return several and any((board.dataset, h.column.view, h.column.metric) in tested for h in board.heads)


def _place(run: Run, history: History | None, *, alone: bool) -> Place:
    boards = make_boards(run)
    names = unique([slug(line.label) for board in boards for line in board.lines])
    files = iter(names)
    rows = [[f"method-{run.slug}-{next(files)}.html" for _ in board.lines] for board in boards]
    shown = run.gallery.cases or run.gallery.withheld or run.figures
    numbered = list(enumerate(boards, 1))
    return Place(
        run=run,
        page="index.html" if alone else f"suite-{run.slug}.html",
        boards=boards,
        rows=rows,
        cases=f"cases-{run.slug}.html" if shown else "",
        pairs=[f"pairs-{run.slug}-{n}.html" if _comparable(run, board) else "" for n, board in numbered],
        trades=[f"tradeoffs-{run.slug}-{n}.html" if len(columns_of(board)) > 1 else "" for n, board in numbered],
        history=history.page if history else "",
    )


def _metric_names(places: Sequence[Place]) -> dict[str, str]:
    metrics = sorted({record.metric for place in places for record in place.run.records})
    names = unique([f"metric-{slug(metric)}" for metric in metrics])
    return {metric: f"{name}.html" for metric, name in zip(metrics, names, strict=True)}


def _card(place: Place) -> Context:
    lines = [line for board in place.boards for line in board.lines]
    kinds = {kind: sum(line.kind == kind for line in lines) for kind in ("method", "sentinel", "published")}
    return {
        "run": place.run,
        "page": place.page,
        "cases": place.cases,
        "history": place.history,
        "kinds": kinds,
        "counts": counts(place.run.records),
    }


def _suite(place: Place, metrics: Mapping[str, str]) -> Context:
    boards = enumerate(zip(place.boards, place.rows, strict=True), 1)
    views = [board_view(board, f"t{number}", names, metrics) for number, (board, names) in boards]
    return {
        "boards": list(zip(views, place.pairs, place.trades, strict=True)),
        "counts": counts(place.run.records),
        "digest": records_digest(place.run.records),
        "facts": facts_of(place.run),
        "classifiers": classifiers_of(place.run.about),
        "exports": f"results-{place.run.slug}",
    }


def facts_of(run: Run) -> list[tuple[str, object]]:
    """Return what is known of a run but not said elsewhere on its pages."""
    elsewhere = {"title", "description", "components", "metrics", "classifiers"}
    told = {key: value for key, value in run.about.items() if key not in elsewhere}
    flat = {k: v for k, v in flat_params(told).items() if ".params." not in k and v not in (None, "", [], {})}
    return list(flat.items())[:_MOST_FACTS]


def _case_pages(place: Place) -> Iterator[tuple[str, str, Context]]:
    if not place.cases:
        return
    run, shown = place.run, place.run.gallery.cases
    table, better = cases.case_scores(run), cases.directions(run)
    chunks = [shown[i : i + cases.PER_PAGE] for i in range(0, len(shown), cases.PER_PAGE)]
    names = [place.case_page(chunk) for chunk in range(len(chunks))]
    where = {i: (names[i // cases.PER_PAGE], i + 1) for i in range(len(shown))}
    yield place.cases, "cases.html", {"sheet": cases.sheet(run, table, where) if shown else "", "pages": names}
    for number, (name, chunk) in enumerate(zip(names, chunks, strict=True)):
        first = number * cases.PER_PAGE + 1
        views = [_case(first + i, case, table, better) for i, case in enumerate(chunk)]
        yield name, "case.html", {"cases": views, "pages": names, "number": number}


def _case(number: int, case: Case, table: cases.Table, better: Mapping[str, str]) -> Context:
    asked = []
    for each in case.targets:
        methods = [method for method in case.methods if method in each.answers]
        asked.append(
            {
                "asked": each,
                "methods": methods,
                "answers": [each.answers[method] for method in methods],
                "pictures": cases.picture_rows(case, each, methods),
                "numbers": cases.number_rows(case, each, methods, table, better),
            }
        )
    return {"number": number, "case": case, "asked": asked}
