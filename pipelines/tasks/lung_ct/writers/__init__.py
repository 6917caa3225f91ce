"""Writers of what is found in lung CT: masks, severity by way of the mask, classes of slices."""

from pipelines.tasks.lung_ct.writers.masks import LungMaskWriter
from pipelines.tasks.lung_ct.writers.severity import SeverityWriter
from pipelines.tasks.lung_ct.writers.slice_classes import SliceClassWriter

__all__ = ["LungMaskWriter", "SeverityWriter", "SliceClassWriter"]
