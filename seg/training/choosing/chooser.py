"""What a finished training chooses on its validation images, by the model as it is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from seg.core.environment import in_first_process
from seg.data.sample import Prediction
from seg.loading.batch import Batch
from seg.loading.dataset import PreparedData
from seg.loading.workers import RankPlacement
from seg.models.base import SegmentationModel
from seg.models.hardware import autocast
from seg.models.semantic import SemanticModel, predictions_of
from seg.tiles.network import SCORE
from seg.training.build import make_metrics
from seg.training.choosing.choose import Chosen, choose
from seg.training.loading.datamodule import SegmentationData
from seg.training.settings import TrainingSettings
from seg.training.step.limits import Limited, Limits, predict

IMAGES = 500  # images that are looked at, spread over the split where it has more

Choose = Callable[[dict[str, Tensor]], Chosen]  # the weights of a model -> what is chosen for it


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
                lambda threshold: make_metrics(cfg, data, score_threshold=threshold),
                [c.name for c in data.info.classes],
                cfg.task.monitor,
                SCORE,
            )

    return of


def _batches(cfg: TrainingSettings, device: torch.device) -> Iterator[Batch]:
    prepared = PreparedData(Path(cfg.paths.prepare), 1, cfg.runtime.workers, cfg.task.instances, cfg.model.window, cfg.task.stuff)
    dataset = prepared.split_dataset("val")
    step = -(-len(dataset.rows) // IMAGES)
    dataset.rows = dataset.rows[::step]
    yield from prepared.stored(dataset, RankPlacement(on_gpu=device.type == "cuda"))


def _answer(
    model: SegmentationModel, images: Tensor, limits: Limits, device: torch.device
) -> tuple[list[Prediction], Tensor | None, tuple[int, int]]:
    """See `seg.training.choosing.choose.Answer`. Of images larger than the model's window, the logits of a window in the middle."""
    limited, size = Limited(model, limits, device), (images.shape[-2], images.shape[-1])
    if not isinstance(model, SemanticModel):
        return predict(model, images, limits, device), None, (0, 0)
    height, width = model.seen_at_once(size)
    if (height, width) == size:
        logits = limited.logits(images)
        return predictions_of(logits), logits, (0, 0)
    top, left = max(0, (size[0] - height) // 2), max(0, (size[1] - width) // 2)
    return predict(model, images, limits, device), limited.logits(images[..., top : top + height, left : left + width]), (top, left)
