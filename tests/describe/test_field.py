"""Receptive fields: by the formula for chains, as the literature has them, and as the derivative shows them."""

import random

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from seg.describe.field import ReceptiveField, effective_field, effective_side, receptive_fields


class Features(nn.Module):
    """Of one of torchvision's networks, without what follows the last map."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*list(network.children())[:-2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.parts(x)
        return result


def by_formula(layers: list[tuple[int, int, int, int]]) -> tuple[int, int, float]:
    """Size, stride and start of a chain of (kernel, stride, padding, dilation), as Araujo et al. 2019 have it."""
    size, jump, start = 1, 1, 0.0
    for kernel, stride, padding, dilation in layers:
        reach = (kernel - 1) * dilation
        size, start, jump = size + reach * jump, start + (reach / 2 - padding) * jump, jump * stride
    return size, jump, start


@pytest.mark.parametrize("seed", range(6))
def test_a_chain_sees_what_the_formula_says(seed: int) -> None:
    drawn = random.Random(seed)
    chain = [(drawn.choice((1, 2, 3, 5)), drawn.choice((1, 1, 2)), drawn.choice((0, 1)), drawn.choice((1, 1, 2))) for _ in range(5)]
    layers: list[nn.Module] = []
    for index, (kernel, stride, padding, dilation) in enumerate(chain):
        if index % 2 and dilation == 1 and kernel > padding * 2 - 1:
            layers.append(nn.MaxPool2d(kernel, stride, min(padding, kernel // 2)))
            chain[index] = (kernel, stride, min(padding, kernel // 2), 1)
        else:
            layers += [nn.Conv2d(3, 3, kernel, stride, padding, dilation), nn.BatchNorm2d(3), nn.ReLU()]
    (found,) = receptive_fields(nn.Sequential(*layers), 3, 1)
    size, jump, start = by_formula(chain)
    assert (found.size, found.stride, found.pooled) == (size, pytest.approx(jump), False)
    assert found.start == pytest.approx(start)


@pytest.mark.parametrize(("name", "size"), [("vgg16", 212), ("resnet18", 435), ("resnet50", 427)])
def test_networks_see_what_the_literature_says(name: str, size: int) -> None:
    """VGG-16 up to its last pooling. ResNet-50 as torchvision has it, which has the strides in the convolutions of 3 x 3."""
    network = torchvision.models.get_model(name, weights=None)
    features = network.features if name == "vgg16" else Features(network)
    (found,) = receptive_fields(features, 3, 32)
    assert (found.size, found.stride) == (size, 32)


def test_resnet_50_of_the_paper() -> None:
    """It has the strides in the first convolution of a block: 483 pixels (Araujo et al. 2019)."""
    network = torchvision.models.resnet50(weights=None)
    for stage in (network.layer2, network.layer3, network.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    (found,) = receptive_fields(Features(network), 3, 32)
    assert found.size == 483


def test_pooling_over_the_whole_image_is_said_and_not_counted() -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.gate = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))

    assert receptive_fields(Squeezed(), 3, 1) == [ReceptiveField(3, 1.0, 0.0, True)]


def test_attention_sees_the_whole_image() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.attention = nn.Conv2d(3, 8, 8, 8), nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patches(x)
            tokens = x.flatten(2).transpose(1, 2)
            mixed, _ = self.attention(tokens, tokens, tokens)
            return tokens.add(mixed).transpose(1, 2).reshape(x.shape)

    (found,) = receptive_fields(Attends(), 3, 8)
    assert found.size is None


def test_the_network_itself_is_left_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    receptive_fields(network, 3, 1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_effective_field_is_where_the_derivative_is() -> None:
    """Of one convolution just its kernel, in proportion to the weights' sizes."""
    network = nn.Conv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[[[0.0, 1.0, 0.01], [2.0, -4.0, 2.0], [0.0, 1.0, 0.0]]]]))
    field = effective_field(network, [torch.rand(1, 1, 9, 9)])
    expected = np.zeros((9, 9))
    expected[3:6, 3:6] = [[0, 0.25, 0.0025], [0.5, 1, 0.5], [0, 0.25, 0]]
    assert field == pytest.approx(expected)
    assert effective_side(field) == pytest.approx(5**0.5)  # five pixels are above 4.55 percent of the largest


def test_pooling_with_gaps_sees_as_far_as_its_last_pixel() -> None:
    """Of 3 pixels with one left out between two; the maximum alone would depend on one of them."""
    (found,) = receptive_fields(nn.Sequential(nn.Conv2d(3, 2, 1), nn.MaxPool2d(3, 1, 1, dilation=2)), 3, 1)
    assert (found.size, found.start) == (5, 1.0)
