"""`model=distance` behind the seam: its targets by hand, its loss, and what it predicts."""

import numpy as np
import pytest
import torch
from conftest import MakeConfig, MakeInfo
from torch import nn

from seg.core.errors import ArgumentError, ConfigError
from seg.data.sample import IGNORE, Sample
from seg.loading.batch import collate
from seg.models.build import build_model
from seg.models.distance import DistanceModel, distance_map
from seg.models.losses import CrossEntropy, DistanceLoss, Sum
from seg.models.losses.sum import Term

NAMES = ["background", "cell"]


def sample(height: int, width: int, overlap: bool = False, crowd: bool = False) -> Sample:
    """Two squares of 4 pixels, the second (of class 1) beside or over the first; the last row is ignored."""
    layers = np.zeros((height, width, 2), np.int32)
    layers[1:5, 1:5, 0] = 1
    layers[1:5, 3 if overlap else 5 : 7 if overlap else 9, 1] = 2
    semantic = (layers.max(axis=2) > 0).astype(np.uint8)
    semantic[-1] = IGNORE
    image = np.full((height, width, 3), 40, np.uint8)
    return Sample("a", image, semantic, layers, np.array([1, 1], np.int32), np.array([False, crowd]))


def model_of(network: nn.Module, loss: nn.Module | None = None, names: list[str] = NAMES, scale: float = 1.0) -> DistanceModel:
    return DistanceModel(network, loss, names, [0.0] * 3, [1.0] * 3, 1, scale, 0.1)


def test_targets_are_labels_and_distances_of_the_topmost_object() -> None:
    batch = collate([sample(8, 12, overlap=True), sample(6, 10)])
    labels, distances = model_of(nn.Identity()).targets(batch, 0, (8, 12))
    top = batch.instances[0].numpy().max(axis=2)
    assert np.array_equal(distances, distance_map(top))
    assert labels[:7].tolist() == (top > 0)[:7].astype(int).tolist()
    assert (labels[7] == IGNORE).all()
    labels, _ = model_of(nn.Identity()).targets(batch, 1, (8, 12))  # padded
    assert (labels[6:] == IGNORE).all()
    assert (labels[:, 10:] == IGNORE).all()
    assert labels[:5, :10].sum() == 32


def test_a_crowd_counts_nowhere_and_classes_without_a_background_are_shifted() -> None:
    batch = collate([sample(8, 12, crowd=True)])
    labels, _ = model_of(nn.Identity()).targets(batch, 0, (8, 12))
    assert labels[2].tolist() == [0] + [1] * 4 + [IGNORE] * 4 + [0] * 3
    labels, _ = model_of(nn.Identity(), names=["cell", "dust"]).targets(batch, 0, (8, 12))
    assert labels[2].tolist() == [0] + [2] * 4 + [IGNORE] * 4 + [0] * 3
    assert labels[7].tolist() == [0] * 12  # which class map value stands for no object is not known then


def test_targets_at_the_scale_that_the_network_sees() -> None:
    labels, distances = model_of(nn.Identity()).targets(collate([sample(8, 12)]), 0, (4, 6))
    assert labels.tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], [0] * 6, [IGNORE] * 6]  # rows and columns 1, 3, 5, ...
    assert distances[0].tolist() == pytest.approx(
        [1, 2 / 3, 1, 1, 0, 0]
    )  # the first pixel's object goes on above and beside it, so it is no edge


def test_the_loss_is_that_of_classes_and_the_excess_over_the_distances_entropy() -> None:
    torch.manual_seed(0)
    outputs, labels = torch.randn(1, 3, 2, 2), torch.tensor([[[0, 1], [1, IGNORE]]], dtype=torch.uint8)
    wanted = torch.tensor([[[0.0, 0.25], [1.0, 0.5]]])
    found = DistanceLoss(CrossEntropy("none", 0.0, [1, 1]), 2.0)(outputs, labels, wanted)
    given = outputs[0, 2].sigmoid()
    p = [(float(given[0, 0]), 0.0), (float(given[0, 1]), 0.25), (float(given[1, 0]), 1.0)]
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    cross = sum(-(w * np.log(q) if w else 0) - ((1 - w) * np.log(1 - q) if w < 1 else 0) for q, w in p)
    assert float(found["distance"]) == pytest.approx(2 * (cross - entropy) / 3, rel=1e-5)
    assert float(found["classes"]) == pytest.approx(float(CrossEntropy("none", 0.0, [1, 1])(outputs[:, :2], labels)))
    exact = torch.stack([torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.logit(wanted.clamp(1e-6, 1 - 1e-6))], dim=1)
    assert float(DistanceLoss(CrossEntropy("none", 0.0, [1, 1]), 1.0)(exact, labels, wanted)["distance"]) == pytest.approx(0, abs=1e-5)
    ignored = torch.full_like(labels, IGNORE)
    assert float(DistanceLoss(CrossEntropy("none", 0.0, [1, 1]), 1.0)(outputs, ignored, wanted)["distance"]) == 0


def test_terms_of_a_sum_keep_their_names_and_rise() -> None:
    loss = DistanceLoss(Sum({"ce": Term(weight=1.0, rise=1.0, loss=CrossEntropy("none", 0.0, [1, 1]))}), 1.0)
    model = model_of(nn.Conv2d(3, 3, 1), loss)
    batch = collate([sample(8, 12)])
    first = model.losses(batch)
    model.start_epoch(1)
    assert model.losses(batch)["ce"].item() == pytest.approx(2 * first["ce"].item())
    assert set(first) == {"ce", "distance"}


def test_it_learns_and_finds_what_it_learned() -> None:
    """Two squares that touch, told apart by their colours: a network of one pixel cannot know distances, one of a few can."""
    torch.manual_seed(0)
    ids = np.zeros((16, 16, 1), np.int32)
    ids[1:7, 1:7], ids[1:7, 7:13] = 1, 2
    image = np.where(ids > 0, 200, 40).astype(np.uint8).repeat(3, axis=2)
    image[1:7, 7] = 120
    batch = collate([Sample("a", image, (ids[..., 0] > 0).astype(np.uint8), ids, np.array([1, 1], np.int32), np.zeros(2, bool))])
    network = nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 3, 1))
    model = DistanceModel(network, DistanceLoss(CrossEntropy("none", 0.0, [1, 1]), 1.0), NAMES, [100.0] * 3, [80.0] * 3, 1, 1.0, 0.1)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(200):
        loss = torch.stack(list(model.losses(batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    (found,) = model.eval().predict(batch.images)
    assert sorted(box.tolist() for box in found.boxes) == [[1, 1, 7, 7], [7, 1, 13, 7]]
    assert found.categories.tolist() == [1, 1]
    assert (found.scores > 0.9).all()


def test_the_configuration_gives_it_an_output_more(make_config: MakeConfig, make_info: MakeInfo) -> None:
    for background, outputs in ((True, 4), (False, 5)):
        model = build_model(make_config("task=instance", "model=distance"), make_info(background=background))
        assert isinstance(model, DistanceModel)
        assert model.channels == outputs
        assert model.full_logits(torch.zeros(1, 3, 20, 30, dtype=torch.uint8)).shape == (1, outputs, 20, 30)


def test_mistakes_have_one_line(make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError, match=r"^loss: TermWeights learns no distances; set loss=distance"):
        build_model(make_config("task=instance", "model=distance", "loss=mask_rcnn"), make_info(background=True))
    with pytest.raises(ConfigError, match=r"^loss: Mask R-CNN brings its own losses"):
        build_model(make_config("task=instance", "loss=distance"), make_info(background=True))
    with pytest.raises(ConfigError, match=r"^model.adapter.peak=1.5: expected a share between 0 and 1"):
        build_model(make_config("task=instance", "model=distance", "model.adapter.peak=1.5"), make_info(background=True))
    with pytest.raises(ConfigError, match=r"^model=distance: is for task=instance, but task=semantic"):
        make_config("model=distance")
    with pytest.raises(ArgumentError, match=r"^distance_weight: expected a number above 0"):
        DistanceLoss(CrossEntropy("none", 0.0, [1, 1]), 0.0)
