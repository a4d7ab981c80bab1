"""Tiled predictions against the whole image's, against a float canvas of the whole image, and by how far ahead they read."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from stub_networks import Layers, whole
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError, DataError
from seg.models.semantic import predictions_of
from seg.tiles.grid import ArrayRows, Tiling
from seg.tiles.tiled import Band, joined, predict_bands

TILING = Tiling((64, 96), 0.25, 0.125, 0, "edge")
SIZES = [(301, 437), (64, 96), (65, 500), (20, 33), (300, 40), (1, 1)]


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def run(network: Layers, image: np.ndarray, tiling: Tiling, blend: str = "logits", batch_size: int = 4) -> list[Band]:
    return list(predict_bands(network, ArrayRows(image), tiling, batch_size, blend, keep_values=True))


def values_of(bands: list[Band]) -> np.ndarray:
    return np.concatenate([band.values for band in bands if band.values is not None], axis=1)


def pointwise() -> Layers:
    return Layers(whole(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 5, 1))))


def strided() -> Layers:
    """Sees 8 pixels on each side of the cell of 8 x 8 pixels in which a pixel lies."""
    return Layers(whole(nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=8))), 8)


def convolutional() -> Layers:
    """Sees 5 pixels on each side, and zeros beyond the border of what it is given."""
    return Layers(whole(nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 5, 7, padding=3))))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("margin", [0, 5])
def test_a_network_of_single_pixels_gives_the_same_classes_tiled_and_whole(size: tuple[int, int], margin: int) -> None:
    network, image = pointwise(), picture(*size)
    got = joined(run(network, image, Tiling((64, 96), 0.3, 0.125, margin, "reflect")), *size)
    wanted = predictions_of(network.logits(tensor(image)))[0]
    assert np.array_equal(got.semantic, wanted.semantic)
    assert np.abs(got.confidence.astype(int) - wanted.confidence).max() <= 1


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.7])
@pytest.mark.parametrize("size", [(301, 437), (65, 500), (130, 97), (64, 96)], ids=str)
@pytest.mark.parametrize(("make", "margin"), [(convolutional, 5), (strided, 8)], ids=["convolutions", "strided"])
def test_with_a_margin_as_wide_as_the_network_sees_there_is_no_seam(make, margin: int, size: tuple[int, int], overlap: float) -> None:  # type: ignore[no-untyped-def]
    network, image = make(), picture(*size)
    bands = run(network, image, Tiling((64, 96), overlap, 0.125, margin, "edge"))
    logits = network.logits(tensor(image))
    np.testing.assert_allclose(values_of(bands), logits[0].numpy(), rtol=1e-5, atol=1e-5 * float(logits.abs().max()))
    highest = logits[0].topk(2, dim=0).values
    decided = (highest[0] > highest[1]).numpy()  # where two are equal, what rounding leaves of them decides
    assert np.array_equal(joined(bands, *size).semantic[decided], logits[0].argmax(0).numpy()[decided])


def test_without_a_margin_a_seam_is_as_faint_as_the_weights_of_the_tiles_borders() -> None:
    network, image = convolutional(), picture(300, 400)
    tiling = Tiling((64, 96), 0.5, 0.125, 0, "edge")
    error = np.abs(values_of(run(network, image, tiling)) - network.logits(tensor(image))[0].numpy())
    ours = values_of(run(network, image, tiling))
    scale = np.abs(ours).max()
    near = np.exp(-0.5 * ((32 - 5) / 8) ** 2)  # of a pixel that misses some of what the network sees, against a tile's middle
    assert 0 < error.max() / scale < 2 * near
    flat = np.abs(values_of(run(network, image, Tiling((64, 96), 0.5, 10.0, 0, "edge"))) - network.logits(tensor(image))[0].numpy())
    assert flat.max() > 50 * error.max(), "a mean without a Gaussian shows the seams"


def canvas(network: Layers, image: np.ndarray, starts: tuple[list[int], list[int]], tile: tuple[int, int], blend: str) -> np.ndarray:
    """nnU-Net's way: sums of weighted logits and of weights, as large as the image, and their quotient."""
    (height, width), (h, w) = image.shape[:2], tile
    y, x = np.mgrid[:h, :w]
    weights = np.exp(-0.5 * (((y - (h - 1) / 2) / (h / 8)) ** 2 + ((x - (w - 1) / 2) / (w / 8)) ** 2))
    sums, total = np.zeros((5, height, width)), np.zeros((height, width))
    for top in starts[0]:
        for left in starts[1]:
            logits = network.logits(tensor(image[top : top + h, left : left + w])).double()
            values = logits.softmax(1) if blend == "probabilities" else logits
            sums[:, top : top + h, left : left + w] += values[0].numpy() * weights
            total[top : top + h, left : left + w] += weights
    return sums / total


@pytest.mark.parametrize("blend", ["logits", "probabilities"])
def test_bands_are_what_a_canvas_of_the_whole_image_gives(blend: str) -> None:
    torch.manual_seed(0)
    network = Layers(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 3, padding=1)))
    image = picture(160, 240)
    wanted = canvas(network, image, ([0, 48, 96], [0, 72, 144]), (64, 96), blend)
    bands = run(network, image, TILING, blend)
    np.testing.assert_allclose(values_of(bands), wanted, rtol=1e-4, atol=1e-5)
    got = joined(bands, 160, 240)
    assert (got.semantic == wanted.argmax(0)).mean() > 0.9999
    probability = wanted if blend == "probabilities" else F.softmax(torch.from_numpy(wanted), 0).numpy()
    assert np.abs(got.confidence / 65535 - probability.max(0)).max() < 1e-4


def test_bands_follow_each_other_and_are_as_high_as_the_tiles_are_apart() -> None:
    bands = run(pointwise(), picture(160, 100), TILING)
    assert [(band.top, len(band.classes)) for band in bands] == [(0, 48), (48, 48), (96, 64)]
    assert all(band.classes.dtype == np.uint8 and band.confidence.dtype == np.uint16 for band in bands)
    assert all(band.classes.shape == band.confidence.shape == (len(band.classes), 100) for band in bands)
    assert next(predict_bands(pointwise(), ArrayRows(picture(160, 100)), TILING, 4, "logits")).values is None


def test_batches_are_full_whatever_the_image() -> None:
    network = pointwise()
    run(network, picture(500, 50), TILING, batch_size=4)
    assert network.batches == [4, 4, 3]


class Watched:
    """Rows that note how far they were read, and may fail."""

    def __init__(self, height: int, fail_at: int | None = None) -> None:
        self.shape, self.fail_at = (height, 70, 3), fail_at
        self.reads: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> np.ndarray:
        if self.fail_at is not None and stop > self.fail_at:
            raise DataError("torn.tif: is cut off before its end")
        self.reads.append((start, stop))
        return np.zeros((stop - start, 70, 3), np.uint8)


def test_each_row_is_read_once_and_only_a_little_ahead() -> None:
    rows = Watched(5000)
    bands = predict_bands(pointwise(), rows, TILING, 1, "logits")
    for band in bands:
        assert rows.reads[-1][1] <= band.top + 48 + 64 + 4 * 48
    assert [start for start, _ in rows.reads] == [0, *(stop for _, stop in rows.reads[:-1])]
    assert rows.reads[-1][1] == 5000


def reading_threads() -> int:
    return sum(thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate())


def test_an_error_of_the_reader_is_the_predictions_and_nothing_runs_on() -> None:
    before = reading_threads()
    with pytest.raises(DataError, match=r"torn\.tif"):
        list(predict_bands(pointwise(), Watched(5000, fail_at=700), TILING, 4, "logits"))
    started: Iterator[Band] = predict_bands(pointwise(), Watched(5000), TILING, 4, "logits")
    next(started)
    started.close()  # type: ignore[attr-defined]
    assert reading_threads() == before


def test_a_tiling_that_does_not_fit_the_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of the network's stride 8"):
        run(strided(), picture(100, 100), Tiling((60, 60), 0.25, 0.125, 0, "edge"))
