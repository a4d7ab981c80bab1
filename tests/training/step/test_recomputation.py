"""Activation checkpointing: the same loss, gradients, statistics and names as without, in less memory."""

import copy
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from seg.core.errors import ConfigError
from seg.training.step.recomputation import checkpoint_activations, find_blocks

SMALL = {"encoder_weights": None, "classes": 3}


def unet(**changed: Any) -> nn.Module:
    return smp.Unet("resnet18", decoder_channels=(16, 16, 16, 8, 8), **SMALL, **changed)


def segformer() -> nn.Module:
    """With dropout and stochastic depth."""
    return smp.Segformer("mit_b0", decoder_segmentation_channels=32, **SMALL)


def timm() -> nn.Module:
    return smp.Unet("tu-mobilenetv3_small_050", decoder_channels=(16, 16, 16, 8, 8), **SMALL)


def lraspp() -> nn.Module:
    return torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)


def images(side: int = 64, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def step(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The loss, every gradient, and every buffer after it."""
    torch.manual_seed(5)
    given = network(x)
    loss = _out(given).float().square().mean()
    loss.backward()
    gradients = {name.replace("_checkpoint_wrapped_module.", ""): p.grad for name, p in network.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **gradients, **{n: b for n, b in network.state_dict().items() if n not in gradients}}


@pytest.mark.parametrize("make", [unet, segformer, timm, lraspp])
@pytest.mark.parametrize("frozen", [False, True], ids=["all", "frozen"])
def test_a_step_is_that_without(make: Any, frozen: bool) -> None:
    torch.manual_seed(0)
    plain = make().train()
    if frozen:
        part = plain.encoder if hasattr(plain, "encoder") else plain.backbone
        part.requires_grad_(False).eval()
    other = copy.deepcopy(plain)
    blocks = checkpoint_activations(other, images()[:1])
    assert len(blocks) > 4
    assert plain.state_dict().keys() == other.state_dict().keys()
    expected, found = step(plain, images()), step(other, images())
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    other.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(*(_out(n.eval()(images())) for n in (plain, other)))


def _out(given: Any) -> Tensor:
    return given["out"] if isinstance(given, dict) else given  # type: ignore[no-any-return]


def peak(network: nn.Module, x: Tensor) -> int:
    """The most bytes that torch held at once in a step, beyond what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step(network, x)
    held = most = 0
    for event in profiled.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def test_a_step_takes_less_memory() -> None:
    torch.manual_seed(0)
    plain = timm().train()
    other = copy.deepcopy(plain)
    checkpoint_activations(other, images()[:1])
    without, with_it = peak(plain, images(192)), peak(other, images(192))
    assert with_it < 0.65 * without


def test_blocks_are_neither_layers_nor_the_whole() -> None:
    found = find_blocks(unet(), images()[:1])
    assert {"encoder.layer1.0", "encoder.layer4"} <= set(found), found
    assert "encoder" not in found
    assert not any(other != name and other.startswith(f"{name}.") for name in found for other in found)


def test_a_block_whose_input_is_changed_in_place_keeps_its_activations() -> None:
    def block(*first: nn.Module) -> nn.Module:
        return nn.Sequential(*first, nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))

    network = nn.Sequential(*(block(nn.Hardswish(inplace=number == 2)) for number in range(9)))
    assert find_blocks(network, images()[:1]) == [str(number) for number in range(9) if number != 2]


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Conv2d has no blocks that could run again; set trainer\.activation_checkpointing=false"):
        checkpoint_activations(nn.Conv2d(3, 2, 1), images()[:1])
