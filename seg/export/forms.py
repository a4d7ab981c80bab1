"""The files that a checkpoint can become: each written, compared with the checkpoint, and scored and timed where that decides."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from seg.core.errors import ConfigError, DataError, DiskFullError
from seg.core.urls import place_of
from seg.data.store import read_info
from seg.export.check import Instances, Pixels, as_batch, compare, random_images, real_images, stored_images
from seg.export.measure import Figure, figure_of, table_of, times_of
from seg.export.settings import ExportSettings
from seg.export.write import NEEDS, Exporter
from seg.loading.dataset import PreparedData
from seg.models.checkpoint import LoadedCheckpoint
from seg.models.hardware import has_fast_bf16
from seg.models.postprocess import NOTHING
from seg.predict.description import Description, Precision
from seg.predict.exported import SUFFIXES, ExportedNetwork, library, open_exported
from seg.tiles.checkpoint import CheckpointNetwork

Format = Literal["onnx", "openvino"]
PRECISIONS: dict[Format, tuple[Precision, ...]] = {"onnx": ("float32", "int8"), "openvino": ("float32", "bfloat16", "int8")}
"""In which each format's files compute."""

ROUNDS, SECONDS = 20, 60.0  # of the times of format=auto
AT_ONCE = 4  # images in a batch while figures are computed


class Form(NamedTuple):
    """A key of PRECISIONS, and one of its values."""

    format: Format
    precision: Precision

    def __str__(self) -> str:
        return " ".join(self)


@dataclass(frozen=True, slots=True)
class Written:
    """A file's network and description, how it differs from the checkpoint on so many batches, and what there is to say of its figure."""

    network: ExportedNetwork
    description: Description
    found: Pixels | Instances
    batches: int
    note: str


class Forms:
    """Of one checkpoint. out: the file to write, without its suffix; files lie beside it until one of them is chosen."""

    def __init__(self, cfg: ExportSettings, path: Path, checkpoint: LoadedCheckpoint, exporter: Exporter, out: Path) -> None:
        self.cfg, self.path, self.checkpoint, self.exporter, self.out = cfg, path, checkpoint, exporter, out
        folder, check = Path(cfg.export.images) if cfg.export.images else None, cfg.export.check
        self.kind, self.images = real_images(folder, place_of(cfg.paths.prepare), checkpoint.data, check.images, check.seed)

    def beside(self, form: Form) -> Path:
        """Where a file lies until it is chosen."""
        return self.out.with_name(f"{self.out.name}.{form.precision}.partial{SUFFIXES[form.format]}")

    def target(self, form: Form) -> Path:
        return self.out.with_name(f"{self.out.name}{SUFFIXES[form.format]}")

    def written(self, form: Form) -> Written:
        """Write a file. InputError where it cannot be, or does not do what the checkpoint does."""
        exporter, model, check, given = self.exporter, self.exporter.model, self.cfg.export.check, self.checkpoint.data
        needed = (*NEEDS[form.format], *(["nncf"] if form == ("openvino", "int8") else []))
        for number, package in enumerate(needed):
            library(package, f"format={form.format}", *needed[number + 1 :])
        if form.precision == "bfloat16" and not has_fast_bf16(torch.device("cpu")):
            raise ConfigError("precision=bfloat16: this processor has no instructions for it; use precision=float32 or int8")
        beside, target = self.beside(form), self.target(form)
        try:
            exporter.write(beside, form.format, form.precision, self._calibration if form.precision == "int8" else ())
        except DiskFullError as error:  # names the file as it will be
            raise DiskFullError(str(error).replace(str(beside), str(target), 1)) from None
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}") from None
        description = exporter.described(form.precision)
        size, seed = description.size, check.seed
        batches = [as_batch(image, size) for image in self.images]
        batches += random_images(given.channels, model.stride, description.minimum, size, seed)
        network = open_exported(beside, "cpu")
        facts = network.facts
        network.facts = replace(facts, postprocess=NOTHING)  # the network alone is compared
        found = compare(model, network, batches, check)
        network.facts, note = facts, ""
        if form.precision == "float32":
            if fault := found.fault(check):
                fix = "try another format, or raise that limit"
                raise DataError(f"{target}: not written, since it does not do what {self.path} does: {fault}; {fix}")
        else:
            note = self._kept(network, target)
        return Written(network, description, found, len(batches), note)

    def fastest(self, made: Mapping[Form, Written], notes: dict[Form, str]) -> Form:
        """The form whose file predicts an image soonest; prints the table of all. notes: of each form, also of those that have no file."""
        size = self.exporter.described("float32").size
        image = as_batch(self.images[0], size)
        networks = {"checkpoint": CheckpointNetwork(self.checkpoint, "cpu", "32-true")} | {str(f): made[f].network for f in made}
        times = times_of(networks, image, ROUNDS, SECONDS)
        height, width = image.shape[-2:]
        print(f"an image of {height}x{width} pixels on this machine, {torch.get_num_threads()} threads, median time:")
        told = {"checkpoint": "PyTorch, float32"} | {str(form): note for form, note in notes.items()}
        print("\n".join(table_of(times, told)))
        return min(made, key=lambda form: sorted(times[str(form)])[len(times[str(form)]) // 2])

    @cached_property
    def _calibration(self) -> list[np.ndarray]:
        """(1, C, H, W) uint8: images of the validation split."""
        folder = self._labelled.prepared / "val"
        images = stored_images(folder, self.cfg.export.calibration, self.checkpoint.data.channels)
        return [as_batch(image, self.exporter.described("int8").size).numpy() for image in images]

    @cached_property
    def _labelled(self) -> PreparedData:
        prepared, trained = place_of(self.cfg.paths.prepare), self.checkpoint.settings
        if not (prepared / "dataset.json").is_file():
            fix = "set paths.prepare to the prepared data of the training, or use precision=float32"
            raise ConfigError(f"{prepared}: there is no prepared data set, whose images show whether a less precise file is as good; {fix}")
        task = trained.task
        data = PreparedData(prepared, AT_ONCE, 0, task.instances, trained.model.window, task.stuff)
        data.refuse_others(self.checkpoint.data)
        return data

    @cached_property
    def _split(self) -> str:
        return "test" if "test" in read_info(self._labelled.prepared).splits else "val"

    @cached_property
    def _wanted(self) -> Figure:
        return self._figure(CheckpointNetwork(self.checkpoint, "cpu", "32-true"))

    def _figure(self, network: CheckpointNetwork | ExportedNetwork) -> Figure:
        return figure_of(network, self._labelled, self._split, self.checkpoint.settings.task, self.cfg.targets.allow)

    def _kept(self, network: ExportedNetwork, target: Path) -> str:
        """What there is to say of a file whose figure is within the interval of the checkpoint's; DataError where it is not."""
        wanted, found = self._wanted, self._figure(network)
        theirs = f"{wanted.value:.4f} ({wanted.low:.4f} to {wanted.high:.4f})"
        said = f"{found.name} {found.value:.4f} on {self._split}; the checkpoint's {theirs}"
        if not found.value >= wanted.low:
            raise DataError(f"{target}: not written, since its figure is outside of the interval of the checkpoint's: {said}; use float32")
        return said
