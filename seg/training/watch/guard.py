"""Ends a training whose loss has diverged, with one line and the batch that did it, as files to look at."""

import json
import math
import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from seg.core.errors import InputError
from seg.core.outputs import replaced_folder
from seg.data.imagefile import encode_png
from seg.data.sample import ClassInfo
from seg.data.store import DatasetInfo
from seg.loading.batch import Batch
from seg.models.checkpoint import Checkpoint, save
from seg.pictures.draw import colorize, rgb
from seg.runtime.settings import Divergence
from seg.settings.section import Params
from seg.training.resume.history import rates_of

TRY = "try a lower optimizer.lr (auto: the plan chooses it), trainer.precision=32-true, a trainer.gradient_clip; look at the batch's labels"
Rates = dict[str, float]
FEW = 10  # losses that a median needs
WEIGHTS = "weights.ckpt"


class Guard(Callback):
    """Looks at the loss of every step: on one CPU before the step is taken, else every `every` steps and at each epoch's end, which is the
    only time that it waits for the device. Changes nothing in a training that does not diverge.

    folder: of the batch, `bad_batch` in it. config, data: what weights.ckpt holds beside the weights. A loss that is not finite counts,
    gradients that are not do not: the scaler of 16-mixed skips such steps by itself."""

    def __init__(self, settings: Divergence, folder: Path, config: Params, data: DatasetInfo) -> None:
        self.settings, self.folder, self.config, self.data = settings, folder, config, data
        self.watch = LossWatch(settings)
        self.steps: list[tuple[int, Rates, Tensor]] = []  # (place in the epoch, rates, losses on the device) since the last look
        self.rates: Rates = {}  # of the latest step
        self.state: dict[str, Tensor] = {}
        self.state_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.at_once = trainer.strategy.root_device.type == "cpu" and trainer.world_size == 1

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Keep what the step is going to change: on one CPU the buffers, as it is stopped before it changes the weights; else all."""
        if self.at_once or not self.steps:
            changing = pl_module.model.named_buffers() if self.at_once else pl_module.model.state_dict().items()
            self.state = {name: cpu_copy(value, self.state.get(name)) for name, value in changing}
            self.state_step = trainer.global_step

    def on_before_backward(self, trainer: pl.Trainer, pl_module: Any, loss: Tensor) -> None:
        if self.at_once and not math.isfinite(value := float(loss.detach())):
            place, rates = trainer.fit_loop.epoch_loop.batch_idx, rates_of(trainer.optimizers[0])
            self._stop(trainer, pl_module, place, rates, pl_module.last_losses, f"is {value}")

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        self.rates = rates_of(optimizer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.at_once:
            self.state.clear()  # the step is taken
        self.steps.append((batch_idx, self.rates, torch.stack([value.float() for value in pl_module.last_losses.values()])))
        if self.at_once or len(self.steps) >= self.settings.every or trainer.is_last_batch:
            self._look(trainer, pl_module)

    def _look(self, trainer: pl.Trainer, pl_module: Any) -> None:
        values = torch.stack([losses for *_, losses in self.steps]).tolist()
        verdict = self.watch.look([losses[0] for losses in values])
        if verdict is None and trainer.is_last_batch and not _finite(pl_module.model):
            verdict = len(values) - 1, "was finite, but its gradient was not: the weights no longer are"
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(verdict is not None, all=False) and verdict is None:
            trainer.strategy.barrier()
            raise InputError("another device's training stopped, and this one with it")
        if verdict:
            index, reason = verdict
            place, rates, _ = self.steps[index]
            self._stop(trainer, pl_module, place, rates, dict(zip(pl_module.last_losses, values[index], strict=True)), reason)
        self.steps.clear()

    def _stop(self, trainer: pl.Trainer, pl_module: Any, place: int, rates: Rates, losses: dict[str, Any], reason: str) -> None:
        terms = {name: float(value) for name, value in losses.items()}
        epoch, step = trainer.current_epoch + 1, place + 1
        told = {k: v if math.isfinite(v) else str(v) for k, v in terms.items()}  # JSON has no word for infinities and NaN
        facts = {"epoch": epoch, "step": step, "reason": f"the loss {reason}", "losses": told, "lr": rates}
        facts |= {"weights_after_steps": self.state_step if self.state else trainer.global_step, "precision": str(trainer.precision)}
        folder = self.folder / ("bad_batch" if trainer.global_rank == 0 else f"bad_batch_rank{trainer.global_rank}")
        self._save(trainer, pl_module, folder, place, facts)
        if trainer.world_size > 1:
            trainer.strategy.barrier()
        shown = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        last = self.folder / "last.ckpt"
        kept = f"; {last} is the last checkpoint before it" if last.exists() else ""
        rate = ", ".join(f"{name} {value:.3g}" for name, value in rates.items())
        problem = f"epoch {epoch}, step {step}/{trainer.num_training_batches}: the loss {reason} ({shown}; {rate}); {TRY}, which {folder}"
        raise InputError(f"{problem} holds{kept}")

    def _save(self, trainer: pl.Trainer, pl_module: Any, folder: Path, place: int, facts: dict[str, Any]) -> None:
        """The batch is drawn again: what is drawn depends on seed, epoch and image alone."""
        loader: Any = trainer.train_dataloader
        keys = list(loader.batch_sampler.whole_epoch())[place]
        batch = loader.collate_fn([loader.dataset[key] for key in keys]).to("cpu")
        now = {name: value.detach().cpu() for name, value in pl_module.model.state_dict().items()}
        before = {name: value for name, value in self.state.items() if name in now}
        weights = Checkpoint(now | before, self.config, self.data, facts["epoch"], {})
        save_bad_batch(folder, batch, keys, facts, self.data.classes, weights)


def _finite(model: torch.nn.Module) -> bool:
    return bool(torch.stack([p.detach().isfinite().all() for p in model.parameters()]).all())


class LossWatch:
    """Looks at losses in their order.

    A loss is high if it exceeds `factor` times the reference: the running median of the last `window` losses that were not high, or the
    median of the run's first `window` ones, whichever is larger. So a loss that had come down to almost nothing may rise to where it
    began. `steps` high losses in a row are a divergence; a single spike is none. A loss that is not finite is one at once."""

    def __init__(self, settings: Divergence) -> None:
        self.settings = settings
        self.recent: deque[float] = deque(maxlen=settings.window)
        self.first: list[float] = []
        self.high = 0

    def look(self, losses: Sequence[float]) -> tuple[int, str] | None:
        """The first divergence among the next losses: the place of the loss, and what is wrong with it; None where there is none."""
        for index, loss in enumerate(losses):
            if not math.isfinite(loss):
                return index, f"is {loss}"
            reference = self.reference()
            self.high = self.high + 1 if reference > 0 and loss > self.settings.factor * reference else 0
            if self.high >= self.settings.steps:
                times = f"{self.settings.factor:g} times its running median of {reference:.3g}"
                return index, f"is {loss:.3g}, for {self.high} steps more than {times}"
            if not self.high:
                self.recent.append(loss)
                if len(self.first) < self.settings.window:
                    self.first.append(loss)
        return None

    def reference(self) -> float:
        """What a loss is compared with; 0 before the first few, by which nothing is judged."""
        if len(self.recent) < min(self.settings.window, FEW):
            return 0.0
        return max(median(self.recent), median(self.first))


def save_bad_batch(
    folder: Path, batch: Batch, keys: Sequence[Sequence[int]], facts: dict[str, Any], classes: Sequence[ClassInfo], weights: Checkpoint
) -> None:
    """Write the folder, which is replaced: batch.json, weights.ckpt, and for each image, padded as the network saw it,

    <n>_image.png (RGB), <n>_labels.png (class indices, 255 = ignore), <n>_colors.png, <n>_image.npy (H, W, C) where it has neither one
    channel nor three, and <n>_instances.npy (H, W, L) int32 where it has instances. keys: (index, seed) of each image."""
    if folder.exists():
        shutil.rmtree(folder)
    with replaced_folder(folder, ()) as partial:
        images = batch.images.permute(0, 2, 3, 1).cpu().numpy()
        rows = []
        for n, (image_id, image, labels) in enumerate(zip(batch.image_ids, images, batch.semantic.cpu().numpy(), strict=True)):
            index, seed = keys[n]
            instances = batch.instances[n].cpu().numpy()
            (partial / f"{n}_image.png").write_bytes(encode_png(rgb(image)))
            (partial / f"{n}_labels.png").write_bytes(encode_png(labels))
            (partial / f"{n}_colors.png").write_bytes(encode_png(colorize(labels, classes)))
            if image.shape[2] not in (1, 3):
                np.save(partial / f"{n}_image.npy", image)
            if instances.size:
                np.save(partial / f"{n}_instances.npy", instances)
            row = {"n": n, "image": image_id, "index": index, "seed": seed, "size": list(batch.sizes[n])}
            counts = np.bincount(labels.ravel(), minlength=256)
            names = {i: c.name for i, c in enumerate(classes)} | {255: "ignored"}
            row["pixels"] = {names.get(i, str(i)): int(counts[i]) for i in np.flatnonzero(counts).tolist()}
            rows.append(row | {"instances": len(batch.categories[n])})
        (partial / "batch.json").write_text(json.dumps(facts | {"images": rows}, indent=1) + "\n", encoding="utf-8")
        save(partial / WEIGHTS, weights)


def cpu_copy(tensor: torch.Tensor, into: torch.Tensor | None = None) -> torch.Tensor:
    """The tensor's values in the host's memory, on CUDA in page-locked memory and without waiting for them; `into` is reused."""
    if into is None:
        into = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
    return into.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
