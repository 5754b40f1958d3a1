"""The JSON Schema of a bundle, and what of a bundle does not fit it."""

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from cfbench.submission.archive import MANIFEST
from cfbench.submission.bundle import Bundle

SCHEMA = Path(__file__).with_name("bundle.schema.json")
#: So many faults are told at most.
_MOST = 20


def check_schema(bundle: Bundle) -> list[str]:
    """Return where the JSON of a bundle does not fit the schema: `records.jsonl/3/value: ...`."""
    parts = {MANIFEST: bundle.manifest, "run.json": bundle.about, "suite.json": bundle.suite, "plan.json": bundle.plan}
    lists = {"costs.json": bundle.costs, "ranks.json": bundle.ranks, "records.jsonl": bundle.lines}
    return faults_of({**parts, **lists})


def faults_of(content: Mapping[str, Any]) -> list[str]:
    """Return where the parts of a bundle, by entry, do not fit."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    found = islice(validator.iter_errors(content), _MOST)
    return [f"{'/'.join(str(part) for part in e.absolute_path)[:300]}: {_told(e)}" for e in found]


def _told(error: Any) -> str:
    """Return a short sentence: what was expected, and not all of what came."""
    expected = json.dumps(error.validator_value)
    return f"{json.dumps(error.instance)[:80]} does not fit {error.validator} {expected[:120]}"
