"""YOLO's cells, assignment and losses against slow definitions."""

from itertools import product
from math import exp, log

import pytest
import torch
from conftest import MakeConfig, MakeInfo
from torch import Tensor
from torchvision.ops import box_iou

from seg.core.errors import ConfigError
from seg.models.build import build_model
from seg.models.detector import Given
from seg.models.dry_run import check_sizes
from seg.models.yolo import BOX, FINE, PRIOR, Yolo, YoloHead, assign, cells, losses

SMALL = ("tu-test_resnet", 16)


def sigmoid(x: Tensor) -> float:
    return 1 / (1 + exp(-float(x)))


def iou(a: Tensor, b: Tensor) -> float:
    width, height = (max(0.0, min(float(a[i + 2]), float(b[i + 2])) - max(float(a[i]), float(b[i]))) for i in (0, 1))
    both = width * height
    return both / (sum(float((t[2] - t[0]) * (t[3] - t[1])) for t in (a, b)) - both)


def slow_assignment(
    boxes: Tensor, objects: Tensor, kinds: Tensor, middles: Tensor, sides: Tensor, truth: Tensor, labels: Tensor
) -> dict[int, int]:
    """{cell: object}, by the paper's words."""
    costs: dict[tuple[int, int], float] = {}
    overlaps: dict[tuple[int, int], float] = {}
    for cell in range(len(boxes)):
        for index in range(len(truth)):
            (x, y), (left, top, right, bottom) = middles[cell].tolist(), truth[index].tolist()
            inside = left < x < right and top < y < bottom
            reach = 2.5 * float(sides[cell])
            near = abs(x - (left + right) / 2) < reach and abs(y - (top + bottom) / 2) < reach
            if not (inside or near):
                continue
            overlaps[cell, index] = iou(boxes[cell], truth[index])
            entropy = 0.0
            for kind in range(kinds.shape[1]):
                chance = (sigmoid(objects[cell]) * sigmoid(kinds[cell, kind])) ** 0.5
                entropy -= log(chance if kind == int(labels[index]) - 1 else 1 - chance)
            costs[cell, index] = entropy - 3 * log(overlaps[cell, index] + 1e-8) + 1e5 * (not (inside and near))
    taken: dict[int, list[int]] = {}
    for index in range(len(truth)):
        best = sorted((v for (_, i), v in overlaps.items() if i == index), reverse=True)[:10]
        number = max(1, int(sum(best)))
        for cell in sorted((c for c, i in costs if i == index), key=lambda c: costs[c, index])[:number]:
            taken.setdefault(cell, []).append(index)
    return {cell: min(found, key=lambda i: costs[cell, i]) for cell, found in taken.items()}


@pytest.mark.parametrize("seed", range(8))
def test_cells_are_given_to_objects_as_a_slow_assignment_gives_them(seed: int) -> None:
    torch.manual_seed(seed)
    features = [torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4)]
    middles, sides = cells(features, [8, 16])
    corner = torch.rand(3, 2) * 40
    truth = torch.cat([corner, corner + 4 + torch.rand(3, 2) * 30], dim=1)
    labels = torch.randint(1, 4, (3,))
    spread = torch.rand(80, 2) * 20 + 2
    boxes = torch.cat([middles - spread, middles + spread], dim=1)
    given = boxes, torch.randn(80), torch.randn(80, 3), middles, sides, truth, labels
    chosen, owner, overlap = assign(*given)
    assert dict(zip(chosen.tolist(), owner.tolist(), strict=True)) == slow_assignment(*given)
    torch.testing.assert_close(overlap, box_iou(boxes, truth)[chosen, owner])


def test_middles_lie_half_a_stride_within_a_cell() -> None:
    middles, sides = cells([torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 1)], [4, 8])
    assert middles.tolist() == [[2, 2], [6, 2], [10, 2], [2, 6], [6, 6], [10, 6], [4, 4]]
    assert sides.tolist() == [4] * 6 + [8]


def test_losses_of_a_box_by_hand() -> None:
    """Of four cells one has the object, whose box is 8 x 8 where 8 x 4 was said: IoU and GIoU 0.5."""
    middles, sides = cells([torch.zeros(1, 1, 2, 2)], [8])
    boxes = torch.cat([middles - 4, middles + 4], dim=1)[None].clone()
    boxes[0, 0] = torch.tensor([0.0, 0, 8, 4])
    objects, kinds = torch.full((1, 4), -20.0), torch.full((1, 4, 2), 0.0)
    objects[0, 0] = 20.0
    target = {"boxes": torch.tensor([[0.0, 0, 8, 8]]), "labels": torch.tensor([2])}
    found = losses(boxes, objects, kinds, middles, sides, [target])
    assert found["bbox_regression"].item() == pytest.approx(BOX * 0.5)
    assert found["classification"].item() == pytest.approx(2 * log(2), rel=1e-5)  # of 0.5 each, whatever the target
    assert found["loss_objectness"].item() == pytest.approx(0, abs=1e-6)
    nothing = losses(boxes, objects, kinds, middles, sides, [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}])
    assert nothing["loss_objectness"].item() == pytest.approx(20, rel=1e-5)
    assert nothing["classification"] == nothing["bbox_regression"] == 0


def test_boxes_begin_as_cells_and_the_best_of_a_class_is_kept() -> None:
    network = Yolo(*SMALL, [32], 0.3, 0.5, 10, 3, 3).eval()
    for layer in (network.head.box, network.head.object, network.head.kind):
        torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(network.head.box.bias)
    images = Given(torch.rand(1, 3, 64, 96), [(64, 80)])
    assert [len(one["boxes"]) for one in network(images)] == [0], f"a chance of {PRIOR} each"
    torch.nn.init.constant_(network.head.object.bias, 9.0)
    network.head.kind.bias.data.copy_(torch.tensor([-1.0, 0.2]))
    (found,) = network(images)
    expected = [[0, 0, 32, 32], [32, 0, 64, 32], [64, 0, 80, 32], [0, 32, 32, 64], [32, 32, 64, 64], [64, 32, 80, 64]]
    assert sorted(found["boxes"].tolist()) == sorted([float(v) for v in b] for b in expected)
    assert found["labels"].unique().tolist() == [2]
    assert found["scores"].tolist() == pytest.approx([sigmoid(torch.tensor(9.0)) * sigmoid(torch.tensor(0.2))] * 6)


def test_the_head_is_shared_and_strides_are_known() -> None:
    head = YoloHead(8, 3)
    assert head([torch.zeros(2, 8, 4, 4), torch.zeros(2, 8, 2, 2)]).shape == (2, 20, 8)
    with pytest.raises(ConfigError, match=r"model.network.strides=\[8, 12\]: expected some of 4, 8, 16, 32, 64"):
        Yolo(*SMALL, [8, 12], 0.3, 0.5, 10, 3, 3)


def test_a_mask_is_a_sum_of_prototypes_within_its_box_and_its_loss_a_mean_over_it() -> None:
    """Point by point: prototypes between their cells' middles, an id map at the quarters of each part of the box."""
    torch.manual_seed(0)
    network = Yolo(*SMALL, [8], 0.3, 0.5, 10, 3, 3, prototypes=3, mask_bins=5).eval()
    maps, share, box = torch.rand(3, 12, 16), torch.tensor([[0.5, -0.7, 0.2], [-0.1, 0.3, 0.9]]), [5.0, 3.0, 23.0, 17.0]
    ids = torch.zeros(24, 32, 1, dtype=torch.int16)
    ids[4:11, 8:20] = 2

    def at(row: Tensor, x: float, y: float) -> float:
        column, line = x / FINE - 0.5, y / FINE - 0.5
        left, top = int(column), int(line)
        a, b = column - left, line - top
        summed = (row[:, None, None] * maps).sum(0)
        upper, lower = (float(summed[t, left] * (1 - a) + summed[t, left + 1] * a) for t in (top, top + 1))
        return upper * (1 - b) + lower * b

    loss, chances = 0.0, torch.zeros(2, 5, 5)
    for cell, line, column in product(range(2), range(5), range(5)):
        xs = [box[0] + (column + step) / 5 * (box[2] - box[0]) for step in (0.25, 0.5, 0.75)]
        ys = [box[1] + (line + step) / 5 * (box[3] - box[1]) for step in (0.25, 0.5, 0.75)]
        truth = sum(int(ids[int(y), int(x), 0]) == 2 for x in xs[::2] for y in ys[::2]) / 4
        chance = 1 / (1 + exp(-at(share[cell], xs[1], ys[1])))
        chances[cell, line, column] = chance
        loss -= (truth * log(chance) + (1 - truth) * log(1 - chance)) / 25
    target = {"boxes": torch.tensor([box]), "masks": ids, "ids": torch.tensor([2]), "factor": torch.ones(4)}
    found = network._mask_sum(maps[None], share[None], [target], 0, torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert found.item() == pytest.approx(loss, rel=1e-5)
    crops = network._cropped(maps, torch.tensor([box]))[0]
    torch.testing.assert_close(torch.einsum("np,pyx->nyx", share, crops).sigmoid(), chances)


def test_evidence_is_the_log_probability_of_the_cell_whose_box_overlaps_most() -> None:
    torch.manual_seed(0)
    network, box = Yolo(*SMALL, [8], 0.3, 0.5, 10, 3, 3, prototypes=3).eval(), torch.tensor([[8.0, 16.0, 40.0, 40.0]])
    x = torch.randn(2, 3, 64, 64, requires_grad=True)
    given = network.evidence(x, box, 2)
    boxes, (objects, kinds, _), _, _ = network._said(x)
    for found, own, seen, kind in zip(given, boxes, objects, kinds, strict=True):
        best = max(range(len(own)), key=lambda cell: iou(own[cell].detach(), box[0]))
        assert found.item() == pytest.approx(log(sigmoid(seen[best, 0].detach())) + log(sigmoid(kind[best, 1].detach())), rel=1e-4)
    given.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_instances_need_prototypes(make_config: MakeConfig, make_info: MakeInfo) -> None:
    config = make_config("task=instance", "model=yolo_seg", "model.network.prototypes=0", f"model.network.encoder_name={SMALL[0]}")
    with pytest.raises(ConfigError, match=r"expected seg.models.yolo.Yolo with prototypes=16"):
        check_sizes(build_model(config, make_info(background=True)), 3, 2, [(64, 64)], [(64, 64)])
