"""Views of an image, and what comes back from them: exact for flips and turns, by definition for scales."""

import numpy as np
import pytest
import torch
from equivariant import Blobs, Pixels
from random_instances import Scene, random_scenes, rle_of
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.data.sample import Prediction
from seg.predict.views import SETS, VIEWS, View, Views, views_of
from seg.tiles.network import Network

SIZES = [(8, 8), (7, 11), (5, 1), (1, 6)]


def images(size: tuple[int, int], batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (batch, 3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


BY_TORCH = {
    "identity": lambda x: x,
    "hflip": lambda x: x.flip(-1),
    "vflip": lambda x: x.flip(-2),
    "rotate_90": lambda x: torch.rot90(x, 1, (-2, -1)),
    "rotate_180": lambda x: torch.rot90(x, 2, (-2, -1)),
    "rotate_270": lambda x: torch.rot90(x, 3, (-2, -1)),
    "transpose": lambda x: x.mT,
    "transverse": lambda x: torch.rot90(x, 2, (-2, -1)).mT,
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_as_torch_has_it_and_has_an_exact_inverse(name: str, size: tuple[int, int]) -> None:
    x, view = images(size), VIEWS[name]
    assert torch.equal(view.of(x), BY_TORCH[name](x))
    assert view.seen(size) == tuple(view.of(x).shape[-2:])
    assert torch.equal(view.logits_back(view.of(x).float(), size), x.float())


def test_views_in_turn_are_their_product() -> None:
    x = images((5, 7))
    for first in VIEWS.values():
        for second in VIEWS.values():
            assert torch.equal(first.then(second).of(x), second.of(first.of(x)))
    assert views_of(["rotate_90+hflip", "hflip+rotate_90"]) == [VIEWS["transverse"], VIEWS["transpose"]]


def test_names_of_views() -> None:
    assert len({view.of(images((3, 3), 1)).numpy().tobytes() for view in views_of(["d4"])}) == 8
    for name, size in {"flips": 4, "rotations": 4, "d4": 8}.items():
        assert len(SETS[name]) == len(views_of([name])) == size
    assert views_of(["flips", "d4", "identity"]) == views_of([*SETS["flips"], "rotate_90", "rotate_270", "transpose", "transverse"])
    assert views_of(["identity", "flips+scale_0.75"]) == [View(), *(View(v.transpose, v.vflip, v.hflip, 0.75) for v in views_of(["flips"]))]
    for names, message in {
        ("hflp",): r"views: hflp: there is no view 'hflp'; did you mean 'hflip'\? \(views: d4, flips",
        ("identity", "hflip+rotate_45"): r"views: hflip\+rotate_45: there is no view 'rotate_45'",
        ("scale_0",): r"views: scale_0: expected scale_<factor> with a factor from 0.1 to 10",
        ("scale_nan",): r"expected scale_<factor>",
        ("scale_half",): r"expected scale_<factor>",
    }.items():
        with pytest.raises(ConfigError, match=message):
            views_of(names)


@pytest.mark.parametrize("merge", ["probabilities", "logits"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_network_to_which_all_views_are_alike_gives_its_own_result(size: tuple[int, int], merge: str) -> None:
    x, network = images(size), Pixels()
    own = network.logits(x)
    found = Views(network, ["d4"], merge, 0.5, 16).logits(x)
    if merge == "logits":
        assert torch.equal(found, own)
    else:
        torch.testing.assert_close(found, own.log_softmax(1), rtol=1e-5, atol=1e-5)
    predictions = Views(network, ["d4"], merge, 0.5, 16).predict(x)
    assert [p.semantic.tolist() for p in predictions] == own.argmax(1).tolist()


@pytest.mark.parametrize("batch_size", [1, 5, 64])
@pytest.mark.parametrize("merge", ["probabilities", "logits"])
def test_the_merged_result_is_that_of_a_loop(merge: str, batch_size: int) -> None:
    x, network, names = images((9, 14)), Pixels(lopsided=True), ["d4", "hflip+scale_0.75", "rotate_90+scale_1.25"]
    total = torch.zeros(2, 4, 9, 14, dtype=torch.float64)
    for view in views_of(names):
        h, w = max(1, round(9 * view.scale)), max(1, round(14 * view.scale))
        seen = F.interpolate(x.float(), (h, w), mode="bilinear", antialias=True).round().clamp(0, 255).byte()
        seen = seen.mT if view.transpose else seen
        flips = [axis for axis, flip in ((2, view.vflip), (3, view.hflip)) if flip]
        logits = network.logits(seen.flip(flips)).flip(flips)
        logits = F.interpolate(logits.mT if view.transpose else logits, (9, 14), mode="bilinear", antialias=True).double()
        total += logits if merge == "logits" else logits.softmax(1)
    network.batches.clear()
    found = Views(network, names, merge, 0.5, batch_size).logits(x)
    assert (found.dtype, found.shape) == (torch.float32, total.shape)
    torch.testing.assert_close(found.double() if merge == "logits" else found.double().exp(), total / 10, rtol=1e-5, atol=1e-6)
    assert not torch.equal(found, network.logits(x)), "the network does not see all views alike"
    assert len(network.batches) - 1 == {1: 10, 5: 6, 64: 4}[batch_size]
    assert max(batch for batch, *_ in network.batches) <= max(2, batch_size)


@pytest.mark.parametrize("size", [(7, 11), (40, 33), (1, 1)], ids=str)
@pytest.mark.parametrize("scale", ["scale_0.1", "scale_0.75", "scale_1", "scale_1.25"])
def test_scales_give_the_size_of_the_image_and_keep_what_is_even(scale: str, size: tuple[int, int]) -> None:
    even = torch.full((1, 3, *size), 77, dtype=torch.uint8)
    views = Views(Pixels(), [scale], "logits", 0.5, 1)
    torch.testing.assert_close(views.logits(even), Pixels().logits(even))
    assert views.logits(images(size)).shape == (2, 4, *size)


@pytest.mark.parametrize("name", VIEWS)
def test_instances_come_back_as_they_were(name: str) -> None:
    network: Network = Blobs()
    for seed, size in enumerate([(9, 9), (7, 12), (24, 17), (1, 5)]):
        x = images(size, 3, seed)
        for own, seen in zip(network.predict(x), network.predict(VIEWS[name].of(x)), strict=True):
            back = VIEWS[name].prediction_back(seen, size)
            assert as_set(back) == as_set(own)


def as_set(prediction: Prediction) -> list[tuple[object, ...]]:
    rows = zip(prediction.scores.tolist(), prediction.categories.tolist(), prediction.boxes.tolist(), prediction.masks, strict=True)
    return sorted((score, category, tuple(box), mask["counts"]) for score, category, box, mask in rows)


def test_instances_of_all_views_are_fused_to_the_networks_own() -> None:
    x, network = images((13, 18), 3), Blobs()
    for own, found in zip(network.predict(x), Views(network, ["d4"], "logits", 0.5, 16).predict(x), strict=True):
        assert found.scores == pytest.approx(own.scores, abs=1e-6)
        assert len(found.masks) > 20
        assert {m["counts"] for m in found.masks} == {m["counts"] for m in own.masks}


@pytest.mark.parametrize("view", views_of(["scale_0.5", "scale_1.3", "rotate_90+scale_2.1", "transverse+scale_0.7"]), ids=str)
def test_scaled_masks_come_back_by_the_nearest_pixel(view: View) -> None:

    lost = kept = 0
    for seed in range(20):
        size = (23, 31)
        h, w = view.scaled(size)
        scene = random_scenes(seed, number=1, side=20, crowds=False)[0]
        masks = [mask[:h, :w] for mask in (np.pad(m, ((0, 60), (0, 60))) for m in scene.truth)]
        seen = [shown(view, mask) for mask in masks]
        given = Scene("a", seen[0].shape if seen else (1, 1))
        for mask in seen:
            if mask.any():
                given.predict(mask)
        back = view.prediction_back(given.prediction, size)
        rows, columns = ((np.arange(side) + 0.5) * s / side for side, s in zip(size, (h, w), strict=True))
        full = [mask for mask in masks if mask.any()]
        small = [mask[np.ix_(rows.astype(int), columns.astype(int))] for mask in full]
        assert [m["counts"] for m in back.masks] == [rle_of(mask)["counts"] for mask in small if mask.any()]
        factor = np.array([size[1] / w, size[0] / h] * 2)
        for box, mask in zip(back.boxes, [f for f, mask in zip(full, small, strict=True) if mask.any()], strict=True):
            ys, xs = np.nonzero(mask)
            assert box == pytest.approx(np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) * factor, rel=1e-6)
        lost, kept = lost + sum(not mask.any() for mask in small), kept + len(back.masks)
    assert kept > 20
    assert lost == 0 or view.scale > 1


def shown(view: View, mask: np.ndarray) -> np.ndarray:
    """A mask of the scaled image, as the view shows it."""
    mask = mask.T if view.transpose else mask
    return mask[:: -1 if view.vflip else 1, :: -1 if view.hflip else 1]
