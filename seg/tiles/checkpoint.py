"""A checkpoint as a network that predicts."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

from seg.core.errors import ConfigError
from seg.data.sample import Prediction
from seg.models.checkpoint import LoadedCheckpoint, restore
from seg.models.hardware import autocast, choose_precision, compile_in_place, device_of, in_parts, set_float32_matmul
from seg.models.postprocess import calibrated
from seg.models.semantic import SemanticModel, predictions_of
from seg.runtime.threads import threads_of
from seg.tiles.network import Facts

T = TypeVar("T")

ADVICE = (
    "set predict.tile to a number of pixels such as 512, predict.precision=bf16-mixed, or predict.accelerator=cpu; for `seg evaluate`, "
    "train with model.window, in whose tiles large images are evaluated, or set runtime.device=cpu"
)
"""What helps where the memory does not suffice for a single image."""
LARGEST = 2**31  # images at once where nothing is known of the memory


def facts_of(checkpoint: LoadedCheckpoint, dense: bool | None = None) -> Facts:
    """Of a checkpoint, whose task may have a name of its own. dense: as in `Facts`."""
    trained, data = checkpoint.settings, checkpoint.data
    task, model = trained.task.kind, trained.model
    classes, post = tuple(data.classes), checkpoint.postprocess
    return Facts(task, classes, data.channels, model.stride, data.range, model.window, dense, post, data.things)


class CheckpointNetwork:
    """A checkpoint's model on a device, in the precision of its training, with its temperature.

    accelerator and precision: as in the configuration's trainer, whose values are taken where they are None. compiled: by torch.compile.
    threads: as in the configuration's runtime, for a CPU; None: as many as torch has by then.
    Where memory runs out, fewer images are on the device at once from then on; ConfigError where a single one does not fit."""

    def __init__(
        self,
        checkpoint: LoadedCheckpoint,
        accelerator: str | None = None,
        precision: str | None = None,
        compiled: bool = False,
        threads: int | str | None = None,
    ) -> None:
        trainer = checkpoint.settings.trainer
        self.device = device_of(accelerator or trainer.accelerator)
        self.precision = choose_precision(precision or trainer.precision, self.device)
        self.model = restore(checkpoint).to(self.device)
        set_float32_matmul(trainer.float32_matmul, self.device)
        if trainer.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        if compiled:
            compile_in_place(self.model.body, "predict.compile")
        self.at_once = LARGEST
        self.threads = threads_of(threads) if threads is not None and self.device.type == "cpu" else None
        self.facts = facts_of(checkpoint, isinstance(self.model, SemanticModel))
        self.temperature = checkpoint.postprocess.temperature
        self._task = checkpoint.settings.task.name

    def logits(self, images: Tensor) -> Tensor:
        if not isinstance(self.model, SemanticModel):
            what = f"the task {self._task}: its model, {type(self.model).__name__}, gives no scores of every class, which probabilities"
            raise ConfigError(f"{what}, views, tiles and several models need; leave these out")
        with torch.inference_mode(), autocast(self.precision, self.device):
            parts = list(self._parts(images, self.model.full_logits))
            logits = parts[0] if len(parts) == 1 else torch.cat(parts)
            return logits if self.temperature == 1 else logits / self.temperature

    def predict(self, images: Tensor) -> list[Prediction]:
        if self.temperature != 1 and isinstance(self.model, SemanticModel):
            return predictions_of(self.logits(images))
        with autocast(self.precision, self.device):
            found = chain.from_iterable(self._parts(images, self.model.predict))
            return [calibrated(prediction, self.temperature) for prediction in found]

    def _parts(self, images: Tensor, answer: Callable[[Tensor], T]) -> Iterator[T]:
        def halved(tried: int, problem: str) -> int:
            if tried == 1:
                raise ConfigError(f"out of memory with a single image at once ({problem}); {ADVICE}")
            self.at_once = tried // 2
            print(f"out of memory: {self.at_once} images at once from now on, not {tried} ({problem})", flush=True)
            return self.at_once

        def timed(part: Tensor) -> T:
            with self.threads.timed(part.numel()) if self.threads else nullcontext():
                return answer(part)

        return in_parts(images, self.device, self.at_once, timed, halved)

    def attention_maps(self, images: Tensor) -> dict[str, Tensor]:
        """As `seg.models.base.SegmentationModel.attention_maps`; empty for images larger than the window, which are not seen whole."""
        size = (images.shape[-2], images.shape[-1])
        if self.model.seen_at_once(size) != size:
            return {}
        with autocast(self.precision, self.device):
            return self.model.attention_maps(images.to(self.device))
