"""The paper's U-Net: its sizes, its mirrored border, and tiles that give what the whole image gives."""

import numpy as np
import pytest
import torch
from torch import nn

from seg.core.errors import ConfigError
from seg.models.unet import UNet, mirrored


def net(depth: int, width: int = 4, padding: str = "valid", in_channels: int = 3) -> UNet:
    return UNet(depth, width, padding, False, 0.5, in_channels, 2).eval()


@torch.no_grad()
def test_the_papers_sizes() -> None:
    network = net(4, width=1, in_channels=1)
    shapes = []
    for stage in network.down:
        stage.register_forward_hook(lambda *given: shapes.append(tuple(given[2].shape[1:])))
    assert network.valid(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert shapes == [(1, 568, 568), (2, 280, 280), (4, 136, 136), (8, 64, 64), (16, 28, 28)]
    assert network.margins(388) == (92, 92)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("depth", [1, 3])
@torch.no_grad()
def test_margins_are_the_smallest_that_give_every_pixel(padding: str, depth: int) -> None:
    network = net(depth, width=1, padding=padding)
    for size in (1, 2, 7, 16, 21):
        before, after = network.margins(size)
        needed = before + size + after
        given = network.valid(torch.zeros(1, 3, needed, needed)).shape[-1]
        assert size <= given < size + 2**depth
        if padding == "valid":
            assert (needed - given) == 2 * before
        else:
            assert (before, given) == (0, needed)


@pytest.mark.parametrize(("size", "before", "after"), [(1, 3, 4), (2, 5, 6), (5, 3, 4), (5, 14, 11), (7, 0, 0)])
def test_borders_are_mirrored_as_numpy_mirrors_them(size: int, before: int, after: int) -> None:
    wanted = np.pad(np.arange(size), (before, after), mode="reflect")
    np.testing.assert_array_equal(mirrored(size, before, after), wanted)


@torch.no_grad()
def test_a_tile_with_its_surroundings_gives_what_the_whole_image_gives() -> None:
    """The overlap-tile strategy, from the mirrored image that numpy makes."""
    torch.manual_seed(0)
    network, image = net(2), torch.randn(1, 3, 50, 61)
    whole = network(image)
    assert whole.shape == (1, 2, 50, 61)
    assert whole.std() > 0.1
    margin = network.margins(24)[0]
    around = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), (margin, 60), (margin, 60)), mode="reflect"))
    size = sum(network.margins(24)) + 24
    for top in (0, 24):
        for left in (0, 24, 36):
            tile = network.valid(around[..., top : top + size, left : left + size])[..., :24, :24]
            wanted = whole[..., top : top + 24, left : left + 24]
            torch.testing.assert_close(tile[..., : wanted.shape[-2], : wanted.shape[-1]], wanted)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("depth", [1, 2])
@torch.no_grad()
def test_skips_are_cropped_to_their_middle(padding: str, depth: int) -> None:
    """With kernels that copy the finest skip, each pixel's output is the pixel itself."""
    network, image = net(depth, width=1, padding=padding, in_channels=1), torch.rand(1, 1, 13, 22)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    for layer in (network.down[0][0], network.down[0][2], network.merge[-1][0], network.merge[-1][2]):
        layer.weight[0, 0, 1, 1] = 1
    network.head.weight[1] = 1
    logits = network(image)
    assert not logits[0, 0].any()
    torch.testing.assert_close(logits[0, 1], image[0, 0])


@torch.no_grad()
def test_what_is_upsampled_reaches_its_own_place() -> None:
    """With kernels that hand the coarser map on, each cell of 2 x 2 pixels has its own largest one."""
    network, image = net(1, width=1, padding="same", in_channels=1), torch.rand(1, 1, 6, 8)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    for layer in (network.down[0][0], network.down[0][2], network.down[1][0], network.down[1][2], network.merge[0][2]):
        layer.weight[0, 0, 1, 1] = 1
    network.up[0].weight[0, 0] = 1
    network.merge[0][0].weight[0, 1, 1, 1] = 1  # the skip's channels come first
    network.head.weight[1] = 1
    largest = image.numpy().reshape(3, 2, 4, 2).max(axis=(1, 3))
    np.testing.assert_allclose(network(image)[0, 1], largest.repeat(2, axis=0).repeat(2, axis=1))


def test_a_network_without_poolings_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.network\.depth=0"):
        net(0)
