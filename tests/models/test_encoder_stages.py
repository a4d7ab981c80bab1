"""The stages of encoders, compared with the names that their authors gave to the parts."""

from collections.abc import Callable

import pytest
import segmentation_models_pytorch as smp
import torch
from conftest import MakeConfig, MakeInfo
from torch import nn
from torchvision.models import segmentation
from torchvision.models.detection import maskrcnn_resnet50_fpn

from seg.models.build import build_model
from seg.models.finetune import find_encoder, stages_of

RESNET = {"conv1": 1, "bn1": 1, "layer1": 2, "layer2": 3, "layer3": 4, "layer4": 5}


def by_part(network: nn.Module, channels: int = 3) -> dict[str, int]:
    """{the first part of the parameters' names: their stage}; all of a part must be of one stage."""
    stages = stages_of(network, channels)
    found = find_encoder(network)
    assert found is not None
    assert stages.keys() == {name for name, _ in found[1].named_parameters()}
    pairs = {(name.split(".")[0], stage) for name, stage in stages.items()}
    assert len(pairs) == len(dict(pairs)), pairs
    return dict(pairs)


@pytest.mark.parametrize(
    ("network", "place"),
    [
        (lambda: smp.Unet("resnet18", encoder_weights=None), "encoder"),
        (lambda: smp.DeepLabV3("resnet18", encoder_weights=None), "encoder"),  # dilated: three stages of one stride
        (lambda: segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True), "backbone"),  # dilated, without a list
        (lambda: maskrcnn_resnet50_fpn(weights=None, weights_backbone=None), "backbone.body"),
    ],
    ids=["smp", "smp-dilated", "torchvision-dilated", "detector"],
)
def test_a_resnet_has_the_stages_of_its_paper(network: Callable[[], nn.Module], place: str) -> None:
    built = network()
    assert find_encoder(built)[0] == place
    assert by_part(built) == RESNET


def test_the_pyramid_of_mask_rcnn_and_images_of_five_channels(make_config: MakeConfig, make_info: MakeInfo) -> None:
    network = build_model(make_config("task=instance"), make_info(channels=5, background=True)).network
    assert find_encoder(network)[0] == "backbone.encoder"
    assert by_part(network, 5) == RESNET


def test_blocks_without_names_are_told_apart_by_their_strides() -> None:
    """MobileNetV3-Large as in LR-ASPP: by the strides of Howard et al. 2019, table 1; the last one is a dilation here."""
    stages = by_part(segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None))
    assert stages == {str(block): 1 + sum(block >= first for first in (2, 4, 7, 13)) for block in range(17)}


def test_a_plain_list_of_blocks_is_an_encoder() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, padding=1)])
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.encoder:
                x = block(x)
            return self.head(x)

    assert by_part(Small()) == {"0": 1, "1": 1, "2": 2}


def test_a_network_without_an_encoder_has_none() -> None:
    assert find_encoder(nn.Conv2d(3, 2, 1)) is None
    assert stages_of(nn.Conv2d(3, 2, 1), 3) == {}


def test_looking_leaves_no_trace() -> None:
    network = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(8, 8, 8, 8, 8))
    network.encoder.layer2.eval()
    state, modes = {n: t.clone() for n, t in network.state_dict().items()}, [m.training for m in network.modules()]
    torch.manual_seed(3)
    stages_of(network, 3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn), "the seed draws what it drew before"
    assert [m.training for m in network.modules()] == modes
    assert all(torch.equal(t, state[n]) for n, t in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks for m in network.modules())
