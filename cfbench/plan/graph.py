"""The graph of steps: equal work is one step, because its key is the hash of what goes into it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cfbench.plan.model import Step
from cfbench.specs import DatasetInfo, Task
from cfbench.store import content_key
from cfbench.suite import AttributionUse, Component, Suite

#: Bumped by hand, per kind of step, when what the host does in it changes results; part of every key.
STEP_VERSIONS: Mapping[str, int] = {"gallery": 2, "judge": 2, "measure": 2, "rank": 2}


class Graph:
    """Builds steps for one dataset of a suite; `steps` is shared between the datasets."""

    def __init__(self, suite: Suite, dataset: Component, info: DatasetInfo, steps: dict[str, Step]) -> None:
        self.suite = suite
        self.dataset = dataset
        self.info = info
        self.steps = steps
        self._share = suite.judge_share if suite.judges else 0.0
        #: The step that reads the dataset's files once; none where nothing has to be prepared.
        self.prepared = self._prepare() if dataset.spec.prepares else ""  # type: ignore[attr-defined]
        #: The step that all others wait for; none where there are no images to look at.
        self.audit = self._audit() if info.images else ""

    def fit_generator(self, generator: Component, seed: int) -> str:
        """Learn images from the guide's patients. Does not depend on the task."""
        payload = {"generator": generator.to_json(), "seed": seed, "judge_share": self._share}
        label = f"fit {generator.name} on {self.dataset.name}"
        return self._add("fit_generator", label, payload, {}, (generator,))

    def encode(self, generator: Component, seed: int, part: str) -> str:
        """Encode the cases of one part (guide or test) to z."""
        payload = {"generator": generator.to_json(), "seed": seed, "part": part, **self._selection(part)}
        label = f"encode {self.dataset.name} ({part}) with {generator.name}"
        inputs = {"generator": self.fit_generator(generator, seed)}
        return self._add("encode", label, payload, inputs, (generator,))

    def invert(self, generator: Component, seed: int) -> str:
        """Find what decoding the test cases needs beside z."""
        payload = {"generator": generator.to_json(), "seed": seed, **self._selection("test")}
        inputs = {"generator": self.fit_generator(generator, seed), "encode": self.encode(generator, seed, "test")}
        label = f"invert {self.dataset.name} with {generator.name}"
        return self._add("invert", label, payload, inputs, (generator,))

    def reconstruct(self, generator: Component, seed: int, rest: str) -> str:
        """Decode the test cases, from the inverted or from a random rest."""
        payload = {"generator": generator.to_json(), "seed": seed, "rest": rest, **self._selection("test")}
        inputs = {"generator": self.fit_generator(generator, seed), "encode": self.encode(generator, seed, "test")}
        if rest == "inverted":
            inputs["invert"] = self.invert(generator, seed)
        label = f"reconstruct {self.dataset.name} with {generator.name} ({rest} rest)"
        return self._add("reconstruct", label, payload, inputs, (generator,))

    def sample(self, generator: Component, seed: int) -> str:
        """Draw as many new images as there are test cases."""
        payload = {"generator": generator.to_json(), "seed": seed, **self._selection("test")}
        inputs = {"generator": self.fit_generator(generator, seed)}
        return self._add("sample", f"sample from {generator.name}", payload, inputs, (generator,))

    def fit_explained(self, task: Task) -> str:
        """Train the classifier that is explained, on the guide's patients."""
        classifier = self.suite.explains
        assert classifier  # noqa: S101 - only planned where the suite names one
        payload = {"explained": classifier.to_json(), "task": _json(task), "seed": 0, "judge_share": self._share}
        label = f"train the explained classifier {classifier.name} for {task.name} on {self.dataset.name}"
        return self._add("fit_explained", label, payload, {}, (classifier,))

    def fit_attribution(self, attribution: Component, generator: Component | None, task: Task, seed: int) -> str:
        """Learn the decision from the guide's cases (or their codes)."""
        payload = {"attribution": attribution.to_json(), "task": _json(task), "seed": seed, "judge_share": self._share}
        inputs = {"encode": self.encode(generator, seed, "guide")} if generator else {}
        label = f"fit {attribution.name} for {task.name}" + (f" on {generator.name}" if generator else "")
        return self._add("fit_attribution", label, payload, inputs, (attribution,))

    def predict(self, attribution: Component, generator: Component | None, task: Task, seed: int) -> str:
        """Ask the method for its own score and grade of the test cases."""
        payload, inputs = self._attribution(attribution, generator, task, seed)
        if generator:
            inputs["encode"] = self.encode(generator, seed, "test")
        return self._add("predict", f"predict with {attribution.name}", payload, inputs)

    def explain(self, use: AttributionUse, generator: Component | None, task: Task, seed: int) -> str:
        """Answer every case and target with a counterfactual, a heat map, or both."""
        payload, inputs = self._attribution(use.component, generator, task, seed)
        payload |= {"ask": {"kind": use.ask.kind, "values": list(use.ask.values)}, "rest": use.rest}
        inputs |= self._decoder(generator, seed, use.rest)
        if generator:
            payload["generator"] = generator.to_json()
        label = f"explain {task.name} with {use.component.name}" + (f" and {generator.name}" if generator else "")
        return self._add("explain", f"{label} ({use.ask})", payload, inputs, (use.component, generator))

    def cycle(self, use: AttributionUse, generator: Component | None, task: Task, seed: int) -> str:
        """Explain the counterfactuals themselves, asking for each case's own grade: the way back."""
        payload, inputs = self._again(use, generator, task, seed)
        inputs["images"] = self.explain(use, generator, task, seed)
        label = f"way back of: {self.steps[inputs['images']].label}"
        return self._add("cycle", label, payload, inputs, (use.component, generator))

    def perturbed(self, use: AttributionUse, generator: Component | None, task: Task, seed: int, sigma: float) -> str:
        """Answer every case and target once more, about the images with noise of this standard deviation."""
        payload, inputs = self._again(use, generator, task, seed)
        label = f"explain {task.name} with {use.component.name}" + (f" and {generator.name}" if generator else "")
        label = f"{label} ({use.ask}) under noise of {sigma:g}"
        return self._add("perturbed", label, {**payload, "sigma": sigma}, inputs, (use.component, generator))

    def fit_judge(self, judge: Component, task: Task) -> str:
        """Train a judge on patients of its own: nothing else, and no other judge, learns from them."""
        panel = [name for name, other in self.suite.judges.items() if not other.spec.control]  # type: ignore[attr-defined]
        fold = [panel.index(judge.name), len(panel)] if judge.name in panel else [0, 1]
        payload = {"judge": judge.to_json(), "task": _json(task), "seed": 0, "judge_share": self._share, "fold": fold}
        label = f"train judge {judge.name} for {task.name} on {self.dataset.name}"
        return self._add("fit_judge", label, payload, {}, (judge,))

    def judge(self, judge: Component, task: Task, images: str | None) -> str:
        """Ask a judge about stored images, or about the real test cases."""
        return self._look(judge, self.fit_judge(judge, task), f"judge {judge.name}", task, images)

    def explained(self, task: Task, images: str | None) -> str:
        """Ask the classifier that is explained about stored images, or about the real test cases."""
        assert self.suite.explains  # noqa: S101 - only planned where the suite names one
        return self._look(self.suite.explains, self.fit_explained(task), "the explained classifier", task, images)

    def assess(self, look: str, task: Task) -> str:
        """Say how good the classifier is that has looked at the real test cases."""
        payload = {"task": _json(task), "seed": 0, **self._selection("test")}
        return self._add("assess", f"how good: {self.steps[look].label}", payload, {"looked": look}, group="assess")

    def reference(self, metric: Component, task: Task | None) -> str:
        """Keep what a set metric needs of the real test cases."""
        payload = {"metric": metric.to_json(), "task": _json(task), "seed": 0, **self._selection("test")}
        inputs = self._judged(metric, task, None)
        return self._add("reference", f"{metric.name} of real {self.dataset.name}", payload, inputs)

    def measure(self, metric: Component, view: str, source: str, beside: Mapping[str, str], task: Task | None) -> str:
        """Measure one metric on one view, whose lines `source` made; `beside` makes more columns, by role."""
        spec: Any = metric.spec
        payload = {"metric": metric.to_json(), "view": view, "task": _json(task), "seed": 0, **self._selection("test")}
        inputs = {"source": source, **beside, **self._judged(metric, task, None)}
        if view not in ("probe", "map"):
            inputs |= self._judged(metric, task, source)
        if spec.reference:
            inputs["reference"] = self.reference(metric, task)
        if "classify" in spec.needs and task and self.suite.explains:
            payload["explained"] = self.suite.explains.to_json()
            inputs["classifier"] = self.fit_explained(task)
        label = f"{metric.name} of: {self.steps[source].label}"
        return self._add("measure", label, payload, inputs, group=source)

    def figure(self, figure: Component, view: str, source: str, codes: str | None, task: Task | None) -> str:
        """Draw one figure of one view, whose lines `source` made; `codes` has the cases' latent codes."""
        payload = {"figure": figure.to_json(), "view": view, "task": _json(task), "seed": 0, **self._selection("test")}
        inputs = {"source": source} | ({"codes": codes} if codes else {})
        if view not in ("probe", "map"):
            inputs |= self._panel(task, None, "judge") | self._panel(task, source, "judge")
        return self._add("figure", f"{figure.name} of: {self.steps[source].label}", payload, inputs, group="figure")

    def rank(self, metric: str, payload: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
        """Compare all rows of one metric, pair by pair."""
        return self._add("rank", f"rank {metric} on {self.dataset.name}", {**payload, "seed": 0}, inputs, group="rank")

    def gallery(self, source: str, view: str, rebuilt: str | None, task: Task | None) -> str:
        """Draw some cases of a view as pictures."""
        payload: dict[str, Any] = {"shown": self.suite.gallery, "view": view, "task": _json(task), "seed": 0}
        payload |= self._selection("test")
        inputs = {"source": source} | ({"rebuilt": rebuilt} if rebuilt else {})
        inputs |= self._panel(task, None, "judge") | (self._panel(task, source, "judge") if view != "map" else {})
        return self._add("gallery", f"gallery of: {self.steps[source].label}", payload, inputs, group="gallery")

    def _audit(self) -> str:
        """Look for leakage, contradictions and shortcuts in the dataset."""
        payload = {"allow": dict(self.suite.allow.get(self.dataset.name, {})), "seed": 0}
        return self._add("audit", f"audit {self.dataset.name}", payload, {})

    def _prepare(self) -> str:
        """Read the dataset's files into a folder that all other steps read."""
        step = prepare_step(self.dataset, self.info)
        return self.steps.setdefault(step.key, step).key

    def _attribution(
        self, attribution: Component, generator: Component | None, task: Task, seed: int
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the payload and the inputs of every step that asks an attribution."""
        payload = {"attribution": attribution.to_json(), "task": _json(task), "seed": seed, **self._selection("test")}
        inputs: dict[str, str] = {}
        spec: Any = attribution.spec
        if spec.fits:
            inputs["attribution"] = self.fit_attribution(attribution, generator, task, seed)
        if spec.needs & {"explained", "gradients"}:
            assert self.suite.explains  # noqa: S101 - the rules skip it otherwise
            payload["explained"] = self.suite.explains.to_json()
            inputs["explained"] = self.fit_explained(task)
        return payload, inputs

    def _again(
        self, use: AttributionUse, generator: Component | None, task: Task, seed: int
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the payload and the inputs of a step that asks about other images than the cases' own."""
        payload, inputs = self._attribution(use.component, generator, task, seed)
        payload |= {"ask": {"kind": use.ask.kind, "values": list(use.ask.values)}, "rest": use.rest}
        if generator:
            payload["generator"] = generator.to_json()
            inputs["generator"] = self.fit_generator(generator, seed)
        return payload, inputs

    def _decoder(self, generator: Component | None, seed: int, rest: str) -> dict[str, str]:
        """Return what decoding a moved code stands on."""
        if generator is None:
            return {}
        inputs = {"generator": self.fit_generator(generator, seed)}
        if "latent" in generator.spec.provides:  # type: ignore[attr-defined]
            inputs["encode"] = self.encode(generator, seed, "test")
            if rest == "inverted":
                inputs["invert"] = self.invert(generator, seed)
        return inputs

    def _look(self, classifier: Component, fit: str, who: str, task: Task, images: str | None) -> str:
        payload = {"judge": classifier.to_json(), "task": _json(task), "seed": 0, **self._selection("test")}
        inputs = {"judge": fit} | ({"images": images} if images else {})
        what = self.steps[images].label if images else f"{self.dataset.name} (real)"
        # In one process as far as they are ready together: building a network can take longer than one look.
        return self._add("judge", f"{who} looks at: {what}", payload, inputs, (classifier,), group=fit)

    def _judged(self, metric: Component, task: Task | None, images: str | None) -> dict[str, str]:
        """Return the classifiers' looks that a metric needs, at real cases or at stored images."""
        needs: frozenset[str] = metric.spec.needs  # type: ignore[attr-defined]
        looks: dict[str, str] = {}
        for need in ("judge", "control"):
            if need in needs:
                looks |= self._panel(task, images, need)
        if "explained" in needs and task:
            looks["explained_out" if images else "explained"] = self.explained(task, images)
        return looks

    def _panel(self, task: Task | None, images: str | None, kind: str) -> dict[str, str]:
        """Return the looks of the judges, or of the controls among them."""
        role = {"judge": "judged", "control": "control"}[kind] + ("_out" if images else "")
        chosen = [j for j in self.suite.judges.values() if j.spec.control == (kind == "control")]  # type: ignore[attr-defined]
        return {f"{role}:{judge.name}": self.judge(judge, task, images) for judge in chosen} if task else {}

    def _selection(self, part: str) -> dict[str, Any]:
        return {"limit": self.suite.cases} if part == "test" else {"judge_share": self._share}

    def _add(
        self,
        kind: str,
        label: str,
        payload: Mapping[str, Any],
        inputs: Mapping[str, str],
        components: Sequence[Component | None] = (),
        group: str = "",
    ) -> str:
        first = not inputs
        if self.prepared:
            inputs = {**inputs, "prepared": self.prepared}
        identity = {
            **payload,
            "version": STEP_VERSIONS.get(kind, 1),
            "dataset": self.info.fingerprint,
            "inputs": inputs,
        }
        key = content_key(kind, identity)
        if key not in self.steps:
            full = {**payload, "dataset": self.dataset.to_json()}
            after = (self.audit,) if kind != "audit" and self.audit and first else ()
            self.steps[key] = Step(
                kind=kind,
                key=key,
                label=label,
                inputs=inputs,
                payload=full,
                threads=max((c.spec.threads for c in components if c), default=1),
                heavy=any(c.spec.heavy for c in components if c),
                after=after,
                group=group,
            )
        return key


def prepare_step(dataset: Component, info: DatasetInfo) -> Step:
    """Return the step that reads a dataset's files once. Its key depends on the dataset alone, not on the suite."""
    identity = {"version": STEP_VERSIONS.get("prepare", 1), "dataset": info.fingerprint}
    return Step(
        kind="prepare",
        key=content_key("prepare", identity),
        label=f"prepare {dataset.name}",
        inputs={},
        payload={"dataset": dataset.to_json(), "seed": 0},
        threads=dataset.spec.threads,
    )


def _json(task: Task | None) -> dict[str, Any] | None:
    """Return the task without its name, which no result depends on."""
    return {**asdict(task), "name": ""} if task else None
