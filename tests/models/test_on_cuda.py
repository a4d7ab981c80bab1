"""Every model, loss and figure on a CUDA device that is pretended (see tests/on_cuda.py): one device throughout, and no wait for it."""

from typing import Any

import pytest
import torch
from conftest import ROOT, MakeConfig, MakeInfo
from labelled_logits import LOSSES
from models.test_contract import SMALLER
from on_cuda import CUDA, fake_cuda, moved
from torch import Tensor

from seg.core.errors import ConfigError
from seg.data.sample import IGNORE
from seg.loading.batch import Batch
from seg.metrics.semantic import SemanticMetrics
from seg.models.build import build_model
from seg.models.instance import InstanceModel
from seg.models.losses.regions import distances_on_device, signed_distances
from seg.models.panoptic import PanopticModel
from seg.models.rcnn import _in_crowd, _on_object
from seg.models.roi_masks import mask_targets
from seg.tiles.grid import Tiling, grid
from seg.tiles.tiled import _Ring
from seg.training.step.limits import Limited, Limits
from seg.training.step.step import named_losses

OPTIONS = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml") if "\ntask: semantic\n" in path.read_text())
OWN = {"attention_unet", "fcn8s", "unet_paper", "unet_small"}
SEMANTIC = [pytest.param(o, marks=() if o in OWN else pytest.mark.slow) for o in OPTIONS]


def on_device(config: Any, info: Any) -> tuple[Any, Any]:
    """A model on the device, and the mode to use it in. Few networks ask for values while they are built, so that they are built first."""
    with fake_cuda() as mode:
        try:
            return moved(build_model(config, info, pretrained=False), mode), mode
        except ConfigError:
            pass
    model = build_model(config, info, pretrained=False)
    with mode:
        return moved(model, mode), mode


def batch_of(images: Tensor, semantic: Tensor) -> Batch:
    return Batch(images, semantic, [], [], [], [], [], [], [(images.shape[-2], images.shape[-1])] * len(images), ["a", "b"])


@pytest.mark.parametrize("option", SEMANTIC)
def test_networks_train_and_validate_on_one_device(option: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    """The losses of a step, and what a validation step counts; nothing of either waits for a value."""
    model, mode = on_device(make_config(f"model={option}", *SMALLER.get(option, ()), "model.weights=null", "loss=ce_dice"), make_info())
    with mode, torch.no_grad():
        images, semantic = torch.zeros(2, 3, 64, 96, dtype=torch.uint8), torch.zeros(2, 64, 96, dtype=torch.uint8)
        losses = named_losses(model.train(), batch_of(images.to(CUDA), semantic.to(CUDA)))
        assert all(value.device.type == "cuda" and value.dtype == torch.float32 for value in losses.values())
        maps = Limited(model.eval(), Limits(2, lambda *_: 2), CUDA).class_maps(images)
        metrics = SemanticMetrics(["a", "b", "c"])
        metrics.count(batch_of(images, semantic), maps)  # the labels lie on the host
        assert metrics.pairs is not None
        assert metrics.pairs.device.type == "cuda"


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "ohem"])
def test_losses_ask_for_no_value(name: str) -> None:
    """Nor for one of logits that lie channels last. (Hard examples do: how many there are decides.)"""
    with fake_cuda() as mode:
        loss = moved(LOSSES[name]([0.5, 1.0, 2.0, 0.0]), mode)
        logits, semantic = torch.zeros(2, 4, 24, 20, device=CUDA), torch.zeros(2, 24, 20, dtype=torch.uint8, device=CUDA)
        for given in (logits, logits.bfloat16().contiguous(memory_format=torch.channels_last)):
            assert loss(given, semantic).device.type == "cuda"


def test_distances_computed_on_a_device_are_those_of_the_host() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (3, 6, 5), dtype=torch.uint8).repeat_interleave(5, 1).repeat_interleave(4, 2)
    labels[torch.rand(labels.shape) < 0.1] = IGNORE
    labels[2] = 1  # a class alone has no boundary
    expected = torch.stack([torch.from_numpy(signed_distances(image.numpy(), 4)) for image in labels])
    torch.testing.assert_close(distances_on_device(labels, 4), expected, rtol=1e-5, atol=1e-4)


def test_the_parts_of_mask_rcnn_stay_on_one_device(make_config: MakeConfig, make_info: MakeInfo) -> None:
    """What is ours of a step: targets, crowds and masks; how many proposals are kept only values can tell."""
    info = make_info(background=True)
    model, mode = on_device(make_config("task=instance", "model=mask_rcnn_small", "model.weights=null"), info)
    assert isinstance(model, InstanceModel)
    with mode, torch.no_grad():
        images = torch.zeros(1, 3, 64, 96, dtype=torch.uint8, device=CUDA)
        ids, crowd = torch.zeros(64, 96, 2, dtype=torch.int16, device=CUDA), torch.zeros(3, dtype=torch.bool, device=CUDA)
        categories, boxes = torch.zeros(3, dtype=torch.int32, device=CUDA), torch.zeros(3, 4, device=CUDA)
        places = [torch.zeros(2, dtype=torch.int64, device=CUDA)], [torch.zeros(1, dtype=torch.int64, device=CUDA)]
        semantic = torch.zeros(1, 64, 96, dtype=torch.uint8, device=CUDA)
        batch = Batch(images, semantic, [ids], [categories], [crowd], [boxes], *places, [(60, 90)], ["a"])
        x, (size,) = model.network_input(batch.images, batch.sizes)
        target = model.target(batch, 0, size)
        found = [*model.network.backbone(x).values(), *(v for v in target.values() if isinstance(v, Tensor))]
        found += [_in_crowd(boxes, target), _on_object(boxes, target), mask_targets(ids, target["ids"], target["boxes"], 14)]
        assert {tensor.device.type for tensor in found} == {"cuda"}


def test_the_class_of_each_pixel_is_learned_on_one_device(make_config: MakeConfig, make_info: MakeInfo) -> None:
    model, mode = on_device(make_config("task=panoptic", "model.weights=null"), make_info(background=True))
    assert isinstance(model, PanopticModel)
    with mode, torch.no_grad():
        semantic = torch.zeros(1, 64, 96, dtype=torch.uint8, device=CUDA)
        batch = Batch(torch.zeros(1, 3, 64, 96, device=CUDA), semantic, [], [], [], [], [], [], [(60, 90)], ["a"])
        logits = model.network.semantic(model.network.backbone(batch.images))
        assert model._semantic_loss(logits, batch, [(60, 90)]).device.type == "cuda"


def test_tiles_are_blended_on_the_device() -> None:
    tiles = grid(Tiling((32, 32), 0.25, 0.125, 0, "reflect"), 70, 50, 16)
    with fake_cuda():
        ring = _Ring(tiles, 4, CUDA, as_probabilities=True)
        ring.add(torch.zeros(4, 32, 32, device=CUDA), 0, 1)
        assert ring.sums.device.type == "cuda"
