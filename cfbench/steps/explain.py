"""Steps of an attribution: what it thinks of the cases, its answer to every target, the way back, and under noise."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from cfbench.errors import PluginError, UndefinedError
from cfbench.protocols import Attribution, Cases, Classifier, Generator, LatentGenerator, Models, TruthDataset
from cfbench.steps.cases import batches
from cfbench.steps.codes import on_device, require_finite, require_rows
from cfbench.steps.lines import Lines, make_lines
from cfbench.steps.work import BATCH, Work
from cfbench.types import Batch, Code, Explanation, Images, Targets, Truth


def predict(work: Work) -> None:
    """Store the method's own score and grade of every test case (the `probe` view)."""
    attribution, models = _attribution(work), Models(classifier=explained_classifier(work, "explained"))
    z = work.tensors("encode")["z"] if "encode" in work.inputs else None
    columns: dict[str, list[Tensor]] = {}
    for index in batches(len(work.test), BATCH):
        batch = _onto(work.test.batch(index), work)
        given = z[index] if z is not None else batch.z
        code = on_device(Code(given), work) if given is not None else None
        prediction = attribution.predict(models, batch, code, work.context)
        for name in ("score", "grade"):
            value = getattr(prediction, name)
            if value is not None:
                columns.setdefault(name, []).append(value.detach().cpu().double())
    joined = {name: torch.cat(parts) for name, parts in columns.items()}
    require_rows(joined, len(work.test), "predictions")
    require_finite(joined, "predictions")
    work.save_tensors(joined)


def explain(work: Work) -> None:
    """Store a counterfactual, a heat map, or both for every line (case x target)."""
    task = work.known_task
    lines = make_lines(work.test, task, work.payload["ask"])
    if not len(lines):
        raise UndefinedError(f"no test case has a grade of {task.label!r} that can be asked for a counterfactual")
    models, stored = Models(_generator(work), explained_classifier(work, "explained")), _codes(work)
    _answer_all(work, lines, models, lambda index: _inputs(work, lines, index, models, stored))


def cycle(work: Work) -> None:
    """Store the way back: every answered counterfactual is explained in turn, asking for the case's own grade."""
    before, x_cf = work.json("images", "lines.json"), work.tensors("images")["x_cf"]
    ok = [i for i, status in enumerate(before["status"]) if status == "ok" and not before["extrapolated"][i]]
    if not ok:
        raise UndefinedError("no counterfactual was made, so there is no way back")
    case = [before["case"][i] for i in ok]
    own = work.test.labels[work.known_task.label][case].float()
    lines = Lines(before["kind"], case, own, [False] * len(case))
    models = Models(_generator(work), explained_classifier(work, "explained"))

    def inputs(index: list[int]) -> tuple[Batch, Code | None, Targets]:
        batch, _, targets = _inputs(work, lines, index, models, None)
        batch = _onto(replace(batch, x=x_cf[[ok[i] for i in index]]), work)
        return batch, _code_of(batch, models, work), targets

    _answer_all(work, lines, models, inputs)


def perturbed(work: Work) -> None:
    """Store the answers to the same lines about factual images with noise (see `noised`)."""
    lines = make_lines(work.test, work.known_task, work.payload["ask"])
    models = Models(_generator(work), explained_classifier(work, "explained"))

    def inputs(index: list[int]) -> tuple[Batch, Code | None, Targets]:
        batch, _, targets = _inputs(work, lines, index, models, None)
        assert batch.x is not None  # noqa: S101 - planned only where there are images
        batch = replace(batch, x=noised(batch.x, batch.ids, work.payload["sigma"]))
        return batch, _code_of(batch, models, work), targets

    _answer_all(work, lines, models, inputs)


def noised(x: Images, ids: Sequence[str], sigma: float) -> Images:
    """Return images with independent Gaussian noise of this standard deviation, cut off at 0 and 1.

    A case's noise depends on its id alone: the same for every method, line and batch.
    """
    drawn = [torch.randn(x.shape[1:], generator=_generator_of(case), dtype=x.dtype) for case in ids]
    return (x + sigma * torch.stack(drawn).to(x.device)).clamp(0, 1)


def _generator_of(case: str) -> torch.Generator:
    return torch.Generator().manual_seed(int.from_bytes(sha256(case.encode()).digest()[:8], "little") >> 1)


def _answer_all(
    work: Work, lines: Lines, models: Models, inputs: Callable[[list[int]], tuple[Batch, Code | None, Targets]]
) -> None:
    """Ask the attribution about all lines, batch by batch, and store checked answers."""
    attribution = _attribution(work)
    status: list[str] = []
    parts: list[dict[str, Tensor]] = []
    for index in batches(len(lines), BATCH):
        work.context.progress(index[0], len(lines), "explaining")
        batch, code, targets = inputs(index)
        answer = attribution.explain(models, batch, code, targets, work.context)
        status += list(answer.status)
        parts.append(_columns(answer))
        _check_answer(parts, answer, batch)
    columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    _require_finite_where_ok(columns, status)
    work.save_tensors(columns)
    manifest = {"kind": lines.kind, "case": lines.case, "value": lines.value.tolist()}
    work.save_json("lines.json", {**manifest, "extrapolated": lines.extrapolated, "status": status})


def truth_of(work: Work, cases: Cases, index: list[int], value: Tensor) -> Truth:
    """Return the exact counterfactuals of some cases of a phantom."""
    dataset = work.dataset
    assert isinstance(dataset, TruthDataset)  # noqa: S101 - planned only where the dataset declares truth
    return dataset.counterfactual([cases.ids[i] for i in index], work.known_task.label, value)


def _inputs(
    work: Work, lines: Lines, index: list[int], models: Models, stored: Code | None
) -> tuple[Batch, Code | None, Targets]:
    case = [lines.case[i] for i in index]
    value = lines.value[index]
    batch = _onto(work.test.batch(case), work)
    spec: Any = work.spec_of("attribution")[0]
    if "truth" in spec.needs:
        batch = replace(batch, truth=truth_of(work, work.test, case, value))
    code = None
    if stored is not None:
        rest = {name: values[case] for name, values in stored.rest.items()}
        if work.payload["rest"] == "random" and isinstance(models.generator, LatentGenerator):
            rest = dict(models.generator.draw(batch.ids, work.context))
        code = on_device(Code(stored.z[case], rest), work)
    return batch, code, Targets(lines.kind, value)


def _code_of(batch: Batch, models: Models, work: Work) -> Code | None:
    """Encode images that no step has encoded yet."""
    generator = models.generator
    if not isinstance(generator, LatentGenerator) or batch.x is None:
        return None
    z = generator.encode(batch.x, work.context)
    random = work.payload["rest"] == "random"
    rest = generator.draw(batch.ids, work.context) if random else generator.invert(batch.x, z, work.context)
    return on_device(Code(z, rest), work)


def _onto(batch: Batch, work: Work) -> Batch:
    return batch if batch.x is None else replace(batch, x=batch.x.to(work.context.device))


def _check_answer(parts: list[dict[str, Tensor]], answer: Explanation, batch: Batch) -> None:
    """Raise PluginError unless the answer has a row per line, images of the right shape, and the columns of before."""
    require_rows(parts[-1], len(batch), "explanations")
    if len(answer.status) != len(batch):
        raise PluginError(f"explanations: {len(answer.status)} statuses for {len(batch)} lines")
    if answer.x_cf is not None and batch.x is not None and answer.x_cf.shape != batch.x.shape:
        raise PluginError(f"explanations: x_cf has shape {tuple(answer.x_cf.shape)}; expected {tuple(batch.x.shape)}")
    if parts[-1].keys() != parts[0].keys():
        raise PluginError(f"explanations: columns {sorted(parts[-1])} after columns {sorted(parts[0])}")


def _columns(answer: Explanation) -> dict[str, Tensor]:
    columns = {"x_cf": answer.x_cf, "heat": answer.heat}
    columns |= {"score_cf": answer.predicted_cf.score, "grade_cf": answer.predicted_cf.grade}
    return {name: value.detach().cpu() for name, value in columns.items() if value is not None}


def _require_finite_where_ok(columns: dict[str, Tensor], status: list[str]) -> None:
    good = torch.tensor([s == "ok" for s in status])
    require_finite({name: value[good] for name, value in columns.items()}, "explanations")


def _attribution(work: Work) -> Attribution:
    attribution: Attribution = work.build("attribution", work.info, work.known_task)
    if "attribution" in work.inputs:
        attribution.load(work.folder("attribution"), work.context)
    return attribution


def _generator(work: Work) -> Generator | None:
    if "generator" not in work.inputs:
        return None
    generator: Generator = work.build("generator", work.info)
    generator.load(work.folder("generator"), work.context)
    return generator


def explained_classifier(work: Work, role: str) -> Classifier | None:
    """Return the classifier that is explained, which a step has under this role, or nothing if it has none."""
    if role not in work.inputs:
        return None
    classifier: Classifier = work.build("explained", work.info, work.known_task)
    classifier.load(work.folder(role), work.context)
    return classifier


def _codes(work: Work) -> Code | None:
    if "encode" not in work.inputs:
        return None
    rest = work.tensors("invert") if "invert" in work.inputs else {}
    return Code(work.tensors("encode")["z"], rest)
