"""U-Net++ against smp's, whose state it can take, and its supervised nodes by the paper's names."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

from seg.models.unet_plus_plus import UNetPlusPlus

CHANNELS = [16, 8, 8, 4]


@torch.no_grad()
def test_the_output_is_smps_and_each_auxiliary_head_sees_its_node() -> None:
    torch.manual_seed(0)
    reference = smp.UnetPlusPlus("resnet18", 4, None, decoder_channels=CHANNELS, classes=3).eval()
    network = UNetPlusPlus("resnet18", 4, CHANNELS, 3, 3).eval()
    left = network.load_state_dict(reference.state_dict(), strict=False)
    assert not left.unexpected_keys
    assert {name.split(".")[0] for name in left.missing_keys} == {"auxiliary_heads"}
    nodes: dict[str, Tensor] = {}
    for name, block in reference.decoder.blocks.items():
        block.register_forward_hook(lambda *given, name=name: nodes.__setitem__(name, given[2]))
    image = torch.randn(2, 3, 32, 48)
    wanted, given = reference(image), network(image)
    torch.testing.assert_close(given.pop("out"), wanted)
    assert list(given) == ["x_0_1", "x_0_2"]
    for name, block in (("x_0_1", "x_2_2"), ("x_0_2", "x_1_2")):
        assert given[name].shape == (2, 3, 16, 24)
        torch.testing.assert_close(given[name], network.auxiliary_heads[name](nodes[block]))


@pytest.mark.parametrize(("encoder", "side", "heads"), [("mit_b0", 16, 2), ("mobilenet_v2", 32, 3)])
def test_every_parameter_of_any_encoder_takes_part(encoder: str, side: int, heads: int) -> None:
    """Encoders without features at stride 2 are supervised at stride 4."""
    torch.manual_seed(0)
    network = UNetPlusPlus(encoder, 5, [16, 8, 8, 4, 4], 3, 2)
    given = network(torch.randn(2, 3, 64, 64))
    assert list(given) == ["out", "x_0_1", "x_0_2", "x_0_3"][: 1 + heads]
    assert [logits.shape[-1] for logits in given.values()] == [64] + [side] * heads
    sum(logits.sum() for logits in given.values()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []
