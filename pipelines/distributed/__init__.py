"""``predict`` on a Ray cluster: a model a worker, each case done once, also where a worker is killed."""

from pipelines.distributed.cluster import check_address
from pipelines.distributed.job import RayJob

__all__ = ["RayJob", "check_address"]
