"""Run folders with per-case scores and tested pairs, as a real run leaves them, for the tests of comparisons."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
from board import record, write_run

from cfbench.statistics import interval_of_mean, paired_difference

CASES, PATIENTS = 60, 30


def draw(seed=0, level=0.5, spread=0.1, cases=CASES):
    """Scores with an effect of the patient and of the case."""
    rng = np.random.default_rng(seed)
    patients = rng.normal(0, spread, PATIENTS)
    return level + patients[np.arange(cases) % PATIENTS] + rng.normal(0, spread, cases)


def number(folder, scores, metric="l1", view="counterfactual", *, seed=0, first=0, failed=(), **fields):
    """Write the scores of one number and return its record."""
    key = "measure-" + format(abs(hash((str(folder), metric, view, seed, *map(str, fields.items())))), "016x")
    scores = np.asarray(scores, float)
    patients = [f"p{i % PATIENTS}" for i in range(len(scores))]
    table = {"case": [f"c{first + i}" for i in range(len(scores))], "patient": patients, "score": scores}
    table |= {"status": ["ok"] * len(scores), "target": [0.0] * len(scores)}
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table).to_parquet(folder / "scores" / f"{key}.parquet", index=False)
    bounds = interval_of_mean(scores, patients, 500)
    fields = {"direction": "lower", "key": key, "low": bounds.low, "high": bounds.high, "n": len(scores)} | fields
    return record(metric, view, float(scores.mean()), seed=seed, **fields)


def scored_run(folder, rows, metric="l1", sentinels=(), about=None, more=(), **fields):
    """Write a run in which `rows` (attribution to scores) are measured and tested against each other."""
    records = [
        number(folder, scores, metric, attribution=name, generator=None, **fields) for name, scores in rows.items()
    ]
    sentinel = ("a sentinel: shown, never ranked",)
    records = [r if r.cell.attribution not in sentinels else marked(r, sentinel) for r in records]
    write_run(folder, [*records, *more], {"suite": "duel", "finished": "2026-01-01T00:00:00Z"} | (about or {}))
    patients = [f"p{i % PATIENTS}" for i in range(CASES)]
    pairs = []
    for a, b in combinations(rows, 2):
        one = paired_difference(np.asarray(rows[a]), np.asarray(rows[b]), patients, 2000)
        pairs.append({"a": a, "b": b, "difference": one.value, "low": one.low, "high": one.high, "p": one.p})
    ranked = sorted((name for name in rows if name not in sentinels), key=lambda name: np.mean(rows[name]))
    group = {"dataset": "vertebra", "task": "fracture", "view": "counterfactual", "metric": metric}
    ranks = {"tiers": {n: i for i, n in enumerate(ranked, 1)}, "reasons": dict.fromkeys(sentinels, "a sentinel")}
    (folder / "ranks.json").write_text(json.dumps([{**group, **ranks, "pairs": pairs, "intervals": {}}]))
    return folder


def marked(found, unranked):
    from dataclasses import replace

    return replace(found, unranked=unranked)
