"""What a step gets to see: its payload, the results it builds on, and where to write."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from cfbench.errors import CfbenchError
from cfbench.protocols import Cases, Context, Dataset
from cfbench.registry import Registry, resolve
from cfbench.specs import DatasetInfo, Spec, Task
from cfbench.steps.cases import checked, guide_cases, judge_cases, limited
from cfbench.store import Store

#: Images that go through a network at once. Fixed: on some machines results depend on it in the last bit.
BATCH = 32
#: Built datasets of this process, so that steps that share one read it once.
_datasets: dict[str, Dataset] = {}


@dataclass(frozen=True)
class Work:
    """One step at work."""

    payload: Mapping[str, Any]
    inputs: Mapping[str, str]
    #: Draft folder of the result.
    out: Path
    context: Context
    registry: Registry
    store: Store

    def spec_of(self, role: str) -> tuple[Spec, Any]:
        """Return the spec and the params of the component in this role (`"generator"`, `"metric"`, ...)."""
        item = self.payload[role]
        spec: Spec = self.registry.find(item["kind"], item["use"])
        if spec.version != item["version"]:
            raise CfbenchError(f"{spec.name} is now version {spec.version}, planned was {item['version']}: run again")
        known = {f.name for f in fields(spec.params)}
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in item["params"].items() if key in known}
        return spec, spec.params(**values)

    def build(self, role: str, *arguments: Any) -> Any:
        """Import and construct the component in this role."""
        spec, params = self.spec_of(role)
        return resolve(spec.factory)(params, *arguments)

    @cached_property
    def info(self) -> DatasetInfo:
        """Return what is known of the dataset."""
        spec, params = self.spec_of("dataset")
        info: DatasetInfo = spec.describe(params)  # type: ignore[attr-defined]
        return info

    @cached_property
    def dataset(self) -> Dataset:
        """Return the dataset, built once per process, with its prepared folder where it has one."""
        name = json.dumps([self.payload["dataset"], self.inputs.get("prepared")], sort_keys=True)
        if name not in _datasets:
            dataset = self.build("dataset")
            if "prepared" in self.inputs:
                dataset.load(self.folder("prepared"))
            _datasets[name] = dataset
        return _datasets[name]

    @cached_property
    def task(self) -> Task | None:
        """Return the task, if this step has one."""
        item: dict[str, Any] | None = self.payload.get("task")
        if item is None:
            return None
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in item.items()}
        return Task(**values)

    @property
    def known_task(self) -> Task:
        """Return the task of a step that cannot do without."""
        assert self.task is not None  # noqa: S101 - such steps are planned with a task
        return self.task

    def guide(self, split: str = "train") -> Cases:
        """Return the cases that generators and attributions may learn from."""
        return guide_cases(self._split(split), self.payload["judge_share"])

    def judges(self, split: str = "train") -> Cases:
        """Return the cases that this judge learns from; no patient is shared with the guide's or another judge's."""
        return judge_cases(self._split(split), self.payload["judge_share"], tuple(self.payload["fold"]))

    @cached_property
    def test(self) -> Cases:
        """Return the test cases, limited as the suite says."""
        return limited(self._split("test"), self.payload["limit"])

    def tensors(self, role: str) -> dict[str, Tensor]:
        """Return the tensors of the result in this role."""
        tensors: dict[str, Tensor] = load_file(self.folder(role) / "tensors.safetensors")
        return tensors

    def save_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors as this step's result."""
        save_file(
            {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, self.out / "tensors.safetensors"
        )

    def json(self, role: str, name: str) -> Any:
        """Return a JSON file of the result in this role."""
        return json.loads((self.folder(role) / name).read_text(encoding="utf-8"))

    def save_json(self, name: str, value: Any) -> None:
        """Write a JSON file as part of this step's result."""
        (self.out / name).write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False), encoding="utf-8")

    def folder(self, role: str) -> Path:
        """Return the verified folder of the result in this role."""
        return self.store.read(self.inputs[role]).folder

    def _split(self, split: str) -> Cases:
        return checked(self.dataset.cases(split), self.info, self.payload["dataset"]["use"], split)
