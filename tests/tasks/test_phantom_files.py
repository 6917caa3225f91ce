from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom

from pipelines.readers import read_case, read_label
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.phantom_files import write_ct_seg_case, write_dicom_case


def test_both_formats_read_back_as_the_phantom(tmp_path: Path) -> None:
    phantom = make_lung_phantom(4, 64, 8, 0.2)
    write_ct_seg_case(tmp_path, "a", phantom)
    write_dicom_case(tmp_path, "a", phantom)
    for path in (tmp_path / "ct_scans" / "a.nii.gz", tmp_path / "series" / "a"):
        image = read_case(path)
        assert image.intensity == "hu"
        assert np.array_equal(image.array, phantom.array)
        assert np.allclose(image.affine, phantom.affine, atol=1e-3)
        assert np.array_equal(read_label(tmp_path / "masks" / "a.nii.gz", image), phantom.label)


def test_series_is_the_same_bytes_again_and_says_that_it_is_a_phantom(tmp_path: Path) -> None:
    phantom = make_lung_phantom(4, 64, 8, 0.2)
    for folder in ("first", "second"):
        write_dicom_case(tmp_path / folder, "a", phantom)
    names = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*.*"))
    assert len(names) == 8 + 1
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    slices = [pydicom.dcmread(p) for p in sorted((tmp_path / "first" / "series" / "a").iterdir())]
    assert len({ds.SOPInstanceUID for ds in slices}) == 8
    assert len({ds.SeriesInstanceUID for ds in slices}) == 1
    assert all(ds.QualityControlImage == "YES" and "hantom" in str(ds.PatientName) for ds in slices)
