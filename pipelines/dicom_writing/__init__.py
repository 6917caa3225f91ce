"""Findings as DICOM: segmentations, structured reports and previews that refer to the series they were made of."""

from pipelines.dicom_writing.results import DicomResults
from pipelines.dicom_writing.transforms import SaveDicomPreviewd, SaveDicomReportd, SaveDicomSegd

__all__ = ["DicomResults", "SaveDicomPreviewd", "SaveDicomReportd", "SaveDicomSegd"]
