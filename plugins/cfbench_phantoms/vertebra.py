"""The vertebra phantom as a dataset: cases by split, images on demand, and the exact counterfactual of every case."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cfbench.errors import DataError
from cfbench.types import Batch, Images, Truth, Values
from cfbench_phantoms import anatomy, raw
from cfbench_phantoms.factors import Cohort, draw
from cfbench_phantoms.genant import height_loss
from cfbench_phantoms.plugin import VertebraParams, check

SPLITS = ("train", "valid", "test")
#: Pixels that are drawn at once: what the temporaries of a few dozen operations need stays in the cache.
PIXELS = 1 << 15

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
#: Label to the column of the cohort that it shows.
LABELS: Mapping[str, str] = {
    "genant": "grade",
    "height_ratio": "height_ratio",
    "shape": "shape",
    "level": "level",
    "neighbour_fracture": "neighbour",
    "implant": "implant",
}


class VertebraPhantom:
    """Sagittal CT-like patches about one vertebra, with Genant grades 0 to 3 (label `genant`).

    Grade 1 is 20-25 % height loss, grade 2 25-40 %, grade 3 more than 40 % (Genant et al., J Bone Miner Res
    8(9):1137-1148, 1993), as wedge, biconcave or crush deformity. The vertebra is half as wide as the patch, anterior
    is left. A case is a structural causal model with exogenous factors (`factors.py`); `counterfactual` sets the
    grade and keeps every factor, the noise included. Images are 8-bit, the same on every machine.

    Further columns of `labels`: `height_ratio` (worst height / normal height), `shape` (0 wedge, 1 biconcave,
    2 crush), `level` (VerSe's number, T4 = 11 to L4 = 23), `neighbour_fracture` and `implant` (0 or 1).
    """

    def __init__(self, params: VertebraParams) -> None:
        check(params)
        self._params = params
        self._cohort = draw(params)
        self._position = {case: i for i, case in enumerate(self._cohort.ids)}
        n, size = len(self._position), params.size
        # Memory is touched, hence used, only where an image has been drawn.
        self._images: Bytes = np.empty((n, size, size), np.uint8)
        self._masks: Mask = np.empty((n, size, size), np.bool_)
        self._drawn = np.zeros(n, np.bool_)

    def cases(self, split: str) -> "VertebraCases":
        """Return the cases of `"train"`, `"valid"` or `"test"`. Raises DataError for another name."""
        if split not in SPLITS:
            raise DataError(f"vertebra-phantom has the splits {', '.join(SPLITS)}, not {split!r}")
        return VertebraCases(self, np.flatnonzero(self._splits() == SPLITS.index(split)))

    def counterfactual(self, ids: Sequence[str], label: str, values: Values) -> Truth:
        """Return each case with its Genant grade set to a value in [0, 3] (not only whole ones), all else unchanged.

        The mask marks the pixels whose 8-bit value differs from the factual image; `measured` is the height ratio of
        the counterfactual. At the factual grade the factual image comes back bit for bit. Raises DataError for
        another label, an unknown case or a value outside [0, 3].
        """
        index, grade = self._find(ids), self._grades(label, values, len(ids))
        loss = height_loss(grade, self._cohort.columns["image.severity"][index])
        images, _ = self._draw(index, loss)
        factual, _ = self.drawn(index)
        return Truth(
            x=as_images(images),
            mask=torch.from_numpy(images != factual)[:, None],
            measured=torch.from_numpy(1 - loss).float(),
        )

    def drawn(self, index: NDArray[np.intp]) -> tuple[Bytes, Mask]:
        """Return the factual images and vertebra masks at these positions of the cohort, drawing what is missing."""
        missing = np.unique(index[~self._drawn[index]])
        if missing.size:
            self._images[missing], self._masks[missing] = self._draw(missing, self.factual_loss()[missing])
            self._drawn[missing] = True
        return self._images[index], self._masks[index]

    @property
    def cohort(self) -> Cohort:
        """What was drawn for every case."""
        return self._cohort

    def factual_loss(self) -> NDArray[np.float64]:
        """Return the height loss of every case."""
        columns = self._cohort.columns
        return height_loss(columns["grade"], columns["image.severity"])

    def _draw(self, index: NDArray[np.intp], loss: NDArray[np.float64]) -> tuple[Bytes, Mask]:
        """Return the images of cases with a given height loss, and their vertebra masks."""
        size = self._params.size
        images, masks = np.empty((len(index), size, size), np.uint8), np.empty((len(index), size, size), np.bool_)
        step = max(1, PIXELS // size**2)
        for start in range(0, len(index), step):
            part = slice(start, start + step)
            u = self._cohort.take(index[part])
            grey, masks[part] = anatomy.draw(u, loss[part], self._nodes(index[part]), size)
            grey += self._noise(index[part], u["patient.noise"])
            np.rint(grey, out=grey)
            images[part] = np.clip(grey, 0, 255, out=grey).astype(np.uint8)
        return images, masks

    def _nodes(self, index: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the nodes of the bone texture, [n, m, m]."""
        m = anatomy.TEXTURE_NODES
        return self._normal(index, "texture", m)

    def _noise(self, index: NDArray[np.intp], strength: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the noise fields in grey levels, [n, size, size]."""
        scale = (self._params.noise * strength).astype(np.float32)[:, None, None]
        return self._normal(index, "noise", self._params.size) * scale

    def _normal(self, index: NDArray[np.intp], what: str, side: int) -> NDArray[np.float32]:
        """Return one standard normal field of side x side per case, from the stream of that case and purpose."""
        streams = [raw.integers(side * side, self._params.seed, what, self._cohort.ids[i]) for i in index]
        return raw.normal(np.stack(streams)).reshape(len(index), side, side)

    def _splits(self) -> NDArray[np.intp]:
        """Return 0, 1 or 2 (train, valid, test) for every case, by its patient.

        Patients take turns by a golden-ratio sequence: any first n of them are split closely as asked, and a patient
        stays where it is when others are added.
        """
        turn = self._cohort.patient.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        u = raw.uniform(turn + raw.integers(1, self._params.seed, "split"))
        test, valid = self._params.test, self._params.valid
        return np.where(u < test, 2, np.where(u < test + valid, 1, 0))

    def _find(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """Return the positions of cases."""
        unknown = [case for case in ids if case not in self._position]
        if unknown:
            raise DataError(
                f"vertebra-phantom has no case {unknown[0]!r}; its {len(self._position)} cases are named "
                f"like {self._cohort.ids[0]!r}: were other parameters meant?"
            )
        return np.array([self._position[case] for case in ids], np.intp)

    def _grades(self, label: str, values: Values, n: int) -> NDArray[np.float64]:
        """Return the grades asked for, checked."""
        if label != "genant":
            raise DataError(f"vertebra-phantom knows counterfactuals of the label genant, not of {label!r}")
        if len(values) != n:
            raise DataError(f"one value per case was expected: {n} cases came with {len(values)} values")
        grade = values.detach().cpu().double().numpy()
        wrong = grade[~((grade >= 0) & (grade <= 3))]
        if wrong.size:
            raise DataError(f"a Genant grade lies in [0, 3]; {wrong[0]:g} was asked for")
        return np.asarray(grade)


def as_images(grey: Bytes) -> Images:
    """Return 8-bit images as float32 in [0, 1] with a channel."""
    return torch.from_numpy(grey.astype(np.float32) / np.float32(255))[:, None]


class VertebraCases:
    """The cases of one split, at the positions `index` of the phantom's cohort; see `cfbench.protocols.Cases`."""

    def __init__(self, phantom: VertebraPhantom, index: NDArray[np.intp]) -> None:
        self._phantom, self._index = phantom, index
        cohort = phantom.cohort
        columns = cohort.columns | {"height_ratio": 1 - phantom.factual_loss()}
        self.ids: tuple[str, ...] = tuple(cohort.ids[i] for i in index)
        self.patients: tuple[str, ...] = tuple(cohort.patients[i] for i in index)
        self.labels: Mapping[str, Values] = {
            label: torch.from_numpy(columns[name][index]).float() for label, name in LABELS.items()
        }

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.ids)

    def batch(self, index: Sequence[int]) -> Batch:
        """Return the cases at these positions, with their images and the mask `vertebra` of the centre vertebra."""
        at = np.asarray(index, np.intp)
        images, masks = self._phantom.drawn(self._index[at])
        return Batch(
            ids=tuple(self.ids[i] for i in at),
            patients=tuple(self.patients[i] for i in at),
            x=as_images(images),
            labels={label: column[torch.from_numpy(at)] for label, column in self.labels.items()},
            masks={"vertebra": torch.from_numpy(masks)[:, None]},
        )
