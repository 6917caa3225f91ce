"""Dictionary transforms that save predictions as DICOM, at the end of the postprocessing of any MONAI config."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from PIL import Image

from pipelines.dicom_writing.maker import Maker, writer
from pipelines.dicom_writing.measurement_report import figures_of, measurement_report
from pipelines.dicom_writing.preview import preview
from pipelines.dicom_writing.segmentation import check_codes, on_source_grid, segment_numbers, segmentation, type_of
from pipelines.errors import UsageError
from pipelines.files import write_file
from pipelines.readers.dicom_source import DicomSource, read_source

__all__ = ["SaveDicomPreviewd", "SaveDicomReportd", "SaveDicomSegd"]


class _SaveDicomd(MapTransform):
    """Makes a DICOM object of each key's value and writes it to ``output_dir``; ``KEY_dicom`` is its path, or None.

    Args:
        keys: what is saved.
        output_dir: made if missing; a file is called after its case.
        bundle, network, checkpoint: the algorithm's folder (its metadata has the version), network and weights.
        image_key: whose ``filename_or_obj`` is the source: a folder, a file, an archive.
        case_key: of the case's name; without one there, the source's name.
        allow_missing_keys: leave out keys that a case does not have.

    Raises:
        UsageError: on call, the source is no DICOM.
    """

    ending = ""

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        bundle: str = ".",
        network: str = "",
        checkpoint: str | None = None,
        image_key: str = "image",
        case_key: str = "case",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir, self.image_key, self.case_key = Path(output_dir), image_key, case_key
        self.made_by = (Path(bundle), network, checkpoint)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            path = Path(d[self.image_key].meta["filename_or_obj"])
            source = read_source(path)
            if source is None:
                raise UsageError("it is no DICOM, so nothing made of it can refer to it as DICOM", where=path)
            made = self.made(key, d, source, Maker.of(*self.made_by))
            d[f"{key}_dicom"] = None
            if made is not None:
                name = str(d.get(self.case_key) or path.name.split(".")[0])
                file = self.output_dir / f"{name}_{self.ending}"
                file.parent.mkdir(parents=True, exist_ok=True)
                write_file(file, writer(made))
                d[f"{key}_dicom"] = str(file)
        return d

    def made(self, key: Hashable, data: Mapping[Hashable, Any], source: DicomSource, maker: Maker) -> Any:
        """The DICOM object of one key; None for none."""
        raise TypeError("a subclass says what is made")


class SaveDicomSegd(_SaveDicomd):
    """Saves label maps as DICOM SEG: ``NAME_seg.dcm``.

    The label map is of shape (1, X, Y, Z) on the grid of the series in any orientation (MONAI's ``Invertd`` brings it
    back there), or (1, W, H) of a picture, with label values of 0 to 255. Where nothing is labelled none is written.

    Args:
        label_names: of label values, background included.
        segments: of a value: ``type``, ``category``, ``anatomy``, each [code, scheme, meaning] (anatomy: a list).
        segmentation_type: BINARY or LABELMAP.
        keys, output_dir, bundle, network, checkpoint, image_key, case_key, allow_missing_keys: as of all here: the
            keys, where to, the algorithm's folder, network and weights, the key whose ``filename_or_obj`` is the
            source, that of the case's name, and whether a case may lack a key.

    Raises:
        ConfigError: another type, or a code that is none.
        GeometryError: on call, the label map does not lie on the series' grid.
        UsageError: on call, the source is no DICOM.
    """

    ending = "seg.dcm"

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        label_names: Mapping[Any, str],
        segments: Mapping[Any, Mapping[str, Any]] | None = None,
        segmentation_type: str = "BINARY",
        **more: Any,
    ) -> None:
        super().__init__(keys, output_dir, **more)
        self.names = {int(value): str(name) for value, name in label_names.items()}
        self.segments = {int(value): given for value, given in (segments or {}).items()}
        check_codes(self.segments)
        self.kind = type_of(segmentation_type)

    def made(self, key: Hashable, data: Mapping[Hashable, Any], source: DicomSource, maker: Maker) -> Any:
        mask = data[key]
        values = np.asarray(torch.as_tensor(mask).cpu())[0]
        if source.picture:
            values = values.reshape(values.shape[:2]).T.astype(np.uint8)
        else:
            affine = mask.affine if isinstance(mask, MetaTensor) else data[self.image_key].affine
            values = on_source_grid(values, np.asarray(affine, dtype=np.float64), source)
        return segmentation(values, source, self.names, self.segments, maker, self.kind) if values.any() else None


class SaveDicomReportd(_SaveDicomd):
    """Saves figures as a structured report of TID 1500: ``NAME_sr.dcm``.

    The value of a key is a mapping of figures, as ``NAME_report.json`` has them.

    Args:
        figures: those that are told: ``key``, ``name``, ``unit``, ``factor``, ``label``, ``values`` (``Figure``).
        seg_key: of the path of the segmentation that figures of a label refer to (``pred_dicom`` of SaveDicomSegd).
        label_names: of label values, where there is a segmentation.
        keys, output_dir, bundle, network, checkpoint, image_key, case_key, allow_missing_keys: see SaveDicomSegd.

    Raises:
        ConfigError: a figure without key, of another unit, or with a code that is none.
        UsageError: on call, the source is no DICOM.
    """

    ending = "sr.dcm"

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        figures: Sequence[Mapping[str, Any]],
        seg_key: str | None = None,
        label_names: Mapping[Any, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(keys, output_dir, **more)
        self.figures = figures_of(figures)
        self.seg_key, self.names = seg_key, {int(value): str(name) for value, name in (label_names or {}).items()}

    def made(self, key: Hashable, data: Mapping[Hashable, Any], source: DicomSource, maker: Maker) -> Any:
        seg, held = None, {}
        if self.seg_key is not None and data.get(self.seg_key) is not None:
            seg = hd.seg.segread(data[self.seg_key])
            used = set(seg.segment_numbers)
            held = {value: number for value, number in segment_numbers(self.names).items() if number in used}
        return measurement_report(data[key], self.figures, source, maker, seg, held)


class SaveDicomPreviewd(_SaveDicomd):
    """Saves drawn overlays as secondary captures that say in their pixels that they are for research only:
    ``NAME_preview.dcm``.

    The value of a key is of shape (3, W, H), 0 to 255.

    Args:
        keys, output_dir, bundle, network, checkpoint, image_key, case_key, allow_missing_keys: see SaveDicomSegd.

    Raises:
        UsageError: on call, the source is no DICOM.
    """

    ending = "preview.dcm"

    def made(self, key: Hashable, data: Mapping[Hashable, Any], source: DicomSource, maker: Maker) -> Any:
        pixels = np.asarray(torch.as_tensor(data[key]).cpu()).transpose(2, 1, 0).round().clip(0, 255)
        picture = Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8)))
        return preview(functools.partial(picture.save, format="PNG"), source, maker)
