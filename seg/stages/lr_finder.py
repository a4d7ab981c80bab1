"""The learning-rate range test (Smith 2017, https://arxiv.org/abs/1506.01186): the rate rises each step, and the loss tells where it falls
fastest. Suggesting the place of the steepest descent of the smoothed loss is fastai's rule."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from seg.core.outputs import write_whole
from seg.pictures.sheets import save_figure
from seg.training.settings import LrFinder


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


EARLY = 10
"""Steps at the start that are not judged: the running mean rests on few losses."""


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
