"""Counts of parameters and multiply-adds: by hand, as published, and by torch's own counters."""

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seg.describe.costs import layers_of


def counted(network: nn.Module, *shape: int) -> list[tuple[str, int, int, int]]:
    """(name, parameters, multiply-adds, activations) of each layer for an image of this shape."""
    x = torch.zeros(1, *shape)
    layers = layers_of(network.eval(), lambda: network(x))
    return [(layer.name, layer.parameters, layer.multiply_adds, layer.activations) for layer in layers]


def test_layers_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),  # 3 * 3 * 3 weights and a bias for each of 16 filters: 448
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=16, bias=False),  # 9 weights of one channel, 32 filters
        nn.ConvTranspose2d(32, 8, 2, stride=2),
        nn.Flatten(),
        nn.Linear(8 * 10 * 12, 5),
    )
    assert counted(network, 3, 10, 12) == [
        ("0", 448, 27 * 16 * 120, 16 * 120),
        ("1", 0, 0, 16 * 120),
        ("2", 288, 9 * 32 * 30, 32 * 30),
        ("3", 32 * 8 * 4 + 8, 32 * 8 * 4 * 30, 8 * 120),
        ("4", 0, 0, 960),
        ("5", 4805, 4800, 5),
    ]


def test_attention_by_hand() -> None:
    """Of 7 tokens of 8 numbers: three projections, products of queries with keys, of weights with values, and the last projection."""
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.zeros(1, 7, 8)
    layers = layers_of(attention.eval(), lambda: attention(x, x, x, need_weights=False))
    assert sum(layer.multiply_adds for layer in layers) == 7 * 8 * 24 + 2 * (7 * 7 * 4) * 2 + 7 * 8 * 8
    assert sum(layer.parameters for layer in layers) == 24 * 8 + 24 + 8 * 8 + 8


def test_a_shared_layer_has_its_parameters_once_and_works_twice() -> None:
    shared = nn.Conv2d(4, 4, 1, bias=False)
    network = nn.Sequential(shared, nn.Sequential(shared))
    layers = layers_of(network, lambda: network(torch.zeros(1, 4, 5, 5)))
    assert [(layer.name, layer.parameters, layer.multiply_adds, layer.outputs) for layer in layers] == [("0", 16, 800, [(4, 5, 5)] * 2)]


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet50", "vgg16", "alexnet", "mobilenet_v2", "densenet121", "googlenet", "squeezenet1_1", "vit_b_16", "swin_t"],
)
def test_networks_have_the_counts_that_are_published(name: str) -> None:
    """With torchvision's weights: parameters, and multiply-adds of an image of 224 x 224 in billions, of three places."""
    published = torchvision.models.get_model_weights(name).DEFAULT.meta
    more = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    rows = counted(torchvision.models.get_model(name, weights=None, **more), 3, 224, 224)
    assert sum(row[1] for row in rows) == published["num_params"]
    assert round(sum(row[2] for row in rows) / 1e9, 3) == published["_ops"]


def test_sums_are_torch_s_own() -> None:
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    x = torch.zeros(1, 3, 64, 64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    rows = counted(network, 3, 64, 64)
    assert 2 * sum(row[2] for row in rows) == counter.get_total_flops()
    assert sum(row[1] for row in rows) == sum(p.numel() for p in network.parameters())
