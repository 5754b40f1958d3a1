"""Networks from the Hugging Face hub that metrics look through: which files they are. Light, as all settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfbench.errors import CfbenchError
from cfbench.specs import param
from cfbench_metrics.params import FloorSize

#: Files of a network, in the order of their checksums.
FILES = ("config.json", "model.safetensors", "preprocessor_config.json")
_COMMIT, _DIGEST = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Dinov2:
    """Which DINOv2 is looked through, and at how many pixels. The defaults are ViT-S/14 of its authors."""

    model: str = param("facebook/dinov2-small", "its name on the Hugging Face hub")
    revision: str = param("ed25f3a31f01632728cabb09d1542f84ab7b0056", "its commit there, 40 hexadecimal digits")
    sha256: tuple[str, ...] = param(
        (
            "1809f83e3bdb1609a501a610ad4a742f4fd8ae44d72ca4aa0df52d1f2ac8628d",
            "ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
            "14e780d86fa1861f8751f868d7f45425b5feb55c38ca26f152ca5097ab30f828",
        ),
        f"SHA-256 of its {', '.join(FILES)}, in this order; any other file is refused",
    )
    folder: str = param("", "a folder with these files; none: the hub's cache")
    side: int = param(224, "pixels of a side that every image is brought to, a multiple of the network's patch (14)")
    download: bool = param(False, "fetch from the hub what its cache lacks; otherwise nothing ever is")

    def __post_init__(self) -> None:
        """Refuse what names no fixed files."""
        if not _COMMIT.fullmatch(self.revision):
            raise ValueError(f"revision must be a commit, 40 hexadecimal digits (no branch), got {self.revision!r}")
        if len(self.sha256) != len(FILES) or not all(map(_DIGEST.fullmatch, self.sha256)):
            raise ValueError(f"sha256 must be {len(FILES)} checksums of 64 hexadecimal digits ({', '.join(FILES)})")
        if self.side < 1:
            raise ValueError(f"side must be 1 pixel or more, got {self.side}")

    def missing(self) -> str:
        """Return which files are not on this machine and what to do, or nothing; asked before anything is run."""
        if self.download and not self.folder:
            return ""
        try:
            self.files()
        except CfbenchError as error:
            return str(error)
        return ""

    def files(self) -> Path:
        """Return the folder of the network's files.

        Raises:
            DataError: the named folder lacks some.
            OfflineError: the hub's cache does, and they were not to be fetched or could not be.
        """
        from cfbench_nets.hub import Published, require_files, snapshot

        if self.folder:
            folder = Path(self.folder).expanduser()
            require_files("DINOv2", folder, FILES)
            return folder
        return snapshot(Published("DINOv2", self.model, self.revision, FILES), download=self.download)


@dataclass(frozen=True)
class Dinov2Floor(Dinov2, FloorSize):
    """The same, and the number of images that the floor is for."""


#: RAD-DINO (Perez-Garcia et al., Nature Machine Intelligence 2025): ViT-B/14, learnt from chest X-rays; its own size.
RAD_DINO: Mapping[str, Any] = {
    "model": "microsoft/rad-dino",
    "revision": "110cbc18d5133582e320b43d53bf5c44e410c936",
    "sha256": (
        "89daf9751d9576d586dedf9543c1083211611fa3a36908db7a799b3ce7c68ede",
        "dbfb9f54459c38773505de64a6ab7807bdcb392610fe1e697166342e43fb91ae",
        "c537fc995c30e2353f07253899618d60e9eae3d5f82473778602c007c6523b56",
    ),
    "side": 518,
}
#: By name, as suites call them.
DINOV2_PRESETS: Mapping[str, Mapping[str, Any]] = {"rad-dino": RAD_DINO}
