"""Models of the zoo as exported files: benchmarks/exports.py makes the table of all of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import nn
from typed import typed
from untrained import CONVOLUTION, ROOT, untrained

from seg.core.errors import ConfigError
from seg.export.check import Instances, Pixels
from seg.export.graph import BinnedMean
from seg.models.distance import DistanceModel
from seg.predict.exported import open_exported
from seg.tiles.checkpoint import CheckpointNetwork

NARROW_FCN = ["model.network.width=0.125", "model.network.fc_channels=64"]
TINY = "model.network.encoder_name=tu-test_resnet"
SHALLOW = [TINY, "model.network.encoder_depth=3", "model.network.decoder_channels=[16,8,8]"]
DRAWN = ["paths.prepare=none", "check.images=1"]


@pytest.mark.parametrize(
    ("overrides", "form"),
    [
        pytest.param(["model=unet_small", *SHALLOW, "model.scale=0.5"], "onnx", id="unet_small-onnx"),
        pytest.param(["model=fcn8s", *NARROW_FCN], "openvino", id="fcn8s-openvino", marks=pytest.mark.slow),
        pytest.param(["model=deeplabv3plus", TINY], "onnx", id="deeplabv3plus-onnx", marks=pytest.mark.slow),
        pytest.param(
            ["model=unet_paper", "model.network.depth=2", "model.network.width=8"], "onnx", id="unet_paper-onnx", marks=pytest.mark.slow
        ),
        pytest.param(
            ["model=segformer", "model.network.decoder_segmentation_channels=32"],
            "openvino",
            id="segformer-openvino",
            marks=pytest.mark.slow,
        ),
        pytest.param(["model=pspnet", TINY], "onnx", id="pspnet-onnx", marks=pytest.mark.slow),
        *(
            pytest.param([f"model={name}"], form, id=f"{name}-{form}", marks=pytest.mark.slow)
            for name, form in (("eomt_small", "onnx"), ("mask2former_small", "openvino"))
        ),
    ],
)
def test_a_model_is_exported_for_any_size(tmp_path: Path, overrides: list[str], form: str) -> None:
    loaded = untrained(tmp_path / "best.ckpt", *overrides)
    made = typed("export", ROOT, [str(tmp_path / "best.ckpt"), f"format={form}", *DRAWN])
    assert isinstance(made.found, Pixels)
    assert made.found.logits is not None
    assert made.found.logits <= 1e-4 * made.found.span
    assert made.found.span > 0.01
    network, reference = open_exported(made.path, "cpu"), CheckpointNetwork(loaded, "cpu", "32-true")
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 3, 71, 103), dtype=np.uint8))
    wanted = reference.logits(images)
    torch.testing.assert_close(network.logits(images), wanted, atol=1e-4 * float(wanted.max() - wanted.min()), rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 6), (7, 13), (30, 17)], ids=str)
def test_bins_have_the_means_of_torchs_adaptive_pooling(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    for bins in ((2, 2), (3, 6), (6, 1)):
        torch.testing.assert_close(BinnedMean(bins)(x), nn.AdaptiveAvgPool2d(bins)(x))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), [("mask_rcnn_small", "onnx"), ("mask_rcnn_small", "openvino"), ("yolo_seg", "onnx")])
def test_boxes_with_masks_give_the_same_instances(tmp_path: Path, name: str, form: str) -> None:
    sure = ["model.network.score_thresh=0.001"] if name == "yolo_seg" else []
    loaded = untrained(tmp_path / "best.ckpt", "task=instance", f"model={name}", "model.scale=[96,144]", *sure)
    made = typed("export", ROOT, [str(tmp_path / "best.ckpt"), f"format={form}", *DRAWN])
    assert isinstance(made.found, Instances)
    assert made.found.instances > 50
    network, reference = open_exported(made.path, "cpu"), CheckpointNetwork(loaded, "cpu", "32-true")
    assert network.facts == reference.facts
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 3, 71, 103), dtype=np.uint8))
    for given, wanted in zip(network.predict(images), reference.predict(images), strict=True):
        assert (given.categories == wanted.categories).all()
        np.testing.assert_allclose(given.scores, wanted.scores, rtol=0, atol=1e-4)
        np.testing.assert_allclose(given.boxes, wanted.boxes, rtol=0, atol=1e-2)
        assert min(coco_mask.iou([g], [w], [0])[0, 0] for g, w in zip(given.masks, wanted.masks, strict=True)) > 0.98
    with pytest.raises(TypeError, match="has no logits of pixels"):
        network.logits(images)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["faster_rcnn_small", "retinanet_small", "fcos_small", "yolo_small"])
def test_detectors_give_the_same_boxes(tmp_path: Path, name: str) -> None:
    threshold = "box_score_thresh=0.001" if name.startswith("faster") else "score_thresh=0.001"
    loaded = untrained(tmp_path / "best.ckpt", "task=detection", f"model={name}", f"model.network.{threshold}")
    made = typed("export", ROOT, [str(tmp_path / "best.ckpt"), "format=onnx", *DRAWN])
    assert isinstance(made.found, Instances)
    assert made.found.instances > 50
    network, reference = open_exported(made.path, "cpu"), CheckpointNetwork(loaded, "cpu", "32-true")
    assert (network.facts, network.facts.answer) == (reference.facts, "boxes")
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 3, 71, 103), dtype=np.uint8))
    for given, wanted in zip(network.predict(images), reference.predict(images), strict=True):
        assert (given.categories == wanted.categories).all()
        np.testing.assert_allclose(given.scores, wanted.scores, rtol=0, atol=1e-4)
        np.testing.assert_allclose(given.boxes, wanted.boxes, rtol=0, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_maps_of_distances_give_the_same_objects(tmp_path: Path, form: str) -> None:
    settings = ["task=instance", "model=distance", "model.scale=0.5", "model.adapter.peak=0.05"]
    given = {"network": CONVOLUTION} if form == "openvino" else {}
    loaded = untrained(tmp_path / "best.ckpt", *settings, *([] if given else SHALLOW), **given)
    made = typed("export", ROOT, [str(tmp_path / "best.ckpt"), f"format={form}", *DRAWN])
    assert made.description.gives == "maps"
    assert made.description.peak == 0.05
    network, reference = open_exported(made.path, "cpu"), CheckpointNetwork(loaded, "cpu", "32-true")
    assert network.facts == reference.facts
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 3, 71, 103), dtype=np.uint8))
    assert isinstance(reference.model, DistanceModel)
    with torch.inference_mode():
        wanted = reference.model.full_logits(images)
    logits, distances = network.maps(images)
    torch.testing.assert_close(logits, wanted[:, :-1], atol=1e-4 * float(wanted.max() - wanted.min()), rtol=0)
    torch.testing.assert_close(distances, wanted[:, -1].sigmoid(), atol=1e-4, rtol=0)
    found = sum(len(prediction.scores) for prediction in reference.predict(images))
    assert sum(len(prediction.scores) for prediction in network.predict(images)) == found > 0
    with pytest.raises(TypeError, match="has no logits of pixels"):
        network.logits(images)


@pytest.mark.slow
def test_an_image_without_instances_has_none(tmp_path: Path) -> None:
    untrained(tmp_path / "best.ckpt", "task=instance", "model.network.box_score_thresh=0.9999")
    network = open_exported(typed("export", ROOT, [str(tmp_path / "best.ckpt"), *DRAWN]).path, "cpu")
    (prediction,) = network.predict(torch.zeros(1, 3, 50, 60, dtype=torch.uint8))
    assert (len(prediction.scores), prediction.boxes.shape, prediction.masks) == (0, (0, 4), [])


def test_masks_of_whole_images_are_refused(tmp_path: Path) -> None:
    untrained(tmp_path / "best.ckpt", "task=instance", "model=eomt_small")
    with pytest.raises(ConfigError, match=r"whose model seg.models.masks.instance.Model is of a kind of its own; exported files hold"):
        typed("export", ROOT, [str(tmp_path / "best.ckpt"), *DRAWN])
