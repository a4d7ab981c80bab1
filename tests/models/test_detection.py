"""torchvision's detectors behind the seam: against their own way of taking images, with crowds, and what is refused."""

import numpy as np
import pytest
import torch
from conftest import MakeConfig, MakeInfo
from torch import nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from seg.core.errors import ConfigError
from seg.data.sample import Sample
from seg.loading.batch import Batch, collate
from seg.models.build import build_model
from seg.models.detection import DetectionModel
from seg.models.detector import AsGiven, DetectionLoss, without_crowds

ONES = {"classifier": 1.0, "box": 1.0, "centerness": 1.0, "objectness": 1.0, "rpn_box": 1.0}


def batch(crowd: bool = False) -> Batch:
    """An image (48, 64) with a square and a bar, of which the square may be a crowd."""
    ids = np.zeros((48, 64, 2), np.int32)
    ids[4:20, 4:20, 0], ids[12:16, 8:60, 1] = 1, 2
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return collate([Sample("a", image, np.zeros((48, 64), np.uint8), ids, np.array([1, 2], np.int32), np.array([crowd, False]))])


@pytest.mark.parametrize("name", ["faster_rcnn_small", "retinanet_small", "fcos_small", "ssd_small", "ssdlite_small"])
def test_losses_and_boxes_are_those_of_torchvision(name: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    """Its own transform normalises, scales by 2 and pads; ours came before it."""
    threshold = "box_score_thresh" if name.startswith("faster") else "score_thresh"
    changed = ["model.scale=[96,128]", "model.network.encoder_name=tu-mobilenetv3_small_050", f"model.network.{threshold}=0.01"]
    config = make_config("task=detection", f"model={name}", *changed)
    torch.manual_seed(0)
    model, given = build_model(config, make_info(background=True)), batch()
    assert isinstance(model, DetectionModel)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    whole = {"boxes": torch.tensor([[4.0, 4, 20, 20], [8, 12, 60, 16]]), "labels": torch.tensor([1, 2])}
    own = GeneralizedRCNNTransform(96, 128, [0.0] * 3, [1.0] * 3, size_divisible=32).eval()  # or it draws a size
    scaled = nn.functional.interpolate((given.images - model.mean) / model.std, (96, 128), mode="bilinear", antialias=True)
    torch.manual_seed(1)
    ours = model.train().losses(given)
    model.network.transform = own
    torch.manual_seed(1)
    theirs = DetectionLoss(**ONES)(model.network([scaled[0]], [{**whole, "boxes": whole["boxes"] * 2}]))
    assert len(ours) >= 2
    assert {k: v.item() for k, v in ours.items()} == pytest.approx({k: v.item() for k, v in theirs.items()}, rel=1e-4)
    with torch.no_grad():
        (found,) = model.eval().network([scaled[0]])
    model.network.transform = AsGiven()
    (said,) = model.predict(given.images)
    kept = (found["labels"] > 0) & (found["boxes"][:, 2:] > found["boxes"][:, :2]).all(dim=1)
    np.testing.assert_allclose(said.boxes, found["boxes"][kept] / 2, atol=1e-3)
    np.testing.assert_allclose(said.scores, found["scores"][kept], atol=1e-6)
    assert said.categories.tolist() == found["labels"][kept].tolist()
    assert len(said.scores)
    assert said.boxed


def test_what_lies_in_a_crowd_alone_has_the_mean_colour() -> None:
    given = batch(crowd=True)
    shown = without_crowds(given, torch.tensor([10.0, 20.4, 30.6]).view(1, 3, 1, 1)).images[0]
    crowd, bar = np.zeros((48, 64), bool), np.zeros((48, 64), bool)
    crowd[4:20, 4:20], bar[12:16, 8:60] = True, True
    np.testing.assert_array_equal(shown.numpy()[:, crowd & ~bar], np.tile([[10], [20], [31]], (crowd & ~bar).sum()))
    np.testing.assert_array_equal(shown.numpy()[:, ~crowd | bar], given.images[0].numpy()[:, ~crowd | bar])


def test_weights_of_losses_and_what_is_refused() -> None:
    terms = {"classification": torch.tensor(2.0), "bbox_regression": torch.tensor(3.0), "bbox_ctrness": torch.tensor(5.0)}
    assert DetectionLoss(**{**ONES, "box": 0.5, "centerness": 0.0})(terms) == {"classifier": 2.0, "box": 1.5}
    with pytest.raises(ConfigError, match=r"loss: expected weights of 0 or more"):
        DetectionLoss(**{**ONES, "box": -1.0})
    given = (["background", "x"], [0.0], [1.0], 32, 1.0)
    with pytest.raises(ConfigError, match=r"model.network: gave a Conv2d, expected a detector"):
        DetectionModel(nn.Conv2d(1, 1, 1), None, *given)


def test_classes_without_a_background_are_counted_from_0(make_config: MakeConfig, make_info: MakeInfo) -> None:
    config = make_config("task=detection", "model=fcos_small", "model.network.score_thresh=0.0")
    torch.manual_seed(0)
    model = build_model(config, make_info(background=False)).eval()
    assert isinstance(model, DetectionModel)
    (said,) = model.predict(torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
    assert set(said.categories.tolist()) <= {0, 1, 2}
    assert min(said.categories) >= 0
    with pytest.raises(ConfigError, match=r"set loss=detection"):
        DetectionModel(model.network, nn.CrossEntropyLoss(), ["a", "b", "c"], [0.0] * 3, [1.0] * 3, 32, 1.0)
