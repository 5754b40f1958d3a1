"""Volumes as their files hold them: NIfTI by nibabel, MetaImage and NRRD by SimpleITK; checked before anything is made.

A volume keeps the numbers of its file (12-bit and 16-bit integers stay what they are) and its affine: from voxel
indices to millimetres, x to the right, y to the front, z to the head (NIfTI's RAS+).
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int16, Shaped
from numpy.typing import NDArray

from cfbench.errors import DataError, NotFiniteError

NIFTI = (".nii", ".nii.gz")
ITK = (".mha", ".mhd", ".nrrd")
SUFFIXES = (*NIFTI, *ITK)
#: Voxels that a file may declare: a header is a few bytes, and what it asks for is allocated.
LARGEST = 1 << 31
#: Degrees by which two axes may be off a right angle.
SHEAR = 2.0
#: What malformed files make the readers raise.
_MALFORMED = (OSError, EOFError, ValueError, zlib.error, gzip.BadGzipFile, KeyError, TypeError, RuntimeError)
INSTALL = "type `pip install 'cfbench[volumes]'`"


@dataclass(frozen=True)
class Volume:
    """Voxels and where they are."""

    voxels: Shaped[np.ndarray, "x y z"]
    #: Voxel index to millimetres (right, front, head).
    affine: Float64[np.ndarray, "4 4"]
    #: Name of the file, for messages.
    where: str

    @property
    def spacing(self) -> Float64[np.ndarray, "3"]:
        """Return the millimetres from one voxel to the next along each stored axis."""
        return spacing_of(self.affine)


def spacing_of(affine: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "3"]:
    """Return the lengths of an affine's columns, to 0.01 micrometres: headers have seven digits."""
    return np.round(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)), 5)


def suffix_of(path: Path) -> str:
    """Return `.nii.gz`, `.nii`, `.mha`, `.mhd` or `.nrrd`; "" for any other file."""
    return next(
        (suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(suffix)), ""
    )


def stem_of(path: Path) -> str:
    """Return the name of a file without its suffix (`x` of `x.nii.gz`)."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_volume(path: Path, channel: int | None = None, channels: int = 0, nan: str = "refuse") -> Volume:
    """Return one 3D volume.

    Args:
        path: a file with one of `SUFFIXES`.
        channel: of a 4D file, which volume to take; None if the file must be 3D (trailing axes of length 1 are none).
        channels: how many volumes a 4D file must have; 0 = any number that has the channel.
        nan: `"refuse"`, or `"lowest"`: voxels that are no finite number get the lowest value of the others.

    Raises:
        DataError: there is no such file; it is cut short or malformed; it is 4D where 3D is expected, or the reverse;
            its affine is singular, sheared, or unknown; it asks for more than `LARGEST` voxels.
        NotFiniteError: NaN or infinite voxels, and `nan` is `"refuse"`.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if not suffix_of(path):
        raise DataError(f"{path}: expected a volume ({', '.join(SUFFIXES)})")
    with _readable(path):
        read = _read_nifti if suffix_of(path) in NIFTI else _read_itk
        voxels, affine = read(path, channel, channels)
    check_affine(affine, path.name)
    return Volume(_finite(voxels, path, nan), affine, path.name)


def read_labels(path: Path) -> Volume:
    """Return a label map as int16. Labels stored as floating-point numbers are taken if they are whole.

    Raises:
        DataError: as of `read_volume`, or labels that are no whole numbers.
    """
    volume = read_volume(path)
    return Volume(_whole(volume), volume.affine, volume.where)


def check_affine(affine: Float64[np.ndarray, "4 4"], where: str) -> None:
    """Raise DataError for an affine that is not finite, is singular, or whose axes are not at right angles."""
    axes = affine[:3, :3]
    if not np.isfinite(affine).all() or not (spacing_of(affine) > 1e-4).all():
        raise DataError(
            f"{where}: its affine is not usable (an axis has no length, or is not a number): {axes.tolist()}"
        )
    unit = axes / spacing_of(affine)
    cosines = np.abs(unit.T @ unit - np.eye(3)).max()
    if cosines > np.sin(np.deg2rad(SHEAR)):
        off = np.rad2deg(np.arcsin(min(cosines, 1.0)))
        raise DataError(
            f"{where}: its affine is sheared or singular: two axes are {off:.1f} degrees off a right angle (at most "
            f"{SHEAR:g} are taken); resample it to an orthogonal grid first"
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises into a sentence."""
    try:
        yield
    except ImportError as error:
        raise DataError(f"{path.name} needs a library that is not here ({error.name}): {INSTALL}") from error
    except MemoryError as error:
        raise DataError(f"{path}: there is not enough memory to read it") from error
    except _nibabel_errors() as error:
        raise DataError(f"{path} cannot be read as a volume (cut short or malformed?): {error}") from error


def _nibabel_errors() -> tuple[type[Exception], ...]:
    try:
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
    except ImportError:
        return _MALFORMED
    return (*_MALFORMED, ImageFileError, HeaderDataError)


def _read_nifti(path: Path, channel: int | None, channels: int) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    import nibabel

    image = nibabel.load(path)
    shape = _check_dims(path, image.shape, channel, channels)
    if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
        raise DataError(
            f"{path}: its header says nothing of orientation (sform and qform codes are 0), so left and right are "
            "unknown; set one of them where the file was made"
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all():
        raise DataError(f"{path}: its affine is not finite: {affine.tolist()}")
    if image.get_data_dtype().fields or np.issubdtype(image.get_data_dtype(), np.complexfloating):
        raise DataError(f"{path}: expected one number per voxel, found {image.get_data_dtype()}")
    proxy = image.dataobj
    part = (slice(None),) * 3 + ((channel,) if channel is not None else (0,) * (len(image.shape) - 3))
    if (proxy.slope, proxy.inter) == (1.0, 0.0):
        return np.asarray(proxy[part] if len(part) > 3 else proxy).reshape(shape), affine
    # Scaled voxels come as float64 unless asked otherwise: twice the memory, for integers of 16 bits at most.
    voxels = proxy[part].astype(np.float32) if len(part) > 3 else np.asarray(proxy, dtype=np.float32)
    return voxels.reshape(shape), affine


def _read_itk(path: Path, channel: int | None, channels: int) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() > 1:
        raise DataError(f"{path}: expected one number per voxel, found {reader.GetNumberOfComponents()}")
    shape = _check_dims(path, reader.GetSize(), channel, channels)
    _check_length(path)
    image = reader.Execute()
    turned = np.asarray(SimpleITK.GetArrayFromImage(image)).T
    voxels = turned[..., channel] if channel is not None else turned.reshape(shape)
    return voxels, _ras(image.GetDirection(), image.GetSpacing(), image.GetOrigin())


def _ras(direction: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the affine of ITK's geometry, whose x and y point to the left and to the back."""
    dims = len(spacing)
    affine = np.eye(4)
    affine[:3, :3] = (np.reshape(direction, (dims, dims)) * np.asarray(spacing))[:3, :3]
    affine[:3, 3] = origin[:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _check_length(path: Path) -> None:
    """Raise DataError for an uncompressed MetaImage that is cut short: ITK fills what is missing and only warns."""
    if suffix_of(path) != ".mha":
        return
    with path.open("rb") as file:
        head = file.read(1 << 14).partition(b"ElementDataFile = LOCAL")[0].decode("latin1")
    fields = dict(line.split(" = ", 1) for line in head.splitlines() if " = " in line)
    if fields.get("CompressedData", "False").strip() == "True":
        wanted = int(fields.get("CompressedDataSize", 0))
    else:
        sizes = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "FLOAT": 4, "DOUBLE": 8, "LONG_LONG": 8}
        one = sizes.get(
            fields.get("ElementType", "").strip().removeprefix("MET_").replace("UL", "L").removeprefix("U"), 1
        )
        wanted = int(np.prod([int(n) for n in fields.get("DimSize", "0").split()])) * one
    if path.stat().st_size < wanted:
        raise DataError(f"{path} is cut short: its header promises {wanted:,} bytes, it has {path.stat().st_size:,}")


def _check_dims(path: Path, shape: tuple[int, ...], channel: int | None, channels: int) -> tuple[int, int, int]:
    """Return the three spatial sizes. Raise DataError for another number of dimensions than is expected."""
    if len(shape) < 3 or min(shape) < 1 or np.prod([float(n) for n in shape]) > LARGEST:
        raise DataError(f"{path}: its shape is {list(shape)}; expected three sizes from 1, {LARGEST:,} voxels at most")
    x, y, z, *rest = (int(n) for n in shape)
    if channel is None and any(n != 1 for n in rest):
        raise DataError(f"{path}: it is {len(shape)}D, {list(shape)}; expected one 3D volume. Name one of its volumes")
    if channel is not None and (len(rest) != 1 or rest[0] != (channels or rest[0]) or channel >= rest[0]):
        wanted = channels or f"{channel + 1} or more"
        raise DataError(f"{path}: its shape is {list(shape)}; expected 4D with {wanted} volumes")
    return x, y, z


def _finite(voxels: Shaped[np.ndarray, "x y z"], path: Path, nan: str) -> Shaped[np.ndarray, "x y z"]:
    if voxels.dtype.kind != "f" or (np.isfinite(voxels.min()) and np.isfinite(voxels.max())):
        return voxels
    good = np.isfinite(voxels)
    if nan == "refuse" or not good.any():
        first = tuple(int(i) for i in np.argwhere(~good)[0])
        raise NotFiniteError(f"{path}: {(~good).sum():,} voxels are no finite numbers, the first at {first}")
    return np.where(good, voxels, voxels[good].min())


def _whole(volume: Volume) -> Int16[np.ndarray, "x y z"]:
    """Return labels as int16. Raises DataError if one is no whole number, or none that fits."""
    voxels = volume.voxels
    if float(voxels.min()) < -(1 << 15) or float(voxels.max()) >= 1 << 15:
        raise DataError(f"{volume.where}: labels from {voxels.min()} to {voxels.max()}; expected a label map")
    whole = np.rint(voxels).astype(np.int16) if voxels.dtype.kind == "f" else voxels.astype(np.int16)
    if voxels.dtype.kind == "f" and np.abs(voxels - whole).max() > 1e-3:
        raise DataError(f"{volume.where}: its voxels are no whole numbers; expected a label map")
    return whole
