"""`lr`: the training's start, repeated with a learning rate that rises each step -> a suggestion for optimizer.lr, lr.png and lr.csv.

The learning-rate range test (Smith 2017, https://arxiv.org/abs/1506.01186): the loss tells at which rate it falls fastest. Suggesting the
place of the steepest descent of the smoothed loss is fastai's rule.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from matplotlib.figure import Figure

from seg.core.environment import keep_freed_memory
from seg.core.errors import ConfigError, InputError
from seg.core.outputs import write_whole
from seg.loading.batch import Batch
from seg.loading.dataset import RankPlacement, auto_workers
from seg.models.finetune import check_finetune
from seg.models.hardware import choose_precision, device_of
from seg.pictures.sheets import save_figure
from seg.runtime.progress import track
from seg.runtime.threads import threads_of
from seg.stages.train import load_data
from seg.training.loading.datamodule import SegmentationData, TrainingBatches
from seg.training.module import build_module, check_network, make_limits, make_model
from seg.training.settings import LrFinder, TrainingSettings
from seg.training.step.limits import check_batch_sizes
from seg.training.step.step import named_losses
from seg.training.trainer import quiet


class Settings(TrainingSettings):
    lr_finder: LrFinder


def run(cfg: Settings, out: Path) -> float:
    """Returns the suggested rate; InputError where the loss falls at none."""
    quiet()
    keep_freed_memory()
    if cfg.lr_finder.start >= cfg.lr_finder.end:
        raise ConfigError(f"lr_finder.start={cfg.lr_finder.start:g}: expected less than lr_finder.end={cfg.lr_finder.end:g}")
    check_batch_sizes(cfg.trainer)
    check_finetune(cfg.finetune, cfg.model.weights, cfg.trainer.max_epochs)
    data = load_data(cfg)
    device = device_of(cfg.trainer.accelerator)
    if data.workers == "auto":
        data.workers = auto_workers(RankPlacement(on_gpu=device.type == "cuda"))
    curve = range_test(counted(training_step(cfg, data, device), cfg), cfg.lr_finder)
    if len(curve.rates) < cfg.lr_finder.steps:
        print(f"ended at lr {curve.rates[-1]:.3g}, where the loss exploded" if curve.rates else "the first loss was not finite")
    best = suggestion(curve)
    out.mkdir(parents=True, exist_ok=True)
    if curve.rates:
        write_curve(out, curve, best)
    if best is None:
        fix = "set lr_finder.start lower or lr_finder.steps higher, or look for a mistake in labels and loss: seg train trainer=overfit"
        raise InputError(f"the loss falls at no rate from {cfg.lr_finder.start:g} to {cfg.lr_finder.end:g}; {fix}")
    rate = float(f"{curve.rates[best]:.2g}")
    print(f"the loss falls fastest at, and it is suggested: optimizer.lr={rate:g}")
    print(f"see {out / 'lr.png'}; the loss is lowest at {curve.rates[curve.smoothed.index(min(curve.smoothed))]:.2g}, which is too high")
    return rate


def counted(step: Callable[[float], float], cfg: Settings) -> Callable[[float], float]:
    """The same function, with progress on the console, and the number of threads chosen by its times."""
    shown = iter(track(iter(int, 1), cfg.lr_finder.steps, "steps", cfg.runtime.progress))
    threads = threads_of(cfg.runtime.threads, "step")

    def taken(rate: float) -> float:
        next(shown)
        with threads.timed(1.0):
            return step(rate)

    return taken


def training_step(cfg: Settings, data: SegmentationData, device: torch.device) -> Callable[[float], float]:
    """(rate) -> the loss of the next training batch, after which the step is taken; as `train` does in its first epoch, on one device.

    Groups keep their share of the rate. Nothing of it outlives the function.
    """
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
    fabric = Fabric(accelerator=device.type, devices=1, precision=choose_precision(cfg.trainer.precision, device))  # type: ignore[arg-type]
    torch.manual_seed(cfg.seed)
    model = make_model(cfg, data)
    limits = make_limits(cfg, data)
    check_network(model, data, 1, limits.training)
    module = build_module(cfg, data, model, limits, choose_precision(cfg.trainer.precision, device))
    optimizer = module.make_optimizer(module.plan.groups)
    if any("lr" not in group for group in optimizer.param_groups):
        raise ConfigError(f"optimizer={cfg.optimizer.name}: has no learning rate to be found")
    wrapped, stepped = fabric.setup(model, optimizer)
    module.plan.start_epoch(model, 0)
    batches = endless(data)

    def step(rate: float) -> float:
        for group, part in zip(optimizer.param_groups, module.plan.groups, strict=True):
            group["lr"] = rate * part.lr_share
        batch, value = next(batches), 0.0
        optimizer.zero_grad()
        for images in batch.split(limits.training or len(batch)):
            share = len(images) / len(batch)
            with fabric.autocast():
                loss = named_losses(model, images.to(device))["loss"] * share
            value += float(loss.detach())
            fabric.backward(loss, model=wrapped)
        if cfg.trainer.gradient_clip:
            fabric.clip_gradients(wrapped, stepped, max_norm=cfg.trainer.gradient_clip, error_if_nonfinite=False)
        stepped.step()
        return value

    return step


def endless(data: SegmentationData) -> Iterator[Batch]:
    """The batches of one epoch after another."""
    loader = data.train_dataloader()
    sampler = loader.batch_sampler
    assert isinstance(sampler, TrainingBatches)
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


@dataclass(frozen=True, slots=True)
class Curve:
    """rates, losses, smoothed: of each step."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]


def rates_between(start: float, end: float, steps: int) -> list[float]:
    """`steps` rates from start to end, each in the same proportion to the one before."""
    return [start * (end / start) ** (i / (steps - 1)) for i in range(steps)]


def range_test(step: Callable[[float], float], settings: LrFinder) -> Curve:
    """step: takes a training step with the given rate -> the loss before it. Ends early where the loss explodes."""
    curve = Curve([], [], [])
    mean, lowest = 0.0, math.inf
    for count, rate in enumerate(rates_between(settings.start, settings.end, settings.steps), start=1):
        loss = step(rate)
        if not math.isfinite(loss):
            break
        mean = settings.smoothing * mean + (1 - settings.smoothing) * loss
        smoothed = mean / (1 - settings.smoothing**count)
        curve.rates.append(rate)
        curve.losses.append(loss)
        curve.smoothed.append(smoothed)
        lowest = min(lowest, smoothed)
        if count > EARLY and smoothed > settings.stop * lowest:
            break
    return curve


EARLY = 10  # steps at the start that are not judged: the running mean rests on few losses


def suggestion(curve: Curve) -> int | None:
    """The step at whose rate the smoothed loss falls fastest, per factor in the rate; None where it falls nowhere.

    Between the steps that are not judged and the lowest smoothed loss, beyond which it rises.
    """
    smoothed, logs = np.array(curve.smoothed), np.log(curve.rates)
    end = int(smoothed[EARLY:].argmin()) + EARLY + 1 if len(smoothed) > EARLY else 0
    if end - EARLY < 3:
        return None
    slopes = np.gradient(smoothed[EARLY:end], logs[EARLY:end])
    steepest = int(slopes.argmin())
    return EARLY + steepest if slopes[steepest] < 0 else None


def write_curve(folder: Path, curve: Curve, best: int | None) -> None:
    """lr.csv (a row a step) and lr.png."""
    rows = ([f"{v:.6g}" for v in row] for row in zip(curve.rates, curve.losses, curve.smoothed, strict=True))
    write_whole(folder / "lr.csv", "".join(f"{','.join(row)}\n" for row in (["lr", "loss", "smoothed"], *rows)))
    figure = Figure(figsize=(7, 4.2))
    axis = figure.subplots()
    axis.plot(curve.rates, curve.losses, color="0.75", linewidth=1, label="loss of each step")
    axis.plot(curve.rates, curve.smoothed, color="#0072b2", linewidth=2, label="smoothed")
    if best is not None:
        axis.axvline(curve.rates[best], color="#d55e00", linewidth=1, linestyle="--")
        axis.plot(curve.rates[best], curve.smoothed[best], "o", color="#d55e00", label=f"steepest descent: {curve.rates[best]:.2g}")
    low, high = min(curve.losses), max(curve.smoothed[: EARLY + 1])
    axis.set_ylim(low - 0.1 * (high - low) - 1e-9, high + 0.5 * (high - low) + 1e-9)  # not the whole explosion
    axis.set_xscale("log")
    axis.set_xlabel("optimizer.lr")
    axis.set_ylabel("training loss")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.tight_layout()
    save_figure(figure, folder / "lr.png")
