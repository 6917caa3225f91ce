"""Dictionary transforms of lung CT: values into the lung window, the frame of the chest, stray labels, severity."""

from pipelines.tasks.lung_ct.transforms.augmentation import RandEqualizeContrastd, RandWindowd
from pipelines.tasks.lung_ct.transforms.chest import select_chest
from pipelines.tasks.lung_ct.transforms.members import CountMembersd, SplitMembersd
from pipelines.tasks.lung_ct.transforms.scaling import ScaleCTd
from pipelines.tasks.lung_ct.transforms.severity import SeverityLabeld
from pipelines.tasks.lung_ct.transforms.stray import RemoveStrayLabelsd

__all__ = [
    "CountMembersd",
    "RandEqualizeContrastd",
    "RandWindowd",
    "RemoveStrayLabelsd",
    "ScaleCTd",
    "SeverityLabeld",
    "SplitMembersd",
    "select_chest",
]
