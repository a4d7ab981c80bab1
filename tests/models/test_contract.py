"""What every model of conf/model keeps to, whichever its task."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, MakeConfig, MakeInfo
from pycocotools import mask as coco_mask
from torch import nn

from seg.data.sample import Prediction, Sample
from seg.loading.batch import Batch, collate
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.dry_run import check_sizes, freeze_unused

TASKS = {
    path.stem: yaml.safe_load(path.read_text())["task"] for path in sorted((ROOT / "conf/model").glob("*.yaml")) if path.stem != "auto"
}
CASES = {
    (name if isinstance(tasks, str) else f"{name}:{task}"): task
    for name, tasks in TASKS.items()
    for task in ([tasks] if isinstance(tasks, str) else tasks if name.endswith("small") else tasks[:1])
}
"""A model, and its task behind it where it has several: the task. Of a large and a small one of a kind the small one is tried for all."""
ANY_SCORE = ["model.network.score_thresh=0.0"]  # an untrained network is sure of nothing
FEW_BOXES = ["model.network.rpn_post_nms_top_n=[100,50]", "model.network.box_batch_size_per_image=16"]
SMALL_ENCODER = ["model.network.encoder_name=tu-mobilenetv3_small_050"]
NARROW_DECODER = ["model.network.decoder_channels=[32,16,16,8,8]"]
NARROW_FCN = ["model.network.width=0.125", "model.network.fc_channels=256", "model.network.dropout=0.1"]
SMALLER_SWIN = [
    "model.network.architecture.backbone_config.embed_dim=24",
    "model.network.architecture.backbone_config.depths=[1,1,1,1]",
    *(f"+model.network.architecture.{name}=32" for name in ("feature_size", "mask_feature_size", "hidden_dim", "dim_feedforward")),
    "+model.network.architecture.encoder_layers=1",
    "+model.network.architecture.decoder_layers=3",
]
SMALLER_VIT = ["model.network.architecture.hidden_size=48", "model.network.architecture.num_hidden_layers=4"]
LIBRARY = ("deeplabv3", "deeplabv3plus", "fpn", "pspnet", "pan", "linknet", "manet", "upernet")
SMALLER = {
    **{name: ["model.network.encoder_name=tu-test_resnet"] for name in LIBRARY},
    "segformer": ["model.network.decoder_segmentation_channels=32"],
    "unet": ["model.network.encoder_name=tu-test_resnet", *NARROW_DECODER],
    "unet_small": [],
    "unetplusplus_deep": [*SMALL_ENCODER, *NARROW_DECODER],
    "attention_unet": [*SMALL_ENCODER, *NARROW_DECODER],
    "unet_paper": ["model.network.depth=2", "model.network.width=8", "model.network.dropout=0.1"],
    **dict.fromkeys(("fcn32s", "fcn16s", "fcn8s"), NARROW_FCN),
    "mask_rcnn_small": [*FEW_BOXES, "model.scale=[64,96]"],
    "mask_rcnn": ["model.network.encoder_name=resnet18", "model.network.fpn_channels=32", *FEW_BOXES, "model.scale=[64,96]"],
    "maskrcnn_resnet50_fpn": [*FEW_BOXES, "model.scale=[64,96]"],
    "maskrcnn_resnet50_fpn_v2": [*FEW_BOXES, "model.scale=[64,96]"],
    **{
        name: [*SMALL_ENCODER, *ANY_SCORE]
        for name in ("retinanet_small", "ssd_small", "ssdlite_small", "yolo_small", "yolo_seg", "efficientdet_small")
    },
    "fcos_small": ANY_SCORE,
    ":panoptic": ["+model.adapter.segment_score=0.0"],
    "panoptic_fpn_small": ["task.model.thing_score=0.0"],
    "mask2former": [*SMALLER_SWIN, "model.scale=[64,96]"],
    "eomt": [*SMALLER_VIT, "model.scale=[64,96]"],
}
LARGER = ("mask_rcnn", "maskrcnn_resnet50_fpn", "deeplabv3_resnet50", "fcn16s", "mask2former", "eomt")
"""Built of the parts of others that are tried, at other sizes."""
HEAVY = ("fcn", "maskrcnn_resnet50_fpn_v2", "deeplabv3_mobilenet_v3_large")
SIMILAR = (
    "attention_unet",
    "unetplusplus_deep",
    "dpt",
    "pan",
    "deeplabv3",
    "pspnet",
    "linknet",
    "manet",
    "upernet",
    "segformer",
    "lraspp_mobilenet_v3_large",
    "fcn32s",
)
"""Of libraries, or with fewer skips, as others that are tested quickly."""

MODELS = [
    pytest.param(name, marks=pytest.mark.slow) if option in HEAVY + SIMILAR else name
    for name, option in ((name, name.partition(":")[0]) for name in CASES)
    if option not in LARGER
]

Build = Callable[..., SegmentationModel]


def noise(height: int, width: int, channels: int = 3, count: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(256, size=(count, channels, height, width)).astype(np.uint8))


def quadrants(size: int = 64) -> Batch:
    """Two images whose three classes are their three colours, with a strip that is ignored; the patches are instances, too."""
    labels = np.zeros((2, size, size), np.uint8)
    labels[0, : size // 2, size // 4 :] = 1
    labels[0, size // 2 :, size // 2 :] = 2
    labels[1, :, : size // 2] = 2
    labels[1, size // 3 :, size // 2 :] = 1
    images = np.array([[200, 30, 40], [40, 190, 60], [20, 60, 210]], np.uint8)[labels]
    ids = labels.astype(np.int32)[..., None]
    labels[:, :, -3:] = 255
    kinds, crowd = np.array([1, 2], np.int32), np.zeros(2, bool)
    return collate([Sample(str(i), images[i], labels[i], ids[i], kinds, crowd) for i in range(2)])


def same(a: Prediction, b: Prediction, tolerance: float = 0) -> bool:
    """Whether two predictions say the same; tolerance: of scores, of boxes in pixels, and of the share of pixels."""
    if a.semantic is not None:
        return bool((a.semantic != b.semantic).mean() <= tolerance)
    if len(a.scores) != len(b.scores) or not np.array_equal(a.categories, b.categories):
        return False
    masks = np.mean([coco_mask.decode(x) != coco_mask.decode(y) for x, y in zip(a.masks, b.masks, strict=True)]) if a.masks else 0
    boxes = np.abs(a.boxes - b.boxes).max(initial=0)
    return bool(np.abs(a.scores - b.scores).max(initial=0) <= tolerance and boxes <= tolerance and masks <= tolerance)


@pytest.fixture(scope="class")
def build(request: pytest.FixtureRequest, make_config: MakeConfig, make_info: MakeInfo) -> Build:
    """Makes the model of the class's configuration: (seed=0, channels=3, overrides=())."""

    def make(seed: int = 0, channels: int = 3, overrides: tuple[str, ...] = ()) -> SegmentationModel:
        name = request.param.partition(":")[0]
        torch.manual_seed(seed)
        smaller = [*SMALLER.get(name, ()), *SMALLER.get(request.param.replace(name, ""), ())]
        config = make_config(f"task={CASES[request.param]}", f"model={name}", *smaller, *overrides)
        return build_model(config, make_info(channels=channels, background=True))

    return make


@pytest.fixture(scope="class")
def fresh(build: Build) -> SegmentationModel:
    """Untrained, in evaluation mode."""
    return build().eval()


@pytest.mark.parametrize("build", MODELS, indirect=True)
class TestContract:
    @pytest.mark.parametrize("size", [(37, 53), (64, 32), (1, 70)], ids=str)
    def test_a_prediction_has_the_images_size_and_known_classes(self, fresh: SegmentationModel, size: tuple[int, int]) -> None:
        predictions = fresh.predict(noise(*size))
        assert len(predictions) == 2
        for prediction in predictions:
            if prediction.semantic is not None:
                assert prediction.semantic.shape == size
                assert prediction.semantic.dtype == np.uint8
                assert prediction.semantic.max() < 3
                continue
            count = len(prediction.scores)
            assert count or min(size) == 1
            if not count:  # of FCOS, which starts with sides of nothing
                continue
            assert (count, 4) == prediction.boxes.shape
            assert len(prediction.masks) == count
            assert set(prediction.categories) <= ({0, 1, 2} if prediction.segments else {1, 2}), "no instance is of the background"
            assert (np.diff(prediction.scores) <= 0).all(), "the best come first"
            assert prediction.boxes.min() >= 0
            assert (prediction.boxes[:, 2:] <= (size[1] + 1e-3, size[0] + 1e-3)).all()
            assert (prediction.boxes[:, 2:] > prediction.boxes[:, :2]).all()
            assert all(tuple(mask["size"]) == size and coco_mask.area(mask) > 0 for mask in prediction.masks)

    def test_the_network_sees_the_stride_and_scale_it_asks_for(self, build: Build) -> None:
        model = build(overrides=("model.scale=0.5",)).eval()
        seen = []
        first = getattr(model.network, "backbone", model.network)
        first.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
        model.predict(noise(70, 101, count=1))
        stride = model.stride
        assert seen == [(1, 3, -(-35 // stride) * stride, -(-51 // stride) * stride)]  # halves are rounded up

    def test_the_loss_falls_and_bf16_is_finite(self, build: Build) -> None:
        model, batch = build(), quadrants()
        check_sizes(model, 3, len(batch), [(64, 64)], [(37, 53)])
        unused = [name for name in freeze_unused(model, 3, (64, 64)) if "encoder." not in name]
        assert not unused, "a parameter takes no part"
        large = sum(p.numel() for p in model.parameters()) > 40e6  # which leap too far at the rate of the others
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4 if large else 1e-3)
        history = []
        model.train()
        chooses = hasattr(model.network, "transformer") or hasattr(model.network, "strides")
        for _ in range(24 if chooses else 8):  # queries, and cells, must find what is theirs first
            torch.manual_seed(0)  # detectors sample the boxes that they learn from
            optimizer.zero_grad()
            terms = model.losses(batch)
            assert all(t.ndim == 0 and torch.isfinite(t) for t in terms.values())
            total = torch.stack(list(terms.values())).sum()
            total.backward()
            optimizer.step()
            history.append(total.item())
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        assert min(history[-2:]) < 0.8 * history[0], history
        with torch.autocast("cpu", torch.bfloat16):
            terms = model.losses(batch)
            model.eval().predict(batch.images)
        assert all(t.dtype == torch.float32 and torch.isfinite(t) for t in terms.values())

    def test_a_batch_of_one_and_labels_that_are_all_ignored(self, build: Build) -> None:
        model, sample = build().train(), quadrants()
        for semantic, crowd in ((sample.semantic[:1], False), (torch.full_like(sample.semantic[:1], 255), True)):
            crowds, first = [torch.full((2,), crowd)], sample.split(1)[0]
            ids = torch.tensor([0, 1])
            learned = ids[:0] if crowd else ids
            one = replace(first, semantic=semantic, crowd=crowds, objects=[learned], crowds=[ids[len(learned) :] + 1])
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
            terms = model.losses(one)
            torch.stack(list(terms.values())).sum().backward()
            assert all(torch.isfinite(t) for t in terms.values())
            assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())

    def test_an_image_is_predicted_the_same_alone_and_in_company(self, fresh: SegmentationModel) -> None:
        images = noise(40, 48)
        assert same(fresh.predict(images)[1], fresh.predict(images[1:])[0], tolerance=2e-2)

    def test_a_state_dict_carries_all_that_a_prediction_needs(self, build: Build, tmp_path: Path) -> None:
        images = noise(40, 48)
        first, second = build(seed=1).eval(), build(seed=2).eval()
        with torch.no_grad():
            for parameter in first.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
            first.mean.add_(5)  # statistics of other data
        wanted = first.predict(images)
        assert not same(second.predict(images)[0], wanted[0])
        torch.save(first.state_dict(), tmp_path / "state.pt")
        second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        for a, b in zip(wanted, second.predict(images), strict=True):
            assert same(a, b)

    def test_images_of_other_channels_are_taken(self, build: Build) -> None:
        model = build(channels=5, overrides=("model.normalization=dataset",)).eval()
        assert len(model.predict(noise(37, 53, channels=5, count=1))) == 1
