"""Published weights: their digest, and the noise schedule that they were trained with.

Nothing but safetensors is read as weights.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cfbench.errors import SuiteError
from cfbench_nets.hub import digest
from cfbench_text_ldm.schedule import FIRST, LAST
from cfbench_text_ldm.stock import SCHEDULER, Wanted, located, pipeline, reader

if TYPE_CHECKING:
    from cfbench_text_ldm.plugin import TextLdmParams


def pipeline_folder(params: "TextLdmParams") -> Path:
    """Return the folder of the pipeline that `weights` names."""
    return _checked(pipeline(params), download=params.download)


def reader_folder(params: "TextLdmParams") -> Path:
    """Return the folder of the BERT that `text_encoder` names."""
    return _checked(reader(params), download=params.download)


def check_schedule(folder: Path, params: "TextLdmParams") -> None:
    """Raise SuiteError where the pipeline's noise schedule is not the one that the parameters name."""
    found = json.loads((folder / SCHEDULER).read_text(encoding="utf-8"))
    wanted: dict[str, object] = {
        "num_train_timesteps": params.T,
        "beta_schedule": params.schedule,
        "prediction_type": {"epsilon": "epsilon", "v": "v_prediction"}[params.objective],
    }
    if params.schedule == "scaled_linear":
        wanted |= {"beta_start": FIRST, "beta_end": LAST}
    # Old configurations do not name what is predicted: it is epsilon.
    found.setdefault("prediction_type", "epsilon")
    wrong = [
        f"{name} is {found.get(name)!r}, not {value!r}" for name, value in wanted.items() if found.get(name) != value
    ]
    if wrong:
        raise SuiteError(
            f"text-ldm: {folder / SCHEDULER} is of another schedule than these parameters: {'; '.join(wrong)}; set "
            "T, schedule and objective to what the weights were trained with"
        )


def _checked(wanted: Wanted, *, download: bool) -> Path:
    """Return where the weights lie; those of a named folder must have the digest that the suite says."""
    folder = located(wanted, download=download)
    if wanted.folder:
        _check_digest(wanted, folder)
    return folder


def _check_digest(wanted: Wanted, folder: Path) -> None:
    found = digest(folder / file for file in wanted.needed)
    if found != wanted.sha256:
        said = f"not {wanted.sha256}" if wanted.sha256 else "and the suite does not say so"
        raise SuiteError(
            f"text-ldm: the digest of {folder} is {found}, {said}: set {wanted.digest} to it if these are the "
            "weights that are meant (results of other weights are kept apart by it)"
        )
