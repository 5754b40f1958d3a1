"""Views: the aligned lines that metrics and figures read, put together from stored results."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from cfbench.errors import PluginError
from cfbench.protocols import MeasuringDataset
from cfbench.steps.explain import explained_classifier, truth_of
from cfbench.steps.work import Work
from cfbench.types import Explanation, Images, Judged, Masks, Prediction, Truth, Values, View

#: Views whose lines are case x target, rather than cases.
_EXPLAINED = ("counterfactual", "sweep", "walk", "cycle", "map")


def build_view(work: Work, name: str, *, extrapolated: bool = False) -> View:
    """Return the view of a measurement or figure; lines beyond the task's scale are in it only if asked for."""
    if name in _EXPLAINED:
        return _explained(work, name, extrapolated)
    return _sampled(work) if name == "sample" else _of_cases(work, name)


def real_view(work: Work) -> View:
    """Return the real test cases, for reference statistics."""
    every = list(range(len(work.test)))
    cases, ok = work.test, ("ok",) * len(work.test)
    return View("reference", work.task, cases.ids, cases.patients, ok, **_factual(work, every))


def _sampled(work: Work) -> View:
    x_out = work.tensors("source")["x_out"]
    ids = tuple(f"sample-{i:05d}" for i in range(len(x_out)))
    judged = _panel(work, "judged_out", None)
    return View("sample", work.task, ids, ids, ("ok",) * len(ids), x_out=x_out, judged_out=judged)


def _of_cases(work: Work, name: str) -> View:
    """Return a view of one line per test case: what a method predicts of it, or its reconstruction."""
    cases, tensors = work.test, work.tensors("source")
    every = list(range(len(cases)))
    predicted = Prediction(tensors.get("score"), tensors.get("grade")) if name == "probe" else Prediction()
    return View(
        name,
        work.task,
        cases.ids,
        cases.patients,
        ("ok",) * len(cases),
        x_out=tensors.get("x_out"),
        predicted=predicted,
        z=work.tensors("codes")["z"] if "codes" in work.inputs else _published_codes(work),
        **_looks_out(work, None),
        **_factual(work, every, images=name != "probe"),
    )


def _explained(work: Work, name: str, extrapolated: bool) -> View:
    lines, tensors, cases = work.json("source", "lines.json"), work.tensors("source"), work.test
    keep = [i for i, beyond in enumerate(lines["extrapolated"]) if extrapolated or not beyond]
    case: list[int] = [lines["case"][i] for i in keep]
    target = torch.tensor([lines["value"][i] for i in keep])
    beyond = torch.tensor([lines["extrapolated"][i] for i in keep], dtype=torch.bool)
    columns = {column: values[keep] for column, values in tensors.items()}
    x_out = columns.get("x_cf") if name != "map" else None
    return View(
        name,
        work.task,
        tuple(cases.ids[i] for i in case),
        tuple(cases.patients[i] for i in case),
        _status(work, lines["status"], keep),
        x_out=x_out,
        heat=columns.get("heat"),
        rebuilt=work.tensors("rebuilt")["x_out"][case] if "rebuilt" in work.inputs else None,
        perturbed=_perturbed(work, keep),
        target=target,
        extrapolated=beyond,
        predicted_out=Prediction(columns.get("score_cf"), columns.get("grade_cf")),
        truth=_truth(work, case, target, beyond) if lines["kind"] != "offset" else None,
        classify=_classify(work),
        measured_out=_measured(work, x_out),
        **_looks_out(work, keep),
        **_factual(work, case),
    )


def _status(work: Work, status: list[str], keep: list[int]) -> tuple[str, ...]:
    """Return each line's status; where answers under noise are read, a line without one has no answer."""
    own = [status[i] for i in keep]
    if "perturbed" not in work.inputs:
        return tuple(own)
    under_noise = work.json("perturbed", "lines.json")["status"]
    second = (under_noise[i] for i in keep)
    return tuple(a if a != "ok" or b == "ok" else f"under noise: {b}" for a, b in zip(own, second, strict=True))


def _perturbed(work: Work, keep: list[int]) -> Explanation | None:
    """Return the answers to the same lines under noise, where the metric asks for them."""
    if "perturbed" not in work.inputs:
        return None
    columns = {name: values[keep] for name, values in work.tensors("perturbed").items()}
    status = work.json("perturbed", "lines.json")["status"]
    return Explanation(columns.get("x_cf"), tuple(status[i] for i in keep), columns.get("heat"))


def _factual(work: Work, case: list[int], *, images: bool = True) -> dict[str, Any]:
    """Return what is known of the factual cases, line by line."""
    x = masks = None
    if images and work.info.images:
        x, masks = _images_and_masks(work, case)
    labels = {name: values[case] for name, values in work.test.labels.items()}
    return {
        "x": x,
        "masks": masks or {},
        "labels": labels,
        "grade": labels.get(work.task.label) if work.task else None,
        "judged": _panel(work, "judged", case),
        "control": _panel(work, "control", case),
        "explained": _look(work, "explained", case) if "explained" in work.inputs else None,
    }


def _looks_out(work: Work, lines: list[int] | None) -> dict[str, Any]:
    """Return the classifiers' looks at the images under test."""
    return {
        "judged_out": _panel(work, "judged_out", lines),
        "control_out": _panel(work, "control_out", lines),
        "explained_out": _look(work, "explained_out", lines) if "explained_out" in work.inputs else None,
    }


def _images_and_masks(work: Work, case: list[int]) -> tuple[Images, Mapping[str, Masks]]:
    """Return the factual images of some test cases and their masks, each read once."""
    unique = sorted(set(case))
    batch = work.test.batch(unique)
    if batch.x is None:
        raise PluginError(f"{work.payload['dataset']['use']} declares images, but gave none for case {batch.ids[0]}")
    position = {i: row for row, i in enumerate(unique)}
    rows = [position[i] for i in case]
    return batch.x[rows], {name: mask[rows] for name, mask in batch.masks.items()}


def _published_codes(work: Work) -> Tensor | None:
    if not work.info.codes:
        return None
    return work.test.batch(range(len(work.test))).z


def _wants(work: Work, need: str) -> bool:
    """Return whether what reads the view asks for a costly column; galleries and figures look at all there is."""
    return "metric" not in work.payload or need in work.spec_of("metric")[0].needs  # type: ignore[attr-defined]


def _truth(work: Work, case: list[int], target: Tensor, beyond: Tensor) -> Truth | None:
    """Return the exact counterfactuals; beyond the scale there is none, and the line has a black image without mask."""
    if not work.info.truth or not (_wants(work, "truth") or _wants(work, "mask")) or beyond.all():
        return None
    inside = (~beyond).nonzero().flatten()
    known = truth_of(work, work.test, [case[i] for i in inside.tolist()], target[inside])
    n = len(case)
    x, mask = known.x.new_zeros(n, *known.x.shape[1:]), known.mask.new_zeros(n, *known.mask.shape[1:])
    measured = known.measured.new_full((n,), torch.nan)
    x[inside], mask[inside], measured[inside] = known.x, known.mask, known.measured
    return Truth(x, mask, measured)


def _measured(work: Work, x: Images | None) -> Values | None:
    """Return the dataset's own measurement of images, where something asks for it."""
    if x is None or work.task is None or work.task.label not in work.info.measures or not _wants(work, "measure"):
        return None
    if not isinstance(work.dataset, MeasuringDataset):
        raise PluginError(f"{work.payload['dataset']['use']} declares measurements, but has no measure()")
    return work.dataset.measure(x, work.task.label)


def _classify(work: Work) -> Callable[[Images], Judged] | None:
    """Return a way to ask the classifier that is explained, where the metric wants to."""
    classifier = explained_classifier(work, "classifier")
    if classifier is None:
        return None

    def ask(x: Images) -> Judged:
        found = classifier.judge(x.to(work.context.device), work.context)
        return Judged(found.proba.cpu(), found.features.cpu(), found.grade.cpu())

    return ask


def _panel(work: Work, role: str, rows: list[int] | None) -> dict[str, Judged]:
    """Return every judge's outputs in a role; `rows` chooses (and repeats) some of them."""
    names = [name for name in work.inputs if name.startswith(f"{role}:")]
    return {name.partition(":")[2]: _look(work, name, rows) for name in names}


def _look(work: Work, role: str, rows: list[int] | None) -> Judged:
    chosen = slice(None) if rows is None else rows
    return Judged(**{column: values[chosen] for column, values in work.tensors(role).items()})
