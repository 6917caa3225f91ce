"""Generated pictures: the losses of a GAN, what is watched while it trains, and pictures that are marked as synthetic"""

from pipelines.generation.diversity import COLLAPSED_BELOW, Diversity, diversity
from pipelines.generation.latents import batch_latents, picture_seeds, seeded_latents
from pipelines.generation.losses import DiscriminatorLoss, GeneratorLoss
from pipelines.generation.real_pictures import about_data, class_number, pictures_of
from pipelines.generation.record import held_out, read_record, record_path
from pipelines.generation.watching import SampleWatch

__all__ = [
    "COLLAPSED_BELOW",
    "DiscriminatorLoss",
    "Diversity",
    "GeneratorLoss",
    "SampleWatch",
    "about_data",
    "batch_latents",
    "class_number",
    "diversity",
    "held_out",
    "picture_seeds",
    "pictures_of",
    "read_record",
    "record_path",
    "seeded_latents",
]
