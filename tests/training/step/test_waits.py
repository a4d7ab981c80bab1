"""A training step and a validation step hand their work to the device and go on: what asks for values is listed here, and may not grow."""

from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from conftest import MakeConfig, MakeInfo
from host_waits import host_waits
from lightning.pytorch.plugins import Precision

from seg.data.labelmaps import layers_from_masks
from seg.data.sample import Sample, no_instances
from seg.loading.batch import Batch, collate
from seg.metrics.semantic import SemanticMetrics
from seg.models.build import build_model
from seg.training.resume.history import RunningMeans
from seg.training.step.averaging import MovingAverage
from seg.training.step.limits import Limited, Limits
from seg.training.step.step import Step

SIZE = 64


def batch_of(with_instances: bool) -> Batch:
    """Two images; of the second's three objects one is a crowd."""
    rng, samples = np.random.default_rng(0), []
    for number in range(2):
        image = rng.integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)
        masks = np.zeros((3, SIZE, SIZE), bool)
        masks[0, 5:25, 5:30], masks[1, 30:50, 10:28], masks[2, 8:40, 40:60] = True, True, True
        facts = layers_from_masks(masks, SIZE, SIZE), np.array([1, 2, 1], np.int32), np.array([False, False, number == 1])
        samples.append(Sample(str(number), image, image[..., 0] % 3, *(facts if with_instances else no_instances(SIZE, SIZE))))
    return collate(samples)


def step_of(model: Any) -> tuple[Any, Any]:
    """A step of a training on one device, whose weights are averaged, and its average."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    scheduler = SimpleNamespace(scheduler=torch.optim.lr_scheduler.ConstantLR(optimizer))
    trainer: Any = SimpleNamespace(precision_plugin=Precision(), lr_scheduler_configs=[scheduler], is_global_zero=True, global_step=0)
    limits = Limits(1, lambda *_: 1)
    step = Step(trainer, model, limits, torch.device("cpu"), lambda losses, share: (losses["loss"] * share).backward(), False)
    average, means = MovingAverage(0.99, 0.0), RunningMeans()
    trainer.strategy = SimpleNamespace(root_device=torch.device("cpu"))
    module = pl.LightningModule()
    module.model = model
    average.setup(trainer, module, "fit")

    def take(batch: Batch) -> None:
        losses = step.take(batch, optimizer)  # type: ignore[arg-type]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for name, value in losses.items():
            means.add(name, value, len(batch))
        assert average.average_model is not None
        average.average_model.update_parameters(module)

    take(batch_of(True))  # the first copies and makes what later ones use
    return take, average


def test_a_semantic_step_waits_nowhere(make_config: MakeConfig, make_info: MakeInfo) -> None:
    """tests/models/test_on_cuda.py has the losses that work otherwise on a CPU."""
    batch, (take, average) = batch_of(False), step_of(build_model(make_config("model=unet_small", "loss=focal"), make_info()).train())
    with host_waits() as found:
        take(batch)
    assert average.count == 2
    assert found == {("seg", "averaging.py"): 3}, "of how many sets of weights the average is, a number that lies on the host"


def test_a_semantic_validation_step_waits_nowhere(make_config: MakeConfig, make_info: MakeInfo) -> None:
    """Before its class maps are counted, which tests/models/test_on_cuda.py has on a device."""
    model, batch = build_model(make_config("model=unet_small"), make_info()).eval(), batch_of(False)
    with host_waits() as found:
        maps = Limited(model, Limits(1, lambda *_: 1), torch.device("cpu")).class_maps(batch.images)
    assert found == {}
    assert maps is not None
    metrics = SemanticMetrics(["a", "b", "c"])
    metrics.count(batch, maps)
    assert metrics.matrix.sum() == (batch.semantic != 255).sum()


def test_a_step_of_mask_rcnn_waits_where_torchvision_does(make_config: MakeConfig, make_info: MakeInfo) -> None:
    """Of two images, one of which has a crowd. What is ours: which boxes hold an object, as torchvision's own heads ask for each image,
    and which lie in the crowd."""
    batch, (take, _) = batch_of(True), step_of(build_model(make_config("task=instance"), make_info(background=True)).train())
    with host_waits() as found:
        take(batch)
    ours = {file: count for (package, file), count in found.items() if package != "torchvision"}
    assert ours == {"rcnn.py": 2 + 1, "averaging.py": 3}
    assert sum(found.values()) - 6 <= 54, "torchvision's"


def test_a_validation_step_of_mask_rcnn_fetches_what_was_found(make_config: MakeConfig, make_info: MakeInfo) -> None:
    model, batch = build_model(make_config("task=instance"), make_info(background=True)).eval(), batch_of(True)
    with host_waits() as found:
        model.predict(batch.images)
    ours = {file: count for (package, file), count in found.items() if package != "torchvision"}
    assert ours == {"roi_masks.py": 8 * len(batch)}, "boxes, scores, categories and masks of each image"
