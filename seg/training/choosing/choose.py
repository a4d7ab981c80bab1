"""After a training: which temperature, score threshold and operations on objects help on validation images, beyond chance."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from seg.core.environment import in_first_process
from seg.core.urls import place_of
from seg.data.labelmaps import merged, together
from seg.data.sample import IGNORE, Prediction
from seg.loading.batch import Batch
from seg.loading.dataset import PreparedData, RankPlacement
from seg.metrics.base import Metrics, metrics_of
from seg.metrics.instance import InstanceMetrics, resampled_counts
from seg.models.base import SegmentationModel
from seg.models.hardware import autocast
from seg.models.postprocess import NEIGHBOURS, NO_CHOICE, NOTHING, Choice, Compared, Postprocess, calibrated, has_background
from seg.models.semantic import SemanticModel, predictions_of
from seg.tiles.network import SCORE
from seg.training.choosing.temperature import Figure, compared, of_pixels, of_scores, sampled
from seg.training.loading.datamodule import SegmentationData
from seg.training.settings import TrainingSettings
from seg.training.step.limits import Limited, Limits, predict

IMAGES = 500  # images that are looked at, spread over the split where it has more
MOST_PIXELS = 100_000_000  # of the images that a choice is made by, which are in memory together
LEVEL = 0.95
"""Of the intervals of all changes together: each one's is wider, so that chance takes a change of a useless list once in 20 times
(Bonferroni)."""
SMALLEST, SHARES = 0.02, (0.1, 0.25, 0.5, 1.0)
"""The quantile of the true objects' areas, and the shares of it below which predicted objects may be removed."""
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9)  # of scores, beside the 0.5 that counts without a choice
Answer = Callable[[Tensor], tuple[list[Prediction], Tensor | None, tuple[int, int]]]
"""Images (B, C, H, W) uint8 -> their predictions; of class maps also logits (B, K, h, w), and the (top, left) of their first pixel."""
Seen = Sequence[tuple[Batch, Sequence[Prediction]]]


@dataclass(frozen=True, slots=True)
class Chosen:
    postprocess: Postprocess = NOTHING
    choice: Choice = NO_CHOICE


Choose = Callable[[dict[str, Tensor]], Chosen]  # the weights of a model -> what is chosen for it


def choose(
    batches: Iterable[Batch],
    answer: Answer,
    make_metrics: Callable[[float], Metrics],
    class_names: Sequence[str],
    monitor: str,
    start: float,
    things: Sequence[int] | None = None,
) -> Chosen:
    """Predict the images once, and try each change on these predictions.

    make_metrics: fresh figures with a score threshold. monitor: the figure of class maps; of instances it is pq, which thresholds change.
    start: the score threshold without a choice. things: of segments, as `seg.models.base` has them; thresholds are theirs."""
    seen: list[tuple[Batch, Sequence[Prediction]]] = []
    samples: list[tuple[np.ndarray, np.ndarray]] = []
    pixels = 0
    for batch in batches:
        predictions, logits, (top, left) = answer(batch.images)
        for index in range(len(batch)) if logits is not None else ():
            assert logits is not None
            height, width = (min(a, b) for a, b in zip(logits.shape[-2:], batch.sizes[index], strict=True))
            labels = batch.semantic[index, top : top + height, left : left + width].cpu().numpy()
            samples.append(sampled(logits[index, :, :height, :width].float().cpu().numpy(), labels, labels != IGNORE, len(samples)))
        pixels += batch.images[:, 0].numel()
        seen.append((replace(batch, images=batch.images[:, :, :1, :1].clone()), predictions))
        if pixels > MOST_PIXELS:
            break
    if not seen:
        return Chosen()
    images = sum(len(batch) for batch, _ in seen)
    metrics = make_metrics(start)
    if isinstance(metrics, InstanceMetrics):
        for batch, found in seen:
            metrics.update(batch, found)
        calibration = of_scores(list(metrics.images.values()), metrics.scored, metrics.max_detections)
    else:
        calibration = of_pixels(samples)
    temperature = calibration.temperature if calibration else 1.0
    trial = _Trial(seen, make_metrics, class_names, monitor, start, temperature, things)
    post, tried = _greedy(trial, candidates(seen, class_names))
    told = (calibration.likelihood, calibration.errors) if calibration else (None, None)
    return Chosen(post, Choice(images, tuple(tried), *told))


def candidates(seen: Seen, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Values of `Postprocess` that may be set: thresholds of scores, and operations on objects where there are objects."""
    instances = seen[0][1][0].semantic is None
    if not instances and not has_background(class_names):
        return []
    areas = np.sort(np.concatenate([_areas(batch, instances, len(class_names)) for batch, _ in seen]))
    least = sorted({int(share * np.quantile(areas, SMALLEST)) for share in SHARES} - {0, 1}) if len(areas) else []
    found: list[dict[str, Any]] = [{"least_area": area} for area in least] + [{"fill_holes": True}]
    objects = tuple(range(int(has_background(class_names)), len(class_names)))
    if instances:
        return found + [{"largest": objects}] + [{"score_threshold": threshold} for threshold in THRESHOLDS]
    single = [(index,) for index in objects]
    return found + [{"largest": which} for which in (single if len(single) < 2 else [*single, objects])]


def _areas(batch: Batch, instances: bool, num_classes: int) -> np.ndarray:
    """Pixels of each true object of a batch."""
    found: list[np.ndarray] = [np.zeros(0, np.int64)]
    for index in range(len(batch)):
        if instances:
            ids = batch.instances[index].cpu().numpy()
            counts = np.bincount(ids[ids > 0].ravel(), minlength=len(batch.crowd[index]) + 1)[1:]
            found.append(counts[(counts > 0) & ~batch.crowd[index].cpu().numpy()])
            continue
        labels = batch.semantic[index].cpu().numpy()
        for value in range(1, num_classes):
            if (mask := labels == value).any():
                found.append(np.bincount(ndimage.label(mask, NEIGHBOURS)[0].ravel())[1:])
    return np.concatenate(found)


@dataclass(slots=True)
class _Trial:
    """Figures of the same predictions after one or the other postprocessing."""

    seen: Seen
    make_metrics: Callable[[float], Metrics]
    class_names: Sequence[str]
    monitor: str
    start: float
    temperature: float
    things: Sequence[int] | None

    @property
    def figure(self) -> str:
        return "pq" if self.seen[0][1][0].semantic is None else self.monitor

    @property
    def num_images(self) -> int:
        return sum(len(batch) for batch, _ in self.seen)

    def of(self, post: Postprocess) -> Figure:
        threshold = self.start if post.score_threshold is None else post.score_threshold
        metrics = self.make_metrics(threshold if self.things is None else min(self.start, threshold))
        background = has_background(self.class_names)
        for batch, predictions in self.seen:
            found = [calibrated(p, self.temperature) for p in predictions]
            found = found if self.things is None else [merged(p, self.things, threshold) for p in found]
            metrics.update(batch, [post.applied(p, background) for p in found])
        ids = [image_id for batch, _ in self.seen for image_id in batch.image_ids]
        if isinstance(metrics, InstanceMetrics):
            tallies = [metrics.image_tallies[image_id] for image_id in ids]
            return lambda weights: resampled_counts(tallies, list(metrics.names), weights)["pq"]
        return lambda weights: metrics.resampled(ids, weights)[self.monitor]


def _greedy(trial: _Trial, changes: list[dict[str, Any]]) -> tuple[Postprocess, list[Compared]]:
    """The best change of all that help, then the best of those that help beyond it, until none does."""
    post, tried = Postprocess(temperature=trial.temperature), list[Compared]()
    if not changes:
        return post, tried
    before, level = trial.of(post), 1 - (1 - LEVEL) / len(changes)
    while changes:
        after = [trial.of(replace(post, **change)) for change in changes]
        told = [shorten(Postprocess(**c).described(trial.class_names)[0], 300, placeholder=" ...") for c in changes]  # of many classes
        rows = [compared(t, trial.figure, before, figure, trial.num_images, level) for t, figure in zip(told, after, strict=True)]
        helping = [place for place, row in enumerate(rows) if row.taken]
        best = max(helping, key=lambda place: rows[place].after, default=None)
        tried += [replace(row, taken=place == best) for place, row in enumerate(rows)]
        if best is None:
            break
        post, before = replace(post, **changes[best]), after[best]
        changes = [change for place, change in enumerate(changes) if place in helping and change.keys() != changes[best].keys()]
    return post, tried


def chooser(
    cfg: TrainingSettings, data: SegmentationData, model: SegmentationModel | None, limits: Limits, device: torch.device, precision: str
) -> Choose:
    """model: whose weights are no longer needed; None where each rank holds a part of it: nothing is chosen then, as a line says."""
    if not (cfg.trainer.postprocess and in_first_process()):
        return lambda _: Chosen()
    if model is None:
        print("trainer.strategy=fsdp: nothing is chosen on validation (trainer.postprocess), since no rank holds the whole network")
        return lambda _: Chosen()

    def of(state: dict[str, Tensor]) -> Chosen:
        model.load_state_dict(state)
        model.to(device).eval()
        with torch.inference_mode(), autocast(precision, device):
            return choose(
                _batches(cfg, device),
                lambda images: _answer(model, images, limits, device),
                lambda threshold: metrics_of(cfg.task, cfg.targets.allow, data.info, score_threshold=threshold),
                [c.name for c in data.info.classes],
                cfg.task.monitor,
                SCORE,
                model.things,
            )

    return of


def _batches(cfg: TrainingSettings, device: torch.device) -> Iterator[Batch]:
    prepared = PreparedData(place_of(cfg.paths.prepare), 1, cfg.runtime.workers, cfg.task.instances, cfg.model.window, cfg.task.stuff)
    dataset = prepared.split_dataset("val")
    step = -(-len(dataset.rows) // IMAGES)
    dataset.rows = dataset.rows[::step]
    yield from prepared.stored(dataset, RankPlacement(on_gpu=device.type == "cuda"))


def _answer(
    model: SegmentationModel, images: Tensor, limits: Limits, device: torch.device
) -> tuple[list[Prediction], Tensor | None, tuple[int, int]]:
    """See `seg.training.choosing.choose.Answer`. Of images larger than the model's window, the logits of a window in the middle."""
    limited, size = Limited(model, limits, device), (images.shape[-2], images.shape[-1])
    if model.things is not None:
        kept, found = model.thing_score, []
        for model.thing_score in (0.0, 2.0):  # things of any score, and the stuff beneath: `merged` makes of both what a threshold leaves
            found.append(predict(model, images, limits, device))
        model.thing_score = kept
        return [together(*pair) for pair in zip(*found, strict=True)], None, (0, 0)
    if not isinstance(model, SemanticModel):
        return predict(model, images, limits, device), None, (0, 0)
    height, width = model.seen_at_once(size)
    if (height, width) == size:
        logits = limited.logits(images)
        return predictions_of(logits), logits, (0, 0)
    top, left = max(0, (size[0] - height) // 2), max(0, (size[1] - width) // 2)
    return predict(model, images, limits, device), limited.logits(images[..., top : top + height, left : left + width]), (top, left)
