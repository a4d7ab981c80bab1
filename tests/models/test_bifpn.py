"""BiFPN against the formulas of its paper, node by node."""

import torch
from torch.nn import functional as F

from seg.models.bifpn import BiFpn
from seg.models.pyramid import EncoderPyramid


def test_each_node_is_a_sum_by_shares_of_what_the_paper_gives_it() -> None:
    torch.manual_seed(0)
    layer = BiFpn(4, 4).eval()
    for shares in layer.shares:
        torch.nn.init.uniform_(shares, -0.3, 1.0)
    given = [torch.randn(2, 4, *size) for size in ((12, 14), (6, 7), (3, 4), (2, 2))]
    assert [len(shares) for shares in layer.shares] == [2, 2, 2, 3, 3, 2]

    def node(number: int, *inputs: torch.Tensor) -> torch.Tensor:
        shares = [max(0.0, float(share)) for share in layer.shares[number].detach()]
        whole = sum(share * x for share, x in zip(shares, inputs, strict=True)) / (sum(shares) + 1e-4)
        _, depthwise, pointwise, norm = layer.nodes[number]
        moved = F.conv2d(F.conv2d(whole * whole.sigmoid(), depthwise.weight, padding=1, groups=4), pointwise.weight, pointwise.bias)
        return norm(moved)

    def larger(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        rows, columns = (torch.arange(n) * m // n for n, m in zip(like.shape[-2:], x.shape[-2:], strict=True))
        return x[:, :, rows[:, None], columns]

    def smaller(x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-1e9), 3, 2)

    first, second, third, last = given
    third_down = node(2, third, larger(last, third))
    second_down = node(1, second, larger(third_down, second))
    first_out = node(0, first, larger(second_down, first))
    second_out = node(3, second, second_down, smaller(first_out))
    third_out = node(4, third, third_down, smaller(second_out))
    last_out = node(5, last, smaller(third_out))
    for said, wanted in zip(layer(given), (first_out, second_out, third_out, last_out), strict=True):
        torch.testing.assert_close(said, wanted, atol=1e-5, rtol=1e-5)


def test_a_pyramid_has_as_many_as_are_asked_for_and_keeps_its_levels() -> None:
    plain, fused = (EncoderPyramid("tu-test_resnet", None, 3, 8, layers).eval() for layers in (0, 2))
    assert len(plain.fusion) == 0
    assert sum(isinstance(part, BiFpn) for part in fused.modules()) == 2
    images = torch.zeros(1, 3, 64, 96)
    assert {name: x.shape for name, x in fused(images).items()} == {name: x.shape for name, x in plain(images).items()}
