"""A table of the cells in MLflow's user interface, which would otherwise show one collapsed row without numbers.

The format is MLflow's own and undocumented (`mlflow.sharedViewState.*`, read in 3.17): a convenience that may stop
working with a new version, and that nothing depends on.
"""

import json
import time
import zlib
from base64 import b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cfbench.records import Record
from cfbench_mlflow.entries import key

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NAME = "cfbench"
_TAG = f"mlflow.sharedViewState.{NAME}"
_COLUMNS = 16


def save(client: "MlflowClient", experiment: str, records: Sequence[Record]) -> str:
    """Store the view if it changed, and return the address of the table below that of the user interface."""
    state = _state(records)
    tags = client.get_experiment(experiment).tags
    if _state_of(tags.get(_TAG)) != state:
        now = int(time.time() * 1000)
        view = {"name": NAME, "createdAt": now, "updatedAt": now, "state": state}
        client.set_experiment_tag(experiment, _TAG, json.dumps(view))
    return f"#/experiments/{experiment}/runs?viewStateShareKey={NAME}&workflowType=machine_learning"


def _state(records: Sequence[Record]) -> str:
    metrics = list(dict.fromkeys(f"metrics.`{key(f'{r.view}/{r.metric}')}`" for r in records if r.status == "ok"))
    params = [f"params.`{name}`" for name in ("dataset", "task", "generator", "attribution", "seed")]
    view = {
        "searchFilter": "tags.`cfbench.kind` = 'cell'",
        # A sort by time would pull the suite's own run back into the table.
        "orderByKey": metrics[0] if metrics else params[0],
        "orderByAsc": False,
        "selectedColumns": [*params, *sorted(metrics)[:_COLUMNS]],
    }
    return f"deflate;{b64encode(zlib.compress(json.dumps(view).encode())).decode()}"


def _state_of(tag: str | None) -> str | None:
    try:
        found = json.loads(tag or "{}")
    except ValueError:
        return None
    return found.get("state") if isinstance(found, dict) else None
