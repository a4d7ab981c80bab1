"""Attention gates against their formula in numpy, and the network with open gates against smp's U-Net."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from conftest import MakeConfig, MakeInfo
from models.test_contract import SMALLER, noise
from torch import nn
from torch.nn import functional as F

from seg.models.attention_unet import AttentionGate, AttentionUNet
from seg.models.build import build_model

CHANNELS = [16, 8, 8]


@torch.no_grad()
def test_a_gate_follows_the_papers_formula() -> None:
    torch.manual_seed(0)
    gate, x, g = AttentionGate(4, 6), torch.randn(1, 4, 6, 8), torch.randn(1, 6, 3, 4)
    weighed, alpha = gate(x, g)
    of_x, of_g, psi = (layer.weight[:].double().numpy() for layer in (gate.of_skip, gate.of_gating, gate.psi))
    alphas = np.zeros((3, 4))
    for row in range(3):
        for column in range(4):
            window = x[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].double().numpy()
            joined = np.einsum("oikl,ikl->o", of_x, window) + of_g[:, :, 0, 0] @ g[0, :, row, column].double().numpy()
            joined += gate.of_gating.bias.double().numpy()
            alphas[row, column] = 1 / (1 + np.exp(-(psi[0, :, 0, 0] @ np.maximum(joined, 0) + gate.psi.bias.item())))
    wanted = F.interpolate(torch.tensor(alphas)[None, None], (6, 8), mode="bilinear").float()
    torch.testing.assert_close(alpha, wanted)
    torch.testing.assert_close(weighed, x * wanted)


@torch.no_grad()
def test_with_open_gates_it_is_a_unet_and_gates_start_open() -> None:
    torch.manual_seed(0)
    reference = smp.Unet("resnet18", 3, None, decoder_channels=CHANNELS, classes=3).eval()
    network = AttentionUNet("resnet18", 3, CHANNELS, 3, 3).eval()
    left = network.load_state_dict(reference.state_dict(), strict=False)
    assert not left.unexpected_keys
    assert all(name.startswith("decoder.gates.") for name in left.missing_keys)
    image = torch.randn(2, 3, 32, 48)
    assert all(a.min() > 0.8 for a in network.attention_maps(image).values())
    for gate in network.decoder.gates.values():
        nn.init.constant_(gate.psi.bias, 100.0)
    torch.testing.assert_close(network(image), reference(image))


@torch.no_grad()
def test_maps_are_what_the_gates_weigh_with() -> None:
    torch.manual_seed(0)
    network, image, seen = AttentionUNet("resnet18", 3, CHANNELS, 3, 3).eval(), torch.randn(2, 3, 32, 48), []
    for gate in network.decoder.gates.values():
        nn.init.normal_(gate.psi.weight)
        gate.register_forward_hook(lambda *given: seen.append(given[2][1]))
    maps = network.attention_maps(image)
    assert list(maps) == ["stride 4", "stride 2"]
    for (name, large), alpha in zip(maps.items(), seen, strict=True):
        assert alpha.shape == (2, 1, *(side // int(name.split()[1]) for side in (32, 48)))
        torch.testing.assert_close(large, F.interpolate(alpha, (32, 48), mode="bilinear"))
        assert large.max() - large.min() > 0.05


def test_an_encoder_without_features_at_stride_2_has_a_gate_less() -> None:
    network = AttentionUNet("mit_b0", 5, [16, 8, 8, 4, 4], 3, 2)
    network(torch.randn(2, 3, 64, 64)).sum().backward()
    assert list(network.attention_maps(torch.randn(1, 3, 64, 64))) == ["stride 16", "stride 8", "stride 4"]
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_model_gives_maps_of_its_images_size(scale: float, make_config: MakeConfig, make_info: MakeInfo) -> None:
    torch.manual_seed(0)
    given = [f"model.scale={scale}", *SMALLER["attention_unet"]]
    model, images = build_model(make_config("model=attention_unet", *given), make_info()).eval(), noise(37, 53)
    for gate in model.network.decoder.gates.values():
        nn.init.normal_(gate.psi.weight)
    maps = model.attention_maps(images)
    assert maps.keys() == model.network.attention_maps(model.network_input(images)[0]).keys()
    for name, alpha in maps.items():
        assert alpha.shape == (2, 37, 53)
        if scale == 1:
            torch.testing.assert_close(alpha, model.network.attention_maps(model.network_input(images)[0])[name][:, 0, :37, :53])


def test_a_model_without_gates_has_no_maps(make_config: MakeConfig, make_info: MakeInfo) -> None:
    for overrides in (["model=unet", *SMALLER["unet"]], ["task=instance"]):
        assert build_model(make_config(*overrides), make_info(background=True)).attention_maps(noise(32, 32)) == {}
