"""Dictionary transforms of lung CT: values into the lung window, the chest's frame, what lies in no lung, severity."""

from pipelines.tasks.lung_ct.transforms.augmentation import RandEqualizeContrastd, RandWindowd
from pipelines.tasks.lung_ct.transforms.chest import select_chest
from pipelines.tasks.lung_ct.transforms.lungs_only import LungsOnlyd
from pipelines.tasks.lung_ct.transforms.members import CountMembersd, SplitMembersd
from pipelines.tasks.lung_ct.transforms.scaling import ScaleCTd
from pipelines.tasks.lung_ct.transforms.severity import SeverityLabeld
from pipelines.tasks.lung_ct.transforms.stray import RemoveStrayLabelsd

__all__ = [
    "CountMembersd",
    "LungsOnlyd",
    "RandEqualizeContrastd",
    "RandWindowd",
    "RemoveStrayLabelsd",
    "ScaleCTd",
    "SeverityLabeld",
    "SplitMembersd",
    "select_chest",
]
