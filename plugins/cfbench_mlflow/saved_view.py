"""Saved views: MLflow's user interface would otherwise show one collapsed row without numbers.

The format is MLflow's own and undocumented (`mlflow.sharedViewState.*`, read in 3.17): a convenience that may stop
working with a new version, and that nothing depends on.
"""

import json
import time
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cfbench.records import Record
from cfbench_mlflow.entries import metric_key

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

#: Key of the view of everything that is in an experiment; those of single runs have their digest behind it.
NAME = "cfbench"
_TAG = "mlflow.sharedViewState."
_COLUMNS = 24
#: Views of single runs that are kept, the newest ones.
KEPT = 10
#: What MLflow takes as an experiment's tag, in versions before 3.17 too.
_MOST_CHARACTERS = 5000


def save(client: "MlflowClient", experiment: str, run: str, title: str, records: Sequence[Record]) -> str:
    """Store the views of this run and of all runs, and return the page of the former below the user interface.

    `run` is the value of the tag `cfbench.run`, `title` what the list of saved views calls it.
    """
    tags, key = client.get_experiment(experiment).tags, f"{NAME}-{run[:12]}"
    cells = "tags.`cfbench.kind` = 'cell'"
    of_run = f"{cells} AND tags.`cfbench.run` = '{run}'"
    wanted = {key: (title, _state(records, of_run)), NAME: ("all runs of this suite", _state(records, cells))}
    if len({r.cell.seed for r in records}) > 1:
        wanted[f"{key}-seeds"] = (f"{title}, mean over seeds", _state(records, of_run, grouped=True))
    for name, (shown, state) in wanted.items():
        old = _view(tags.get(_TAG + name))
        if (old.get("name"), old.get("state")) != (shown, state):
            now = int(time.time() * 1000)
            view = {"name": shown, "createdAt": now, "updatedAt": now, "state": state}
            client.set_experiment_tag(experiment, _TAG + name, json.dumps(view))
    _forget_old_ones(client, experiment, tags, keep=key)
    return page(experiment, key)


def page(experiment: str, view: str) -> str:
    """Return the address of a view below that of the user interface."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={view}&workflowType=machine_learning"


def _forget_old_ones(client: "MlflowClient", experiment: str, tags: Mapping[str, str], keep: str) -> None:
    own = [name for name in tags if name.startswith(f"{_TAG}{NAME}-") and not name.startswith(_TAG + keep)]
    by_age = sorted(own, key=lambda name: _age(_view(tags[name])), reverse=True)
    for name in by_age[KEPT - 1 :]:
        client.delete_experiment_tag(experiment, name)


def _state(records: Sequence[Record], query: str, *, grouped: bool = False) -> str:
    directions = {metric_key(r): r.direction for r in records if r.status == "ok"}
    # Numbers that are neither good nor bad (floors, sizes) come last.
    names = sorted(directions, key=lambda name: (directions[name] == "none", name))[:_COLUMNS]
    params = ["generator", "attribution", "seed", "run"]
    columns = [*(f"metrics.`{name}`" for name in names), *(f"params.`{name}`" for name in params)]
    view = {
        "searchFilter": query,
        # A sort by time would pull the suite's own run back into the table.
        "orderByKey": columns[0],
        "orderByAsc": bool(names) and directions[names[0]] == "lower",
        "selectedColumns": columns,
        "runsHiddenMode": "FIRST_20_RUNS",
        **_layout(names, columns),
        **(_groups() if grouped else {}),
    }
    packed = _packed({**view, **_sections(list(directions))})
    return packed if len(packed) < _MOST_CHARACTERS - 300 else _packed(view)


def _layout(names: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """Return columns in order, and as wide as their titles."""
    fixed = {"attributes.`Run Name`": 260, "runDateAndNestInfo": 150}
    metrics = {f"metrics.`{name}`": min(max(110, 30 + 7 * len(name)), 260) for name in names}
    widths = {**fixed, **metrics}
    return {"columnOrder": [*fixed, *columns], "columnWidths": widths}


def _groups() -> dict[str, Any]:
    keys = [{"mode": "param", "groupByData": name} for name in ("dataset", "task", "generator", "attribution")]
    return {"groupBy": {"aggregateFunction": "average", "groupByKeys": keys}, "useGroupedValuesInCharts": True}


def _sections(names: Sequence[str]) -> dict[str, Any]:
    """Return the sections of the page of charts: one of numbers for each view, then closed ones for intervals.

    MLflow makes the charts itself, one for each number, and puts them into the section of their name.
    """
    views = sorted({name.rpartition("/")[0] for name in names})
    shown = [{"uuid": f"v{i}", "name": view, "display": True, "isReordered": False} for i, view in enumerate(views)]
    closed = [
        {"uuid": f"m{i}", "name": name, "display": False, "isReordered": False} for i, name in enumerate(sorted(names))
    ]
    return {"compareRunCharts": [], "compareRunSections": [*shown, *closed], "isAccordionReordered": True}


def _age(view: Mapping[str, Any]) -> float:
    made = view.get("createdAt")
    return float(made) if isinstance(made, int | float) else 0.0


def _packed(view: Mapping[str, Any]) -> str:
    return f"deflate;{b64encode(zlib.compress(json.dumps(view).encode(), 9)).decode()}"


def _view(tag: str | None) -> Mapping[str, Any]:
    with suppress(ValueError):
        found = json.loads(tag or "{}")
        return found if isinstance(found, dict) else {}
    return {}
