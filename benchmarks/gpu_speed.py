"""Steps of gpu.py that measure: images a second of `seg train` beside plain loops, waits for data, evaluation."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from gpu_bench import Bench, Figures, check
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from training import drawn, now, plain_loop

from seg.models.hardware import choose_precision
from seg.stages import evaluate
from seg.training.callbacks import callbacks_of
from seg.training.module import build_module, make_limits, make_model
from seg.training.ranks.signals import StopSignals
from seg.training.resume.history import History
from seg.training.step.recomputation import accelerate
from seg.training.trainer import build_trainer, quiet

GOALS = {"unet": 3.0, "mask_rcnn": 1.5}
MOST_WAITING = 30


class Ready:
    """Batches that lie ready, for the trainer. It times `steps` of them; those before warm up."""

    def __init__(self, batches: Sequence[Any], steps: int, device: torch.device, warm: int) -> None:
        self.batches = [batch.pin_memory() for batch in batches] if device.type == "cuda" else list(batches)
        self.steps, self.device, self.warm, self.spent = steps, device, warm, 0.0

    def __len__(self) -> int:
        return self.warm + self.steps + 1

    def __iter__(self) -> Iterator[Any]:
        endless = cycle(self.batches)
        yield from islice(endless, self.warm)
        start = now(self.device)
        yield from islice(endless, self.steps)
        self.spent = now(self.device) - start
        yield next(endless)  # the trainer does not ask again after the last one

    @property
    def pace(self) -> float:
        """Images a second."""
        return self.steps * len(self.batches[0]) / self.spent


def fitted(bench: Bench, config: Any, data: Any, feed: Ready, first: Sequence[Callback] = ()) -> None:
    """Train with these batches as `seg train` does, with its module, its callbacks and its trainer."""
    quiet()
    torch.manual_seed(0)
    precision = choose_precision(config.trainer.precision, bench.device)
    model, limits = make_model(config, data), make_limits(config, data)
    module = build_module(config, data, model, limits, precision)
    accelerate(config.trainer, model, data, bench.device)
    scratch = bench.folder / "scratch" / "train" / str(time.monotonic_ns())
    callbacks = [*first, *callbacks_of(config, data, scratch, History(), limits, StopSignals(False))]
    trainer = build_trainer(config, callbacks, scratch, bench.device, precision)
    trainer.fit(module, feed, DataLoader(feed.batches[:1], batch_size=None))  # type: ignore[arg-type]


def unet(bench: Bench) -> Figures:
    network = ["model=unet", "model.network.encoder_name=resnet34", "model.network.decoder_channels=[256,128,64,32,16]"]
    images, size = (2, 64) if bench.cpu else (16, 512)
    config = bench.config(*([] if bench.cpu else network), "trainer.max_epochs=1", "optimizer=adamw", f"trainer.batch_size={images}")
    data, batches = drawn(config, bench.folder / "drawn", size, 4)

    def plain() -> float:
        slow = config.model_copy(
            update={
                "trainer": config.trainer.model_copy(update={"channels_last": False}),
                "optimizer": config.optimizer.model_copy(update={"fused": False}),
            }
        )
        loop, _ = plain_loop(slow, data, "32-true", bench.device, make_model(slow, data), 10**6)
        return _pace(bench, loop, batches)

    return _compared(bench, "unet", plain, config, data, batches) | _benchmarked(bench, config, data, batches)


def mask_rcnn(bench: Bench) -> Figures:
    images, size = (2, 64) if bench.cpu else (4, 800)
    network = [] if bench.cpu else ["model=maskrcnn_resnet50_fpn"]
    config = bench.config(*network, "trainer.max_epochs=1", f"trainer.batch_size={images}", task="instance")
    data, batches = drawn(config, bench.folder / "drawn", size, 4)
    classes = len(data.info.classes)

    def plain() -> float:
        if bench.cpu:
            backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
            network: nn.Module = MaskRCNN(backbone, classes, min_size=size, max_size=size, box_batch_size_per_image=8)
        else:
            network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=classes)
        return _pace(bench, _reference(network.to(bench.device).train(), bench.device), [_targets(batch) for batch in batches])

    return _compared(bench, "mask_rcnn", plain, config, data, batches)


def loading(bench: Bench) -> Figures:
    """Of a training whose images are loaded and augmented, in its last epoch; and of evaluating its model."""
    bench.data()
    more = [] if bench.cpu else ["trainer.max_epochs=6", "trainer.batch_size=16", "runtime.workers=auto"]
    codes, said = bench.train(bench.config(*more), bench.folder / "train")
    check(codes == [0], "the training failed")
    pace, waited = re.findall(r"([\d.]+) images/s  data (\d+) %", said)[-1]
    found: Figures = {"images/s": float(pace), "waiting": f"{waited} %"}
    start = time.perf_counter()
    settings = ["evaluate.bootstrap.resamples=0", "evaluate.split=train", "evaluate.num_overlays=0"]
    evaluate.run(bench.config(*settings), bench.folder / "evaluate")  # type: ignore[arg-type]
    found["seconds to evaluate"] = time.perf_counter() - start
    if not bench.cpu and int(waited) > MOST_WAITING:
        found["failed"] = f"steps wait for data in more than {MOST_WAITING} % of the time"
    return found


def _compared(bench: Bench, name: str, plain: Callable[[], float], config: Any, data: Any, batches: Sequence[Any]) -> Figures:
    """Images a second of the plain loop, which is timed before and after (A/A), and of `seg train`, without and with compilation."""
    first, ours = plain(), _ours(bench, config, data, batches)
    compiled = config.model_copy(update={"trainer": config.trainer.model_copy(update={"compile": True})})
    best = ours if bench.cpu else max(ours, faster := _ours(bench, compiled, data, batches))
    second = plain()
    ratio = best / ((first + second) / 2)
    found: Figures = {"plain images/s": first, "again": second, "seg train": ours}
    found |= {} if bench.cpu else {"compiled": faster}
    found["times as fast"] = ratio
    if not bench.cpu and ratio < GOALS[name]:
        found["failed"] = f"{ratio:.2f} times as fast as the plain loop, expected {GOALS[name]:g}"
    return found


def _benchmarked(bench: Bench, config: Any, data: Any, batches: Sequence[Any]) -> Figures:
    torch.backends.cudnn.benchmark = True
    try:
        return {"seg train with cudnn.benchmark": _ours(bench, config, data, batches)}
    finally:
        torch.backends.cudnn.benchmark = False


def _ours(bench: Bench, config: Any, data: Any, batches: Sequence[Any]) -> float:
    feed = Ready(batches, 2 if bench.cpu else 40, bench.device, 1 if bench.cpu else 10)
    fitted(bench, config, data, feed)
    return feed.pace


def _pace(bench: Bench, loop: Callable[[Any], None], batches: Sequence[Any]) -> float:
    """Images a second of a loop's step."""
    warm, steps = (1, 2) if bench.cpu else (10, 40)
    for batch in islice(cycle(batches), warm):
        loop(batch)
    start = now(bench.device)
    for batch in islice(cycle(batches), steps):
        loop(batch)
    images = len(batches[0]) if hasattr(batches[0], "image_ids") else len(batches[0][0])
    return steps * images / (now(bench.device) - start)


def _reference(network: nn.Module, device: torch.device) -> Callable[[Any], None]:
    """A step as in references/detection of torchvision, in float32."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.002, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.001, total_iters=1000)

    def run(batch: Any) -> None:
        images = [image.to(device) for image in batch[0]]
        targets = [{name: value.to(device) for name, value in target.items()} for target in batch[1]]
        losses = network(images, targets)
        total = sum(losses.values())
        float(total)  # it is logged, and looked at
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        scheduler.step()

    return run


def _targets(batch: Any) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """A batch of ours as torchvision takes it: images in 0..1, and a mask for each object."""
    images, targets = [image.float() / 255 for image in batch.images], []
    for ids, categories, boxes, objects in zip(batch.instances, batch.categories, batch.boxes, batch.objects, strict=True):
        masks = torch.stack([(ids == i + 1).any(-1) for i in objects.tolist()]) if len(objects) else torch.zeros(0, *ids.shape[:2])
        targets.append({"boxes": boxes[objects], "labels": categories[objects].long(), "masks": masks.to(torch.uint8)})
    return images, targets
