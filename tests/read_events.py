"""What is in an event folder, as TensorBoard reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ALL = dict.fromkeys(("scalars", "images", "histograms", "tensors"), 0)


class Events:
    """The events of one folder.

    Attributes:
        scalars: by tag, (step, value) in the order of the file. images, histograms, curves, texts: by tag, the steps.
        graph: whether there is one.
    """

    def __init__(self, folder: Path) -> None:
        read = EventAccumulator(str(folder), size_guidance=ALL)
        read.Reload()
        tags: Mapping[str, Any] = read.Tags()
        self.scalars = {tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in tags["scalars"]}
        self.images = {tag: [each.step for each in read.Images(tag)] for tag in tags["images"]}
        self.pixels = {tag: read.Images(tag)[-1].encoded_image_string for tag in tags["images"]}
        self.histograms = {tag: [each.step for each in read.Histograms(tag)] for tag in tags["histograms"]}
        plugin = {tag: about.plugin_data.plugin_name for tag, about in read.summary_metadata.items()}
        tensors = {tag: [each.step for each in read.Tensors(tag)] for tag in tags["tensors"]}
        self.curves = {tag: steps for tag, steps in tensors.items() if plugin[tag] == "pr_curves"}
        self.texts = {
            tag: read.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in tensors if plugin[tag] == "text"
        }
        self.hparams = [tag for tag, name in plugin.items() if name == "hparams"]
        self.graph = bool(tags["graph"])

    def steps(self, tag: str) -> list[int]:
        return [step for step, _ in self.scalars[tag]]
