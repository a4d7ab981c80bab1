"""Each method on networks of which the answer is known by hand, and the evidence of every kind of model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from untrained import untrained

from seg.explain.methods import METHODS, Question, likeness, maps_of, question, randomised, share_inside
from seg.explain.subject import Explained
from seg.models.base import Subject
from seg.models.checkpoint import restore
from seg.models.panoptic import PanopticModel
from seg.models.rcnn import RegionModel
from seg.models.semantic import SemanticModel


def by_hand() -> SemanticModel:
    """Two classes: the first has 0 everywhere, the second two times the first channel less the second channel of each pixel."""
    network = nn.Conv2d(3, 2, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.0, 0, 0], [2, -1, 0]])[..., None, None])
    return SemanticModel(network, None, ["background", "cell"], [0.0] * 3, [1.0] * 3, 1, 1.0, 0.0).eval()


def asked() -> tuple[Question, np.ndarray]:
    """Of a region of 2 x 3 pixels in an image of 8 x 8, whose channels are 4, 2 and 9 everywhere."""
    images = torch.tensor([4, 2, 9], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8)
    region = np.zeros((8, 8), bool)
    region[3:5, 2:5] = True
    return question(by_hand(), images, Explained(1, region)), region


def test_evidence_is_the_mean_logit_of_the_region() -> None:
    given, _ = asked()
    assert given.evidence(given.x).tolist() == [pytest.approx(2 * 4 - 2)]


def test_maps_by_hand() -> None:
    """Each pixel of the region has a sixth of the evidence: gradients 2 / 6, integrated gradients (8 - 2) / 6; nothing lies elsewhere."""
    given, region = asked()
    maps = maps_of(given, (8, 8))
    assert set(maps) == {"gradients", "integrated gradients", "occlusion"}  # there is no encoder
    assert maps["gradients"] == pytest.approx(np.where(region, 2 / 6, 0))
    assert maps["integrated gradients"] == pytest.approx(np.where(region, 1.0, 0), abs=1e-6)
    # a window of 2 x 2 pixels at each pixel, in steps of one: it hides as many pixels of the region as lie in it
    covered = np.array([[region[y : y + 2, x : x + 2].sum() for x in range(7)] for y in range(7)])
    windows = np.array(
        [[[covered[v, u] for v in (y - 1, y) for u in (x - 1, x) if 0 <= v < 7 and 0 <= u < 7] for x in range(8)] for y in range(8)],
        dtype=object,
    )
    expected = np.array([[np.mean(cell) for cell in row] for row in windows])
    assert maps["occlusion"] == pytest.approx(expected, abs=1e-5)


def test_grad_cam_by_hand() -> None:
    """Features of one pixel in four: their weights are the mean derivatives, and what speaks against the answer is left out."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Conv2d(3, 2, 2, 2, bias=False)
            self.head = nn.Conv2d(2, 2, 1, bias=False)
            with torch.no_grad():
                self.encoder.weight.zero_()
                self.encoder.weight[0, 0], self.encoder.weight[1, 1] = 0.25, 0.25  # the mean of the first and of the second channel
                self.head.weight.copy_(torch.tensor([[0.0, 0], [1, -3]])[..., None, None])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = nn.functional.interpolate(self.head(self.encoder(x)), scale_factor=2.0, mode="nearest")
            return result

    model = SemanticModel(Network(), None, ["background", "cell"], [0.0] * 3, [1.0] * 3, 2, 1.0, 0.0).eval()
    image = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    image[0, 0, :2], image[0, 1, 2:] = 8, 8
    given = question(model, image, Explained(1, np.ones((4, 4), bool)))
    found = METHODS["Grad-CAM"](given)
    assert found is not None
    # the mean derivative of each of four features is 1 / 4 and -3 / 4 of the mean over 16 pixels, each seen by four
    assert found.tolist() == [[pytest.approx(8 / 4)] * 2, [0, 0]]


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=unet_small",),
        ("task=instance", "model=distance", "loss=distance"),
        ("task=instance", "model=mask_rcnn_small"),
        ("task=instance", "model=yolo_seg"),
        ("task=semantic", "model=eomt_small", "loss=masks"),
        ("task=instance", "model=mask2former_small", "loss=masks"),
        ("task=panoptic", "model=panoptic_fpn_small"),
    ],
    ids=lambda overrides: overrides[-1] if len(overrides) == 1 else overrides[1],
)
def test_every_kind_of_model_has_evidence(overrides: tuple[str, ...], tmp_path: Path) -> None:
    """It depends on the image, of several images each has its own, and padding has no part in it."""
    model = restore(untrained(tmp_path / "m.ckpt", *overrides)).eval()
    images = torch.randint(0, 256, (2, 3, 60, 52), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x, (size, *_) = model.network_input(images)
    region = torch.zeros(size)
    region[10:30, 20:40] = 1
    subject = Subject(1, region)
    x.requires_grad_(True)
    both = model.evidence(x, size, subject)
    (derivative,) = torch.autograd.grad(both[0], x)
    assert both.shape == (2,)
    assert derivative[0].abs().sum() > 0
    assert not derivative[1].any()
    assert model.evidence(x[1:], size, subject).tolist() == [pytest.approx(float(both[1].detach()), rel=1e-4, abs=1e-5)]


@torch.no_grad()
def test_evidence_of_stuff_is_the_mean_logit_of_its_branch(tmp_path: Path) -> None:
    """And that of a thing the logit of its box, as of Mask R-CNN."""
    model = restore(untrained(tmp_path / "m.ckpt", "task=panoptic", "model=panoptic_fpn_small")).eval()
    assert isinstance(model, PanopticModel)
    images = torch.randint(0, 256, (2, 3, 60, 52), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x, (size, *_) = model.network_input(images)
    region = torch.zeros(size)
    region[10:30, 20:40] = 1
    model.things = [1]
    thing = model.evidence(x, size, Subject(1, region))
    assert torch.equal(thing, RegionModel.evidence(model, x, size, Subject(1, region)))
    model.things = []
    full = F.interpolate(model.network.semantic(model.network.backbone(x)), x.shape[2:], mode="bilinear")
    expected = full[:, 1 + model.first_label, 10:30, 20:40].mean(dim=(1, 2))
    torch.testing.assert_close(model.evidence(x, size, Subject(1, region)), expected)
    assert not torch.allclose(thing, expected)


def test_a_model_without_evidence_says_so(tmp_path: Path) -> None:
    from seg.core.errors import ConfigError

    model = restore(untrained(tmp_path / "m.ckpt", "task=detection", "model=retinanet_small"))
    with pytest.raises(ConfigError, match="models of pixels, of distances, of masks, of prototypes and Mask R-CNN can"):
        model.evidence(torch.zeros(1, 3, 64, 64), (64, 64), Subject(1, torch.ones(64, 64)))


def test_the_copy_with_random_weights_is_another_and_always_the_same(tmp_path: Path) -> None:
    model = restore(untrained(tmp_path / "m.ckpt", "model=unet_small")).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = randomised(model), randomised(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    answers = [m.evidence(m.network_input(images)[0], (32, 32), Subject(1, torch.ones(32, 32))) for m in (model, first, second)]
    assert answers[1] == answers[2] != answers[0]


def test_figures_of_maps() -> None:
    values = np.array([[1.0, 3.0], [0.0, 4.0]])
    assert share_inside(values, np.array([[True, False], [False, True]])) == 5 / 8
    assert np.isnan(share_inside(np.zeros((2, 2)), np.ones((2, 2), bool)))
    assert likeness(values, values**2) == pytest.approx(1)
    assert likeness(values, -values) == pytest.approx(-1)
    assert likeness(values, np.ones((2, 2))) == 0
