from .compressing import compress as compress
from .distillation import DistillationLoss as DistillationLoss
from .plan import DEFAULT_STEPS as DEFAULT_STEPS
from .plan import STEPS as STEPS
from .plan import Compression as Compression
