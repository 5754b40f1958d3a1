"""The official files, as MedMNIST publishes them.

Names, checksums, counts and label codes are those of the `medmnist` package 3.0.2 (`medmnist.info.INFO`, Apache-2.0);
the files are those of Zenodo record 10519652 (Yang et al., "MedMNIST v2", Scientific Data 10:41, 2023), CC BY 4.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import Asset, DatasetInfo, param

RECORD = "https://zenodo.org/records/10519652"
EDITION = "medmnist 3.0.2"
LICENCE = "CC BY 4.0"


@dataclass(frozen=True)
class Params:
    """Which file of a set, and where it lies."""

    size: int = param(28, "side in pixels: 28, 64, 128 or 224; 28 or 64 for volumes")
    test: Literal["test", "val"] = param(
        "test", "official split that is tested on: 'val' as in Atad et al. 2024 for RetinaMNIST, and test is valid then"
    )
    root: str = param("", "folder that holds the official .npz file; empty: the cfbench cache")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One MedMNIST set."""

    name: str
    summary: str
    #: The label as cfbench names it.
    label: str
    #: Its value for each code in the file: `values[code]`.
    values: tuple[float, ...] = (0.0, 1.0)
    #: Words for its values, from the lowest upward; or none.
    words: tuple[str, ...] = ()
    #: Images by value that a paper reports, of which splits, and where.
    reported: Mapping[float, int] = field(default_factory=dict)
    reported_of: tuple[str, ...] = ()
    reported_by: str = ""
    channels: int = 1
    dims: int = 2
    #: Images in train, val and test.
    counts: tuple[int, int, int]
    #: Side in pixels to the MD5 of the official file.
    md5: Mapping[int, str]
    #: Side in pixels to bytes, where known.
    bytes: Mapping[int, int] = field(default_factory=dict)

    def asset(self, params: Params) -> Asset:
        """Return the file that the parameters ask for. Raises DataError for a size that is not published."""
        if params.size not in self.md5:
            sizes = ", ".join(map(str, self.md5))
            raise DataError(
                f"{self.name}: size is {params.size}, but it is published in sizes {sizes}: set one of them"
            )
        file = f"{self.name}.npz" if params.size == 28 else f"{self.name}_{params.size}.npz"
        return Asset(
            name=file,
            url=f"{RECORD}/files/{file}?download=1",
            checksum=f"md5:{self.md5[params.size]}",
            size=self.bytes.get(params.size),
            root=Path(params.root).expanduser().absolute() if params.root else None,
            licence=LICENCE,
        )

    def describe(self, params: Params) -> DatasetInfo:
        """Return what is known without the file. MedMNIST publishes no patients: every image is its own."""
        asset = self.asset(params)
        return DatasetInfo(
            channels=self.channels,
            space=(params.size,) * self.dims,
            labels={self.label: tuple(sorted(self.values))},
            prompts={self.label: dict(zip(sorted(self.values), self.words, strict=True))} if self.words else {},
            fingerprint=f"{EDITION} {asset.name} {asset.checksum}" + (" tested on val" if params.test == "val" else ""),
            patients=False,
            licence=LICENCE,
            assets=(asset,),
        )


RETINA = Archive(
    name="retinamnist",
    summary="Fundus photographs (DeepDRiD); `grade`: severity of diabetic retinopathy, 0 to 4.",
    label="grade",
    values=(0.0, 1.0, 2.0, 3.0, 4.0),
    words=(
        "fundus photograph, no retinopathy",
        "fundus photograph, mild retinopathy",
        "fundus photograph, moderate retinopathy",
        "fundus photograph, severe retinopathy",
        "fundus photograph, proliferative retinopathy",
    ),
    reported={0.0: 540, 1.0: 140, 2.0: 234, 3.0: 214, 4.0: 72},
    reported_of=("train", "valid"),
    reported_by="Atad et al. 2024, Table 1",
    channels=3,
    counts=(1080, 120, 400),
    md5={
        28: "bd4c0672f1bba3e3a89f0e4e876791e4",
        64: "afda852cc34dcda56f86ad2b2457dbcc",
        128: "e48e916a24454daf90583d4e6efb1a18",
        224: "eae7e3b6f3fcbda4ae613ebdcbe35348",
    },
    bytes={28: 3_291_041},
)
PNEUMONIA = Archive(
    name="pneumoniamnist",
    summary="Chest radiographs of children; `pneumonia`: 0 normal, 1 pneumonia.",
    label="pneumonia",
    words=("Normal chest scan", "Pneumonia"),
    counts=(4708, 524, 624),
    md5={
        28: "28209eda62fecd6e6a2d98b1501bb15f",
        64: "8f4eceb4ccffa70c672198ea285246c6",
        128: "05b46931834c231683c68f40c47b2971",
        224: "d6a3c71de1b945ea11211b03746c1fe1",
    },
    bytes={28: 4_170_669},
)
BREAST = Archive(
    name="breastmnist",
    # The file's code is 0 for malignant and 1 for the rest; here 1 is the disease, as everywhere in cfbench.
    summary="Breast ultrasound; `malignant`: 1 malignant, 0 normal or benign (1 minus the code in the file).",
    label="malignant",
    values=(1.0, 0.0),
    words=("breast ultrasound, normal or benign", "breast ultrasound, malignant lesion"),
    counts=(546, 78, 156),
    md5={
        28: "750601b1f35ba3300ea97c75c52ff8f6",
        64: "742edef2a1fd1524b2efff4bd7ba9364",
        128: "363e4b3f8d712e9b5de15470a2aaadf1",
        224: "b56378a6eefa9fed602bb16d192d4c8b",
    },
)
NODULE = Archive(
    name="nodulemnist3d",
    summary="Lung nodules in CT (LIDC-IDRI); `malignant`: rated 4 or 5 against 1 or 2.",
    label="malignant",
    words=("benign lung nodule", "malignant lung nodule"),
    dims=3,
    counts=(1158, 165, 310),
    md5={28: "8755a7e9e05a4d9ce80a24c3e7a256f3", 64: "c47c5b7d457bf6332200d2ea6d64ecd8"},
)
ADRENAL = Archive(
    name="adrenalmnist3d",
    summary="Shapes of adrenal glands from CT (0 or 1, no grey levels); `mass`: 0 normal, 1 adrenal mass.",
    label="mass",
    words=("normal adrenal gland", "adrenal gland with a mass"),
    dims=3,
    counts=(1188, 98, 298),
    md5={28: "bbd3c5a5576322bc4cdfea780653b1ce", 64: "17721accfe9fb005146a47d33bc54b2f"},
    bytes={28: 276_833},
)
VESSEL = Archive(
    name="vesselmnist3d",
    summary="Shapes of brain vessel segments (IntrA); `aneurysm`: 0 healthy, 1 aneurysm.",
    label="aneurysm",
    words=("healthy brain vessel", "brain vessel with an aneurysm"),
    dims=3,
    counts=(1335, 191, 382),
    md5={28: "b41fd4f7e7e2feedddb201585ecafa1b", 64: "6bb274a8846e1097066dcd64e2c4520f"},
)
SYNAPSE = Archive(
    name="synapsemnist3d",
    summary="Synapses of a rat in electron microscopy; `excitatory`: 0 inhibitory, 1 excitatory.",
    label="excitatory",
    words=("inhibitory synapse", "excitatory synapse"),
    dims=3,
    counts=(1230, 177, 352),
    md5={28: "1235b78a3cd6280881dd7850a78eadb6", 64: "43bd14ebf3af9d3dd072446fedc14d5e"},
)
ARCHIVES = (RETINA, PNEUMONIA, BREAST, NODULE, ADRENAL, VESSEL, SYNAPSE)
