"""Mask R-CNN behind the seam: against torchvision's own forward pass, and its masks against loops over pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeConfig, MakeInfo
from pycocotools import mask as coco_mask
from scipy.ndimage import binary_dilation
from torch import nn
from torchvision.models import resnet50
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from seg.core.errors import ConfigError
from seg.data.labelmaps import layers_from_masks, mask_of
from seg.data.sample import Sample
from seg.loading.batch import Batch, collate
from seg.models.build import build_model
from seg.models.instance import InstanceModel, TermWeights
from seg.models.pyramid import EncoderPyramid
from seg.models.roi_masks import box_mask, mask_targets
from seg.models.weights import load_weights, read_weights

SIZE = 64


def discs(count: int, seed: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """(N, size, size) bool discs, which overlap, and an image (size, size, 3) of them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    centers, radii = rng.uniform(8, size - 8, (count, 2)), rng.uniform(4, 14, count)
    masks = np.array([(x - cx) ** 2 + (y - cy) ** 2 < r**2 for (cx, cy), r in zip(centers, radii, strict=True)]).reshape(-1, size, size)
    image = rng.integers(0, 60, (size, size, 3)).astype(np.uint8)
    for mask in masks:
        image[mask] = rng.integers(100, 255, 3)
    return masks, image


def batch_of(counts: list[int], crowd: tuple[int, ...] = ()) -> Batch:
    """An image for each number of discs; `crowd`: the discs of each image that are crowds."""
    samples = []
    for seed, count in enumerate(counts):
        masks, image = discs(count, seed)
        ids = layers_from_masks(masks, SIZE, SIZE)
        kinds = np.array([1 + i % 2 for i in range(count)], np.int32)
        crowds = np.array([i in crowd for i in range(count)], bool)
        samples.append(Sample(str(seed), image, np.zeros((SIZE, SIZE), np.uint8), ids, kinds, crowds))
    return collate(samples)


@pytest.fixture
def model(make_config: MakeConfig, make_info: MakeInfo) -> InstanceModel:
    torch.manual_seed(0)
    found = build_model(make_config("task=instance"), make_info(background=True))
    assert isinstance(found, InstanceModel)
    return found


class AsItIs(GeneralizedRCNNTransform):
    """torchvision's transform, which scales and normalises, made to leave the batch to the very bit."""

    def forward(self, images, targets=None):
        return ImageList(torch.stack(list(images)), [tuple(image.shape[-2:]) for image in images]), targets


def torchvision_inputs(model: InstanceModel, batch: Batch) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """The same batch for torchvision's own forward."""
    model.network.transform = AsItIs(SIZE, SIZE, [0.0], [1.0]).train(model.training)
    x, _ = model.network_input(batch.images)
    targets = []
    for ids, kinds, boxes in zip(batch.instances, batch.categories, batch.boxes, strict=True):
        masks = [torch.from_numpy(mask_of(ids.numpy(), number + 1)) for number in range(len(kinds))]
        dense = torch.stack(masks).byte() if masks else torch.zeros(0, SIZE, SIZE, dtype=torch.uint8)
        targets.append({"boxes": boxes, "labels": kinds.long(), "masks": dense})
    return list(x), targets


@pytest.mark.parametrize("counts", [[3, 5], [0, 4], [0, 0], [1, 9]], ids=str)
def test_losses_are_torchvisions(model: InstanceModel, counts: list[int]) -> None:
    batch = batch_of(counts)
    model.train()
    torch.manual_seed(7)
    ours = model.losses(batch)
    images, targets = torchvision_inputs(model, batch)
    torch.manual_seed(7)
    theirs = model.network(images, targets)
    names = {"objectness": "objectness", "rpn_box": "rpn_box_reg", "classifier": "classifier", "box": "box_reg"}
    for name, other in names.items():
        torch.testing.assert_close(ours[name], theirs[f"loss_{other}"], rtol=5e-3, atol=1e-4)
    near = pytest.approx(theirs["loss_mask"].item(), rel=0.1)
    assert ours["mask"].item() == near, "theirs looks half a pixel beside it"
    assert (ours["mask"] == 0) == (sum(counts) == 0)


def test_predictions_are_torchvisions(model: InstanceModel) -> None:
    batch = batch_of([3, 5])
    model.eval()
    with torch.no_grad():
        last = model.network.roi_heads.mask_predictor.mask_fcn_logits
        last.weight.zero_()
        last.bias.fill_(5)  # masks that fill their boxes, not noise around 0.5
    ours = model.predict(batch.images)
    images, _ = torchvision_inputs(model, batch)
    with torch.inference_mode():
        theirs = model.network(images)
    for a, b in zip(ours, theirs, strict=True):
        kept = [i for i, mask in enumerate(b["masks"][:, 0] >= 0.5) if mask.any()]
        assert len(a.scores) > 5
        assert abs(len(a.scores) - len(kept)) <= max(3, len(kept) // 5), "thin masks may be empty in one way of drawing"
        for score, category, box, mask in zip(a.scores, a.categories, a.boxes, a.masks, strict=True):
            apart = np.abs(b["boxes"].numpy() - box).max(1) + (b["labels"].numpy() != category)
            i = int(apart.argmin())
            assert apart[i] < 1e-2
            assert score == pytest.approx(b["scores"][i].item(), abs=1e-5)
            other = (b["masks"][i, 0] >= 0.5).numpy()
            own = coco_mask.decode(mask).astype(bool)
            assert not (own & ~other).any(), "torchvision draws its masks a pixel wider"
            assert not (other & ~binary_dilation(own, np.ones((3, 3)), iterations=2)).any()


def test_training_learns_nothing_from_crowds(model: InstanceModel) -> None:
    with_crowd, without = batch_of([4], crowd=(0, 1, 2, 3)), batch_of([4])
    model.train()
    target = model.target(with_crowd, 0, (SIZE, SIZE))
    assert len(target["boxes"]) == 0
    assert target["crowd"][-1, -1] == mask_of(without.instances[0].numpy(), 1).sum() + sum(
        (mask_of(without.instances[0].numpy(), n) & ~np.any([mask_of(without.instances[0].numpy(), k) for k in range(1, n)], axis=0)).sum()
        for n in (2, 3, 4)
    )
    labels = {}
    network = model.network
    compute = network.rpn.compute_loss
    network.rpn.compute_loss = lambda o, d, given, r: labels.update(rpn=given[0].clone()) or compute(o, d, given, r)
    model.losses(with_crowd)
    anchors = network.rpn.anchor_generator(
        ImageList(torch.zeros(1, 3, SIZE, SIZE), [(SIZE, SIZE)]), [torch.zeros(1, 1, SIZE // s, SIZE // s) for s in (4, 8, 16, 32, 64)]
    )[0]
    pixels = np.any([mask_of(without.instances[0].numpy(), n) for n in (1, 2, 3, 4)], axis=0)
    for box, label in list(zip(anchors.round().int().tolist(), labels["rpn"].tolist(), strict=True))[::7]:
        x1, y1, x2, y2 = (min(max(v, 0), SIZE) for v in box)
        covered, area = pixels[y1:y2, x1:x2].sum(), max(1, (x2 - x1) * (y2 - y1))
        assert label == (-1 if covered > 0.5 * area else 0)


def test_anchors_are_exact_where_the_network_computes_in_bf16(model: InstanceModel) -> None:
    wide, seen = torch.zeros(1, 3, 64, 640, dtype=torch.uint8), []
    model.network.rpn.anchor_generator.register_forward_hook(lambda _, given, anchors: seen.append(anchors[0]))
    model.eval().predict(wide)
    with torch.autocast("cpu", torch.bfloat16):
        model.predict(wide)
    exact, computed = seen
    assert exact.max() > 512
    assert torch.equal(exact, computed), "a box of an anchor moved with the numbers' type"


def test_instances_of_a_pixel_and_of_a_line_give_finite_losses(model: InstanceModel) -> None:
    masks = np.zeros((4, SIZE, SIZE), bool)
    masks[0, 5, 5] = masks[1, 0, :] = masks[2, :, SIZE - 1] = True  # the fourth has no pixel at all
    ids = layers_from_masks(masks, SIZE, SIZE)
    sample = Sample("a", discs(2, 0)[1], np.zeros((SIZE, SIZE), np.uint8), ids, np.array([1, 2, 1, 2], np.int32), np.zeros(4, bool))
    model.train()
    for scale in (1.0, 0.25, [96, 128]):
        model.scale = scale
        assert len(model.target(collate([sample]), 0, (SIZE, SIZE))["boxes"]) == 3
        terms = model.losses(collate([sample, sample]))
        torch.stack(list(terms.values())).sum().backward()
        assert all(torch.isfinite(t) for t in terms.values())
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_images_of_different_sizes_are_scaled_each_by_itself(model: InstanceModel) -> None:
    model.scale = [64, 80]
    images = torch.full((2, 3, 100, 60), 200, dtype=torch.uint8)
    x, sizes = model.network_input(images, [(100, 60), (32, 32)])
    assert sizes == [(80, 48), (64, 64)], "the first is as long as it may be, the second has its shorter side"
    assert x.shape == (2, 3, 96, 64)
    assert (x[1, :, 64:] == 0).all()
    assert (x[1, :, :64] != 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_mask_targets_count_the_points_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks, _ = discs(6, seed)
    ids = layers_from_masks(masks, SIZE, SIZE)
    corners = rng.uniform(0, SIZE - 12, (6, 2))
    boxes = np.hstack([corners, corners + rng.uniform(1, 12, (6, 2))]).astype(np.float32)
    found = mask_targets(torch.from_numpy(ids), torch.arange(1, 7), torch.from_numpy(boxes), 5).numpy()
    for mask, (x1, y1, x2, y2), target in zip(masks, boxes, found, strict=True):
        for row in range(5):
            for column in range(5):
                xs = [x1 + (column + s) / 5 * (x2 - x1) for s in (0.25, 0.75)]
                ys = [y1 + (row + s) / 5 * (y2 - y1) for s in (0.25, 0.75)]
                assert target[row, column] == np.mean([mask[int(y), int(x)] for y in ys for x in xs])


@pytest.mark.parametrize("seed", range(8))
def test_a_boxs_mask_is_interpolated_at_the_pixels_centres(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bins, height, width = 7, 23, 31
    probabilities = rng.random((bins, bins)).astype(np.float32)
    x1, y1 = rng.uniform(-3, 20), rng.uniform(-3, 15)
    x2, y2 = x1 + rng.uniform(2, 14), y1 + rng.uniform(2, 12)
    rle = box_mask(probabilities, np.array([x1, y1, x2, y2]), height, width)
    expected = np.zeros((height, width), np.uint8)

    def at(u: float, v: float) -> float:
        u, v = min(max(u, 0), bins - 1), min(max(v, 0), bins - 1)
        c, r = min(int(u), bins - 2), min(int(v), bins - 2)
        p = probabilities
        upper, lower = (p[k, c] * (1 - (u - c)) + p[k, c + 1] * (u - c) for k in (r, r + 1))
        return upper * (1 - (v - r)) + lower * (v - r)

    for y in range(height):
        for x in range(width):
            if x1 <= x + 0.5 <= x2 and y1 <= y + 0.5 <= y2:
                expected[y, x] = at((x + 0.5 - x1) / (x2 - x1) * bins - 0.5, (y + 0.5 - y1) / (y2 - y1) * bins - 0.5) >= 0.5
    assert rle is not None
    np.testing.assert_array_equal(coco_mask.decode(rle), expected)


def test_masks_outside_of_the_image_or_below_a_half_are_none() -> None:
    ones = np.ones((4, 4), np.float32)
    assert box_mask(ones, np.array([-9.0, 0, -2, 5]), 10, 10) is None
    assert box_mask(ones * 0.49, np.array([1.0, 1, 5, 5]), 10, 10) is None
    thin = box_mask(ones, np.array([3.1, 2.0, 3.3, 6.0]), 10, 10)
    assert thin is not None
    assert coco_mask.decode(thin)[:, 3].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0], "a box without a pixel's centre has its pixels"


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet-b0", "tu-convnext_atto", "vgg11_bn", "densenet121", "mit_b0"])
def test_any_encoder_with_the_strides_becomes_a_pyramid(name: str) -> None:
    pyramid = EncoderPyramid(name, None, 3, 16).eval()
    with torch.no_grad():
        levels = pyramid(torch.zeros(1, 3, 64, 96))
    assert {k: tuple(v.shape[1:]) for k, v in levels.items()} == {
        "0": (16, 16, 24),
        "1": (16, 8, 12),
        "2": (16, 4, 6),
        "3": (16, 2, 3),
        "pool": (16, 1, 2),
    }


def test_an_encoder_without_them_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder_name=tu-vit_tiny_patch16_224: gives no features at the strides"):
        EncoderPyramid("tu-vit_tiny_patch16_224", None, 3, 16)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("loss=ce",), "Mask R-CNN brings its own losses; set loss=mask_rcnn"),
        (("model=unet",), "model=unet: is for task=semantic, but task=instance"),
        (("model.network.anchor_sizes=[[8],[16]]",), r"anchor_sizes: expected a list for each of the 5 levels .* got 2"),
        (("model.network.rpn_pre_nms_top_n=[1]",), "expected two numbers"),
        (("loss.mask=-1.0",), "expected weights of 0 or more"),
        (("model=maskrcnn_resnet50_fpn", "model.weights=COCO_V9"), "model.weights=COCO_V9: .*COCO_V1"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(
    overrides: tuple[str, ...], message: str, make_config: MakeConfig, make_info: MakeInfo
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(make_config("task=instance", *overrides), make_info(background=True))


def test_a_local_file_of_another_class_count_fills_all_but_the_predictors(
    make_config: MakeConfig, make_info: MakeInfo, tmp_path: Path
) -> None:
    config = make_config("task=instance")
    other = build_model(config, make_info(classes=7, background=True)).network
    torch.save(other.state_dict(), tmp_path / "other.pth")
    own = build_model(config, make_info(classes=3, background=True)).network
    loaded = load_weights(own, read_weights(tmp_path / "other.pth"), 3)
    predictors = ("box_predictor.cls_score", "box_predictor.bbox_pred", "mask_predictor.mask_fcn_logits")
    assert loaded.reshaped.keys() == {f"roi_heads.{layer}.{kind}" for layer in predictors for kind in ("weight", "bias")}
    assert len(loaded.loaded) == len(loaded.names) - 6
    assert torch.equal(own.backbone.encoder.conv1.weight, other.backbone.encoder.conv1.weight)


def test_terms_of_weight_zero_are_left_out(model: InstanceModel) -> None:
    model.loss = TermWeights(objectness=1.0, rpn_box=2.0, classifier=1.0, box=1.0, mask=0.0)
    torch.manual_seed(0)
    terms = model.losses(batch_of([2]))
    assert set(terms) == {"objectness", "rpn_box", "classifier", "box"}


def test_without_a_background_class_the_first_class_has_instances(make_config: MakeConfig, make_info: MakeInfo) -> None:
    model = build_model(make_config("task=instance"), make_info(classes=2))
    assert model.network.roi_heads.box_predictor.cls_score.out_features == 3
    kinds = {int(c) for p in model.eval().predict(batch_of([3, 3]).images) for c in p.categories}
    assert kinds == {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["COCO_V1", "IMAGENET1K_V1"])
def test_a_network_that_started_from_torchvisions_weights_is_restored_without_them(
    weights: str, make_config: MakeConfig, make_info: MakeInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    donor = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None) if weights == "COCO_V1" else resnet50()
    for module in donor.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 1e-6, 2.0)  # some below the epsilon
            nn.init.uniform_(module.running_mean, -1, 1)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: donor.state_dict())
    info = make_info(background=True)
    config = make_config("task=instance", "model=maskrcnn_resnet50_fpn", f"model.weights={weights}", "model.scale=[64,96]")
    trained = build_model(config, info).eval()
    restored = build_model(config, info, pretrained=False)
    restored.load_state_dict(trained.state_dict())
    images = batch_of([3, 5]).images
    x, _ = trained.network_input(images)
    with torch.no_grad():
        wanted, given = trained.body(x), restored.eval().body(x)
        slot = "weights" if weights == "COCO_V1" else "weights_backbone"
        theirs = maskrcnn_resnet50_fpn(**{"weights": None, "weights_backbone": None, slot: weights})
        frozen = theirs.eval().backbone.body(x)
    assert all(torch.equal(wanted[level], given[level]) for level in wanted)
    for level, features in trained.network.backbone.body(x).items():
        torch.testing.assert_close(features, frozen[level], rtol=1e-3, atol=1e-3 * float(frozen[level].abs().max()))
