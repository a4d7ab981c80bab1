"""The loss of masks and classes: against transformers' own, by hand where labels are ignored, and what memory it takes."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from scripts import lines_of
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.models.masks.loss import MaskLoss, Truth

transformers = pytest.importorskip("transformers")
PAPER = {"classifier": 2.0, "mask": 5.0, "dice": 5.0, "no_object": 0.1, "points": 300, "oversample": 3.0, "uncertain": 0.75}


def truth(ids: np.ndarray, classes: list[int], ignored: np.ndarray | None = None, seen: tuple[int, int] | None = None) -> Truth:
    """Of an id map (H, W, L), whose objects are 1..N; the network sees the whole map as it is."""
    height, width = ids.shape[:2]
    hidden = np.zeros((height, width), bool) if ignored is None else ignored
    wanted = torch.arange(len(classes)) + 1
    size = torch.tensor([width, height], dtype=torch.float32)
    return Truth(torch.from_numpy(ids), wanted, torch.tensor(classes), torch.from_numpy(hidden), size, seen or (height, width))


def three(height: int = 40, width: int = 48) -> np.ndarray:
    """A square and a bar that it overlaps, and a corner."""
    ids = np.zeros((height, width, 2), np.int16)
    ids[4:20, 4:20, 0], ids[12:16, 8:44, 1], ids[30:, 40:, 0] = 1, 2, 3
    return ids


def said(queries: int = 7, classes: int = 4, height: int = 20, width: int = 24) -> dict[str, list[torch.Tensor]]:
    torch.manual_seed(3)
    return {"classes": [torch.randn(1, queries, classes + 1)], "masks": [3 * torch.randn(1, queries, height, width)]}


@pytest.mark.parametrize("kind", ["mask2former", "eomt"])
def test_it_is_that_of_transformers(kind: str) -> None:
    from transformers.models.eomt.modeling_eomt import EomtLoss
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    loss = {"mask2former": Mask2FormerLoss, "eomt": EomtLoss}[kind]
    config = {"mask2former": transformers.Mask2FormerConfig, "eomt": transformers.EomtConfig}[kind](num_labels=4, train_num_points=300)
    ids, given = three(), said()
    dense = torch.from_numpy(np.stack([(ids == i).any(axis=2) for i in (1, 2, 3)])).float()
    torch.manual_seed(9)
    theirs = loss(config, {})(given["masks"][0], given["classes"][0], [dense], [torch.tensor([1, 3, 0])])
    torch.manual_seed(9)
    ours = MaskLoss(**PAPER)(given, [truth(ids, [1, 3, 0])])
    wanted = {"classifier": 2 * theirs["loss_cross_entropy"], "mask": 5 * theirs["loss_mask"], "dice": 5 * theirs["loss_dice"]}
    assert {k: v.item() for k, v in ours.items()} == pytest.approx({k: v.item() for k, v in wanted.items()}, rel=1e-5)


def test_labels_are_looked_up_as_masks_are_sampled() -> None:
    ids = three()
    dense = torch.from_numpy(np.stack([(ids == i).any(axis=2) for i in (1, 2, 3)])).float()
    points = torch.rand(3, 50, 2, generator=torch.Generator().manual_seed(0))
    points[0, :2] = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    wanted = F.grid_sample(dense[:, None], 2 * points[:, None] - 1, align_corners=False)[:, 0, 0]
    np.testing.assert_allclose(truth(ids, [0, 0, 0]).labels(points), wanted, atol=1e-5)
    assert 0 < wanted.mean() < 1


def test_what_is_ignored_and_padding_say_nothing() -> None:
    """Whatever the masks are there, the loss is the same, and its gradient there is 0."""
    ids, ignored = three(), np.zeros((40, 48), bool)
    ignored[:, 24:36] = True
    image = truth(ids, [1, 3, 0], ignored, seen=(40, 44))
    given, losses = said(height=40, width=48), []
    for value in (0.0, 50.0):
        changed = given["masks"][0].clone()
        changed[..., 25:35], changed[..., 45:] = value, value
        changed.requires_grad_()
        loss = MaskLoss(**PAPER | {"uncertain": 0.0, "points": 5000})
        torch.manual_seed(1)
        terms = loss({"classes": given["classes"], "masks": [changed]}, [image])
        torch.stack(list(terms.values())).sum().backward()
        assert changed.grad is not None
        assert changed.grad[..., 25:35].abs().max() == 0 == changed.grad[..., 45:].abs().max()
        assert changed.grad[..., :24].abs().max() > 0
        losses.append({k: v.item() for k, v in terms.items()})
    assert losses[0] == losses[1]
    assert 0 < losses[0]["mask"] < 20, "the bar's hidden part counts"


def test_layers_are_summed_and_an_image_without_objects_teaches_that_there_is_none() -> None:
    given, empty = said(), truth(np.zeros((40, 48, 0), np.int16), [])
    once = MaskLoss(**PAPER)(given, [empty])
    twice = MaskLoss(**PAPER)({name: layers * 2 for name, layers in given.items()}, [empty])
    assert (once["mask"], once["dice"]) == (0, 0)
    assert once["classifier"].item() == pytest.approx(2 * -given["classes"][0].log_softmax(-1)[..., -1].mean().item(), rel=1e-5)
    assert twice["classifier"].item() == pytest.approx(2 * once["classifier"].item(), rel=1e-5)


@pytest.mark.parametrize("change", [{"mask": -1.0}, {"points": 0}, {"oversample": 0.5}, {"uncertain": 1.5}])
def test_what_is_no_loss_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="loss: expected"):
        MaskLoss(**PAPER | change)


MANY = """
import resource
import torch
from transformers.models.mask2former import modeling_mask2former
from seg.models.masks.loss import MaskLoss, Truth

ids = torch.arange(512 * 512).view(512, 512, 1) // 32 % 16 + torch.arange(512)[:, None, None] // 24 * 16 + 1
ids[ids > 300] = 0
truth = Truth(ids.to(torch.int16), torch.arange(300) + 1, torch.zeros(300, dtype=torch.long), torch.zeros(512, 512, dtype=torch.bool),
              torch.tensor([512.0, 512.0]), (512, 512))
loss = MaskLoss(2.0, 5.0, 5.0, 0.1, 12544, 3.0, 0.75)
classes, masks = (torch.randn(shape, requires_grad=True) for shape in ((1, 300, 2), (1, 300, 128, 128)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
torch.stack(list(loss({"classes": [classes], "masks": [masks]}, [truth]).values())).sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_300_instances_of_512_x_512_pixels_fit(tmp_path: Path) -> None:
    """One copy of their masks as float32 would take 315 MB, and transformers' own loss has three."""
    assert resource.getrusage  # not on Windows
    (grown,) = lines_of(tmp_path, MANY)
    assert float(grown) < 600
