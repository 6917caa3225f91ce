"""Small whole files of every format that is read, to be spoilt by `fuzz_mutations.py`: made here, and real ones that
pydicom and nibabel bring with them for their own tests."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    VLPhotographicImageStorage,
)

SLICES, SIDE = 4, 32
_LARGEST = 200_000  # bytes of a real file that is taken
_ROOT = "1.2.826.0.1.3680043.8.498"


@dataclass(frozen=True)
class Original:
    """A file that is spoilt, and what lies beside it and is left whole.

    Attributes:
        name: of the file, whose ending says what it claims to be.
        folder: what is read is the folder, not the file.
    """

    name: str
    data: bytes
    beside: dict[str, bytes] = field(default_factory=dict)
    folder: bool = False


@cache
def originals(kind: str) -> tuple[Original, ...]:
    """The files of a format, one of `FORMATS`."""
    return FORMATS[kind]()


def _real(package: str, folder: str, *endings: str) -> tuple[Original, ...]:
    """Small files that a library is tested with, where it brings them."""
    import importlib

    here = Path(str(importlib.import_module(package).__file__)).parent / folder
    files = [path for path in sorted(here.glob("*")) if path.name.endswith(endings) and path.is_file()]
    return tuple(Original(path.name, path.read_bytes()) for path in files if 0 < path.stat().st_size < _LARGEST)


def _volume(side: int = 20) -> np.ndarray:
    """Hounsfield units, int16: air, a body and two lungs."""
    volume = np.full((side, side, side), -1000, np.int16)
    volume[2:-2, 2:-2] = 40 + np.arange(side, dtype=np.int16)
    volume[5:-5, 4 : side // 2 - 1], volume[5:-5, side // 2 + 1 : -4] = -850, -860
    return volume


def _plane(k: int) -> np.ndarray:
    """Stored values of a slice, uint16, 1024 above Hounsfield units."""
    plane = np.full((SIDE, SIDE), 24, np.uint16)
    plane[4:-4, 4:-4] = 1064
    plane[8:-8, 7 : SIDE // 2 - 2], plane[8:-8, SIDE // 2 + 2 : -7] = 174 + k, 164
    return plane


def _grey(side: int = 48) -> np.ndarray:
    """Something like a chest: an upright grey picture, uint8, light in the middle and below."""
    y, x = np.mgrid[:side, :side] / (side - 1)
    noise = np.random.default_rng(0).integers(0, 12, (side, side))
    lungs = 90 * (np.exp(-(((x - 0.28) / 0.13) ** 2 + ((y - 0.4) / 0.3) ** 2)) + np.exp(
        -(((x - 0.72) / 0.13) ** 2 + ((y - 0.4) / 0.3) ** 2)))  # fmt: skip
    return np.clip(90 + 90 * y - lungs + noise + 40 * np.exp(-(((x - 0.5) / 0.1) ** 2)), 0, 255).astype(np.uint8)


def _rgb(side: int = 48) -> np.ndarray:
    grey = _grey(side)
    return np.stack([grey, grey[::-1], 255 - grey], axis=2)


def _dataset(sop_class: UID, modality: str, pixels: np.ndarray, number: int = 1) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop_class
    meta.MediaStorageSOPInstanceUID = f"{_ROOT}.3.{number}"
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SpecificCharacterSet, dataset.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = sop_class, f"{_ROOT}.3.{number}", modality
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{_ROOT}.1", f"{_ROOT}.2"
    dataset.FrameOfReferenceUID, dataset.PatientID, dataset.PatientName = f"{_ROOT}.4", "p1", "Grün^Änne"
    dataset.StudyDate, dataset.StudyTime, dataset.InstanceNumber, dataset.SeriesNumber = "20200101", "101010", number, 4
    dataset.BurnedInAnnotation = "NO"
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour or pixels.ndim == 2 else pixels.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        dataset.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits, bits - 1, 0
    dataset.PixelData = pixels.tobytes()
    return dataset


def _slice(k: int) -> FileDataset:
    dataset = _dataset(CTImageStorage, "CT", _plane(k), k + 1)
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.KVP = 1, -1024, "120"
    dataset.WindowCenter, dataset.WindowWidth, dataset.PixelPaddingValue = 40, 400, 0
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-14.0, -9.0, 100.0 + 2 * k], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness, dataset.AcquisitionNumber = [0.8, 0.8], 2.0, 1
    return dataset


def _written(dataset: FileDataset, **how: Any) -> bytes:
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True, **how)
    return file.getvalue()


def _series() -> tuple[Original, ...]:
    """A series of which one slice, in each encoding, is spoilt."""
    beside = {f"{k}.dcm": _written(_slice(k)) for k in range(SLICES) if k != 1}
    made = []
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        one = _slice(1)
        one.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            one.PixelData = _plane(1).astype(">u2").tobytes()
        made.append(_written(one, implicit_vr=syntax == ImplicitVRLittleEndian,
                             little_endian=syntax != ExplicitVRBigEndian))  # fmt: skip
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        one = _slice(1)
        try:
            one.compress(syntax, generate_instance_uid=False)
        except (RuntimeError, NotImplementedError):  # the extra `dicom` is not installed
            continue
        made.append(_written(one))
    made += _by_gdcm(made[1])
    return tuple(Original("1.dcm", data, beside, folder=True) for data in made)


def _by_gdcm(plain: bytes) -> list[bytes]:
    """JPEG lossless, the commonest of hospitals, which pydicom cannot write."""
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.dcm"
        path.write_bytes(plain)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        if not change.Change():
            return []
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        return [path.read_bytes()] if writer.Write() else []


def _dicom_files() -> tuple[Original, ...]:
    xray = _dataset(ComputedRadiographyImageStorage, "CR", _grey())
    xray.ViewPosition, xray.BodyPartExamined, xray.PatientOrientation = "PA", "CHEST", ["L", "F"]
    xray.WindowCenter, xray.WindowWidth, xray.ImagerPixelSpacing = 128, 256, [0.2, 0.2]
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [256, 0, 16])
    lut.add_new("LUTData", "OW", np.arange(0, 65536, 256, dtype=np.uint16).tobytes())
    by_lut = _dataset(ComputedRadiographyImageStorage, "CR", _grey())
    by_lut.ViewPosition, by_lut.VOILUTSequence = "PA", Sequence([lut])
    photo = _dataset(VLPhotographicImageStorage, "XC", _rgb())
    return (
        Original("xray.dcm", _written(xray)),
        Original("lut.dcm", _written(by_lut)),
        Original("photograph.dcm", _written(photo)),
        Original("enhanced.dcm", _written(_enhanced())),
        Original("bare", _written(_slice(1))[132:]),  # a data set without its preamble
        Original("slice.dcm", _written(_slice(1))),
    )


def _enhanced() -> FileDataset:
    dataset = _dataset(EnhancedCTImageStorage, "CT", np.stack([_plane(k) for k in range(SLICES)]))
    dataset.NumberOfFrames = SLICES
    orientation, measures, rescale, shared = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.8], 2.0
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1024, "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([rescale])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in range(SLICES):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [-14.0, -9.0, 100.0 + 2 * k]
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return dataset


def _nifti() -> tuple[Original, ...]:
    affine = np.diag([0.8, 0.8, 2.0, 1.0])
    one, two = nib.Nifti1Image(_volume(), affine), nib.Nifti2Image(_volume(), affine)
    one.header.set_xyzt_units("mm", "sec")
    one.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"made to be spoilt"))
    label = nib.Nifti1Image((_volume() < -500).astype(np.uint8), affine)
    plain = [Original(f"{name}.nii", image.to_bytes()) for name, image in (("n1", one), ("n2", two), ("label", label))]
    return (*plain, *(Original(f"{each.name}.gz", gzip.compress(each.data, 1, mtime=0)) for each in plain))


def _itk() -> tuple[Original, ...]:
    volume = np.ascontiguousarray(_volume().T)  # both want the first axis to vary fastest
    raw, zipped = volume.tobytes(), gzip.compress(volume.tobytes(), 1, mtime=0)
    nrrd = ("NRRD0004\n# comment 1\nnote:=number 1\ntype: short\ndimension: 3\n"
            "space: left-posterior-superior\nsizes: 20 20 20\n"
            "space directions: (0.8,0,0) (0,0.8,0) (0,0,2)\nkinds: domain domain domain\nendian: little\n"
            'encoding: {}\nspace origin: (1,2,3)\nspace units: "mm" "mm" "mm"\n{}')  # fmt: skip
    meta = ("ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{}"
            "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nCenterOfRotation = 0 0 0\n"
            "AnatomicalOrientation = RAI\nElementSpacing = 0.8 0.8 2\nDimSize = 20 20 20\n"
            "ElementType = MET_SHORT\nElementDataFile = {}\n")  # fmt: skip
    squeezed = zlib.compress(raw, 1)
    text = {
        "raw.nrrd": nrrd.format("raw", "\n"),
        "apart.nhdr": nrrd.format("raw", "data file: voxels.raw\n\n"),
        "packed.nrrd": nrrd.format("gzip", "\n"),
        "raw.mha": meta.format("CompressedData = False\n", "LOCAL"),
        "packed.mha": meta.format(f"CompressedData = True\nCompressedDataSize = {len(squeezed)}\n", "LOCAL"),
        "apart.mhd": meta.format("CompressedData = False\n", "voxels.raw"),
    }
    tails = {"raw.nrrd": raw, "packed.nrrd": zipped, "raw.mha": raw, "packed.mha": squeezed}
    made = [
        Original(name, head.encode() + tails.get(name, b""), {"voxels.raw": raw} if "apart" in name else {})
        for name, head in text.items()
    ]
    affine = np.diag([0.8, 0.8, 2.0, 1.0])
    for name, image in (("analyze", nib.AnalyzeImage(_volume(), affine)), ("pair", nib.Nifti1Pair(_volume(), affine))):
        files = image.make_file_map({"header": io.BytesIO(), "image": io.BytesIO()})
        image.to_file_map(files)
        head, voxels = (files[each].fileobj.getvalue() for each in ("header", "image"))
        made.append(Original(f"{name}.hdr", head, {f"{name}.img": voxels}))
    return tuple(made)


def _pictures(kind: str) -> tuple[Original, ...]:
    """The kinds of pixels that a format has."""
    grey, rgb = Image.fromarray(_grey()), Image.fromarray(_rgb())
    deep = Image.fromarray(_grey().astype(np.uint16) * 257)
    text = PngInfo()
    text.add_text("Comment", "made to be spoilt", zip=True)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    made: dict[str, list[tuple[Image.Image, dict[str, Any]]]] = {
        "PNG": [(grey, {"pnginfo": text}), (rgb, {"exif": exif}), (deep, {}), (rgb.quantize(16), {}),
                (grey.convert("1"), {}), (rgb.convert("RGBA"), {}), (grey.convert("LA"), {})],
        "JPEG": [(grey, {"quality": 80}), (rgb, {"exif": exif}), (rgb, {"progressive": True}),
                 (rgb.convert("CMYK"), {}), (rgb, {"subsampling": 0, "dpi": (72, 72), "comment": b"spoilt"})],
        "TIFF": [(grey, {}), (rgb, {"compression": "tiff_lzw"}), (rgb, {"compression": "tiff_adobe_deflate"}),
                 (deep, {}), (grey.convert("1"), {"compression": "group4"}), (rgb, {"compression": "jpeg"}),
                 (rgb, {"compression": "packbits"}), (Image.fromarray(_grey().astype(np.float32)), {}),
                 (grey, {"exif": exif}), (rgb.quantize(16), {})],
        "BMP": [(grey, {}), (rgb, {}), (rgb.quantize(16), {})],
        "WEBP": [(rgb, {"quality": 80}), (rgb, {"lossless": True, "exif": exif}), (rgb.convert("RGBA"), {})],
        "HEIF": [(rgb, {"quality": 60})],
    }  # fmt: skip
    if kind == "HEIF":
        try:
            import pillow_heif
        except ImportError:
            return ()
        pillow_heif.register_heif_opener()
    ending = {"JPEG": "jpg", "TIFF": "tif", "HEIF": "heic"}.get(kind, kind.lower())
    files = []
    for number, (image, how) in enumerate(made[kind]):
        file = io.BytesIO()
        image.save(file, kind, **how)
        files.append(Original(f"p{number}.{ending}", file.getvalue()))
    return tuple(files)


def _members() -> dict[str, bytes]:
    return {
        "a/scan.nii.gz": _nifti()[3].data,
        "b/slices/0.dcm": _written(_slice(0)),
        "b/slices/1.dcm": _written(_slice(1)),
        "c.png": _pictures("PNG")[0].data,
        "notes.txt": b"nothing",
    }


def _zips() -> tuple[Original, ...]:
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        for several in (False, True):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", method) as archive:
                for name, data in list(_members().items())[: 5 if several else 1]:
                    archive.writestr(zipfile.ZipInfo(name), data, method)
            made.append(Original(f"{method}{several:d}.zip", file.getvalue()))
    return tuple(made)


def _tars() -> tuple[Original, ...]:
    made = {}
    for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            for name, data in _members().items():
                info = tarfile.TarInfo(name if form == tarfile.USTAR_FORMAT else f"{'long' * 30}/{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        made[f"{form}.tar"] = file.getvalue()
    plain = made["0.tar"]
    made |= {"0.tar.gz": gzip.compress(plain, 1, mtime=0), "0.tar.bz2": bz2.compress(plain, 1),
             "0.tar.xz": lzma.compress(plain, preset=0)}  # fmt: skip
    return tuple(Original(name, data) for name, data in made.items())


def _weights() -> tuple[Original, ...]:
    import safetensors.torch
    import torch

    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3), "n": torch.tensor(2)}
    made = {"w.safetensors": safetensors.torch.save(state, metadata={"made": "to be spoilt"})}
    for name, zipped in (("w.pt", True), ("old.pt", False)):
        file = io.BytesIO()
        torch.save(state, file, _use_new_zipfile_serialization=zipped)
        made[name] = file.getvalue()
    return tuple(Original(name, data) for name, data in made.items())


FORMATS: dict[str, Callable[[], tuple[Original, ...]]] = {
    "dicom_series": _series,
    "dicom_file": lambda: (*_dicom_files(), *_real("pydicom", "data/test_files", ".dcm")),
    "nifti": lambda: (*_nifti(), *_real("nibabel", "tests/data", ".nii", ".nii.gz")),
    "nrrd_meta_analyze": _itk,
    "png": lambda: _pictures("PNG"),
    "jpeg": lambda: _pictures("JPEG"),
    "tiff": lambda: _pictures("TIFF"),
    "bmp_webp_heic": lambda: (*_pictures("BMP"), *_pictures("WEBP"), *_pictures("HEIF")),
    "zip": _zips,
    "tar": _tars,
    "weights": _weights,
}
