"""Blocks of the literature against direct formulas, and in a U-Net's decoder."""

from typing import get_args

import pytest
import torch
from conftest import MakeConfig, MakeInfo
from models.test_contract import noise, quadrants
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.models.blocks import Block, BlockUNet, Deformable, Involution, NonLocal, SqueezeExcitation, separable
from seg.models.build import build_model


def drawn(module: nn.Module) -> nn.Module:
    """All weights by chance, so that nothing is 0."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def at(x: Tensor, channel: int, y: float, column: float) -> float:
    """A channel of (C, H, W) between pixels, by bilinear interpolation; 0 outside."""
    top, left = int(torch.tensor(y).floor()), int(torch.tensor(column).floor())
    total = 0.0
    for row, share in ((top, top + 1 - y), (top + 1, y - top)):
        for place, part in ((left, left + 1 - column), (left + 1, column - left)):
            if 0 <= row < x.shape[1] and 0 <= place < x.shape[2]:
                total += float(x[channel, row, place]) * share * part
    return total


def test_squeeze_and_excitation() -> None:
    block, x = drawn(SqueezeExcitation(32)), torch.rand(1, 32, 3, 5)
    hidden = F.relu(block.squeeze.weight[..., 0, 0] @ x[0].mean((1, 2)) + block.squeeze.bias)
    factors = torch.sigmoid(block.excite.weight[..., 0, 0] @ hidden + block.excite.bias)
    torch.testing.assert_close(block(x)[0], x[0] * factors[:, None, None])


def test_non_local_is_a_weighted_mean_over_all_pixels() -> None:
    block, x = drawn(NonLocal(4)), torch.rand(1, 4, 4, 6)
    theta, phi, g = (getattr(block, name)(x)[0] for name in ("theta", "phi", "g"))
    phi, g = (F.max_pool2d(t, 2).flatten(1) for t in (phi, g))
    found = block(x)[0]
    for row in range(4):
        for column in range(6):
            weights = torch.tensor([float((theta[:, row, column] @ phi[:, j]).detach()) for j in range(6)]).exp()
            mean = sum(weights[j] * g[:, j] for j in range(6)) / weights.sum()
            expected = x[0, :, row, column] + block.out.weight[..., 0, 0] @ mean + block.out.bias
            torch.testing.assert_close(found[:, row, column], expected)


def test_a_deformable_convolution_reads_where_its_shifts_say() -> None:
    block, x = drawn(Deformable(2)), torch.rand(1, 2, 5, 4)
    shift, found = block.shift(x)[0], block(x)[0]
    for row in range(5):
        for column in range(4):
            total = torch.zeros(2)
            for place in range(9):
                y, left = (
                    row + place // 3 - 1 + float(shift[2 * place, row, column].detach()),
                    column + place % 3 - 1 + float(shift[2 * place + 1, row, column].detach()),
                )
                for channel in range(2):
                    total += block.conv.weight[:, channel, place // 3, place % 3] * at(x[0], channel, y, left)
            torch.testing.assert_close(found[:, row, column], total, atol=1e-5, rtol=1e-4)
    plain = Deformable(2)
    torch.testing.assert_close(plain(x), F.conv2d(x, plain.conv.weight, padding=1))  # without shifts at the start


def test_involution_weighs_the_pixels_around_a_place_by_its_own_channels() -> None:
    block, x = drawn(Involution(32, side=3)), torch.rand(1, 32, 4, 5)
    weights = block.span(block.reduce(x))[0].view(2, 9, 4, 5)  # two groups of 16 channels
    found = block(x)[0]
    for channel in (0, 15, 16, 31):
        for row in range(4):
            for column in range(5):
                around = [(row + k // 3 - 1, column + k % 3 - 1) for k in range(9)]
                expected = sum(
                    weights[channel // 16, k, row, column] * x[0, channel, y, left]
                    for k, (y, left) in enumerate(around)
                    if 0 <= y < 4 and 0 <= left < 5
                )
                torch.testing.assert_close(found[channel, row, column], expected)
    with pytest.raises(ConfigError, match="3 groups of 50 channels, and 50 is no multiple; take multiples of 16"):
        Involution(50)


def test_a_separable_convolution_is_that_of_the_product_of_row_and_column() -> None:
    block, x = drawn(separable(3)), torch.rand(1, 3, 6, 7)
    row, column, pointwise = (m.weight for m in block)
    whole = pointwise * torch.einsum("cj,ci->cij", row[:, 0, 0], column[:, 0, :, 0])[None]
    torch.testing.assert_close(block(x)[..., 1:-1, 1:-1], F.conv2d(x, whole))


@pytest.mark.parametrize("block", get_args(Block))
def test_a_decoder_with_each_block_learns(block: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    torch.manual_seed(0)
    model = build_model(make_config("model=unet_blocks", f"model.network.block={block}"), make_info()).train()
    optimizer, batch = torch.optim.Adam(model.parameters(), lr=0.003), quadrants()
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = sum(model.losses(batch).values())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert [p.semantic.shape for p in model.eval().predict(noise(37, 53))] == [(37, 53)] * 2


def test_parameters_of_each_block() -> None:
    """Beside a plain decoder of 32 and 16 channels; of a 3 x 3 convolution in its place 9 C^2 go."""
    counts = {b: sum(p.numel() for p in BlockUNet("resnet18", 2, [32, 16], 3, 2, b).parameters()) for b in get_args(Block)}
    more = {b: counts[b] - counts["none"] for b in counts}
    assert more["none"] == more["atrous"] == 0
    assert more["se"] == sum(2 * c * (c // 16) + c // 16 + c for c in (32, 16))
    assert more["nonlocal"] == 4 * 32 * 16 + 3 * 16 + 32
    assert more["deformable"] == sum(18 * 9 * c + 18 for c in (32, 16))
    assert more["involution"] == sum(c * (c // 4) + 2 * (c // 4) + (c // 4 + 1) * 49 * (c // 16) - 9 * c**2 for c in (32, 16))
    assert more["separable"] == sum(6 * c + c**2 - 9 * c**2 for c in (32, 16))
    with pytest.raises(ConfigError, match=r"block=gate: expected one of none, se, "):
        BlockUNet("resnet18", 2, [32, 16], 3, 2, "gate")  # type: ignore[arg-type]
