"""Slices compressed in place, by pydicom's encoders and, where it has none, by gdcm's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest


def compress(path: Path, syntax: str, **options: Any) -> None:
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False, **options)
    dataset.save_as(path)


def compress_by_gdcm(path: Path) -> None:
    """JPEG lossless, the commonest of hospitals, which pydicom cannot write."""
    gdcm = pytest.importorskip("gdcm")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
