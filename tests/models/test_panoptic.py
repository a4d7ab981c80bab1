"""Panoptic FPN behind the seam: its losses against those of Mask R-CNN and against loops over images, and segments without overlap."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeConfig, MakeInfo
from pycocotools import mask as coco_mask
from torch.nn import functional as F
from untrained import untrained

from seg.core.errors import ConfigError
from seg.data.labelmaps import with_stuff
from seg.data.sample import Prediction, Sample
from seg.loading.batch import Batch, collate
from seg.models.build import build_model
from seg.models.checkpoint import restore
from seg.models.instance import InstanceModel
from seg.models.panoptic import PanopticModel
from seg.models.postprocess import Postprocess

SMALL = ("model.network.encoder_name=tu-mobilenetv3_small_050", "model.network.semantic_channels=32")


@pytest.fixture
def model(make_config: MakeConfig, make_info: MakeInfo) -> PanopticModel:
    torch.manual_seed(0)
    found = build_model(make_config("task=panoptic", "model=panoptic_fpn_small", "loss=panoptic", *SMALL), make_info(background=True))
    assert isinstance(found, PanopticModel)
    return found


def sample(height: int, width: int) -> Sample:
    """A square on a bar, on ground, with a strip that is ignored."""
    ids = np.zeros((height, width, 2), np.int32)
    ids[20:24, 4:40, 0], ids[8:28, 8:28, 1] = 1, 2
    semantic = np.zeros((height, width), np.uint8)
    semantic[20:24, 4:40], semantic[8:28, 8:28], semantic[:, -5:] = 1, 2, 255
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Sample(f"{height}", image, semantic, ids, np.array([1, 2], np.int32), np.zeros(2, bool))


def batch(*sizes: tuple[int, int], stuff: bool = True) -> Batch:
    return collate([with_stuff(sample(*size), {1, 2}) if stuff else sample(*size) for size in sizes])


def test_things_are_learned_as_mask_rcnn_learns_them(model: PanopticModel, make_config: MakeConfig, make_info: MakeInfo) -> None:
    config = make_config("task=instance", "model=mask_rcnn_small", "loss=mask_rcnn", SMALL[0])
    alone = build_model(config, make_info(background=True))
    assert isinstance(alone, InstanceModel)
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("network.semantic")}
    alone.load_state_dict(state)
    segments, seen = batch((64, 64)), {}
    bare = batch((64, 64), stuff=False)
    # what is seen of the bar is less than the bar: the same id maps, so that the stuff alone is another
    bare.instances, bare.boxes = [i * (i <= 2) for i in segments.instances], [b[:2] for b in segments.boxes]
    for name, one, given in (("segments", model, segments), ("things", alone, bare)):
        torch.manual_seed(1)
        seen[name] = {key: value.item() for key, value in one.train().losses(given).items()}
    assert seen["segments"].pop("semantic") > 0
    assert seen["segments"] == pytest.approx(seen["things"], rel=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_class_of_each_pixel_is_learned_by_cross_entropy(model: PanopticModel, scale: float) -> None:
    model.scale = scale
    given = batch((64, 64), (48, 56))
    x, sizes = model.network_input(given.images, given.sizes)
    model.eval()
    with torch.no_grad():
        logits = model.network.semantic(model.network.backbone(x))
        total, count = 0.0, 0
        for index, ((height, width), (seen_height, seen_width)) in enumerate(zip(given.sizes, sizes, strict=True)):
            full = F.interpolate(logits[index : index + 1], scale_factor=4, mode="bilinear")[..., :seen_height, :seen_width]
            if scale != 1:
                full = F.interpolate(full, (height, width), mode="bilinear", antialias=True)
            chances = full[0].softmax(0)
            for y in range(height):
                for x_ in range(width):
                    label = int(given.semantic[index, y, x_])
                    if label != 255:
                        total, count = total - float(chances[label, y, x_].log()), count + 1
        terms = model.losses(given)
    assert count == 64 * 59 + 48 * 51
    assert terms["semantic"].item() == pytest.approx(total / count, rel=1e-4)


def test_segments_cover_what_has_stuff_and_never_overlap(model: PanopticModel) -> None:
    found = Prediction(
        scores=np.float32([0.9, 0.6, 0.3]),
        categories=np.int32([1, 2, 1]),
        boxes=np.zeros((3, 4), np.float32),
        masks=[_mask(0, 6), _mask(4, 10), _mask(10, 14)],
    )
    logits = torch.full((3, 8, 16), -4.0)
    logits[0] = 0
    logits[2, :, 12:] = 4  # a thing's class without a thing: of no segment
    said = model._segments(found, logits)
    ids = np.zeros((8, 16), int)
    for number, mask in enumerate(said.masks, start=1):
        inside = coco_mask.decode(mask).astype(bool)
        assert not ids[inside].any()
        ids[inside] = said.categories[number - 1] + 10
    # the third thing scores less than 0.5, and the second is better than the ground behind it
    assert ids[0].tolist() == [11] * 6 + [12] * 4 + [10] * 2 + [0] * 4
    assert said.scores.tolist() == pytest.approx([float(torch.softmax(torch.tensor([0.0, -4, -4]), 0)[0]), 0.9, 0.6], rel=1e-3)


def _mask(start: int, stop: int) -> dict[str, object]:
    inside = np.zeros((8, 16), np.uint8, order="F")
    inside[:, start:stop] = 1
    found = coco_mask.encode(inside)
    return {"size": [8, 16], "counts": found["counts"].decode()}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("task=panoptic", "model.network.semantic_channels=0"), "semantic_channels: expected a number such as 64"),
        (("task=instance", "model=mask_rcnn_small", "+model.network.semantic_channels=64"), "and 0 for task=instance"),
        (("task=panoptic", "loss=mask_rcnn"), "loss.semantic=0.0: does not fit the network; set loss=panoptic"),
        (("task=panoptic", "loss=ce"), "set loss=panoptic, which holds their weights"),
        (("task=panoptic", "model.network.semantic_channels=40"), "a multiple of 32"),
    ],
)
def test_settings_that_do_not_fit_are_refused(overrides: tuple[str, ...], said: str, make_config: MakeConfig, make_info: MakeInfo) -> None:
    with pytest.raises(ConfigError, match=said):
        build_model(make_config(*overrides, SMALL[0]), make_info(background=True))


def test_a_chosen_threshold_is_that_of_things_before_segments_are_made(tmp_path: Path) -> None:
    loaded = untrained(tmp_path / "best.ckpt", "task=panoptic", "model=panoptic_fpn_small", *SMALL)
    assert restore(loaded).thing_score == 0.5
    chosen = replace(loaded, postprocess=Postprocess(temperature=2.0, score_threshold=0.3))
    assert restore(chosen).thing_score == pytest.approx(0.09 / (0.09 + 0.49))
