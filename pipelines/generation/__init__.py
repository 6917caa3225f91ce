"""Generated pictures: a GAN's losses, what is watched while it trains, and samples that are marked as synthetic"""

from pipelines.generation.diversity import COLLAPSED_BELOW, Diversity, diversity
from pipelines.generation.latents import batch_latents, picture_seeds, seeded_latents
from pipelines.generation.losses import DiscriminatorLoss, GeneratorLoss
from pipelines.generation.neighbours import memorisation, neighbour_picture, report_neighbours
from pipelines.generation.pictures import Samples, generate, generate_classes, load_generator, write_samples
from pipelines.generation.real_pictures import about_data, class_number, pictures_of
from pipelines.generation.record import read_record, record_path
from pipelines.generation.watching import SampleWatch
from pipelines.generation.writer import SyntheticWriter, latent_items

__all__ = [
    "COLLAPSED_BELOW",
    "DiscriminatorLoss",
    "Diversity",
    "GeneratorLoss",
    "SampleWatch",
    "Samples",
    "SyntheticWriter",
    "about_data",
    "batch_latents",
    "class_number",
    "diversity",
    "generate",
    "generate_classes",
    "latent_items",
    "load_generator",
    "memorisation",
    "neighbour_picture",
    "picture_seeds",
    "pictures_of",
    "read_record",
    "record_path",
    "report_neighbours",
    "seeded_latents",
    "write_samples",
]
