"""Raw images as sources read them: kept as they are where they can be, and what is odd about them said."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiny import SIZE, folders, labels, picture, prepare_tiny, write

from seg.core.errors import DataError
from seg.data.imagefile import decode_image
from seg.data.sample import Sample, no_instances
from seg.data.store import read_entries, read_info, read_sample
from seg.sources.images import ImageReader


def rgba(path: Path, alpha: int) -> Path:
    Image.fromarray(np.dstack([picture(0), np.where(np.arange(SIZE[1]) < 8, alpha, 255) * np.ones(SIZE, np.uint8)]).astype(np.uint8)).save(
        path
    )
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".npy"])
@pytest.mark.parametrize("channels", [1, 3])
def test_8_bit_files_are_kept_as_they_are(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"a{suffix.upper()}"
    image = picture(1, channels=channels)
    if suffix == ".npy":
        with open(path, "wb") as file:
            np.save(file, image)
    else:
        write(path, image)
    raw = ImageReader(channels).read(path)
    assert raw.encoded == path.read_bytes()
    assert raw.suffix == suffix
    assert np.array_equal(decode_image(raw.encoded, channels, path), raw.pixels)
    assert raw.findings == ()


def test_deep_files_are_not_kept_and_a_range_that_changes_nothing_keeps_them(tmp_path: Path) -> None:
    deep, plain = tmp_path / "deep.tif", tmp_path / "plain.png"
    tifffile.imwrite(deep, picture(0)[..., 0].astype(np.uint16) * 16, resolution=(10000, 5000), resolutionunit="CENTIMETER")
    write(plain, picture(0)[..., :1])
    raw = ImageReader(1, [0, 4080]).read(deep)
    assert raw.encoded is None
    assert np.array_equal(raw.pixels, picture(0)[..., :1])
    assert raw.spacing == pytest.approx((2, 1))
    assert ImageReader(1, [0, 255]).read(plain).encoded == plain.read_bytes()
    assert ImageReader(1, [0, 254]).read(plain).encoded is None


@pytest.mark.parametrize(("alpha", "expected"), [(255, []), (254, ["transparent-image"]), (0, ["transparent-image"])])
def test_alpha_that_is_dropped_is_a_finding_unless_it_is_opaque(tmp_path: Path, alpha: int, expected: list[str]) -> None:
    path = rgba(tmp_path / "a.png", alpha)
    raw = ImageReader(3).read(path)
    assert np.array_equal(raw.pixels, picture(0))
    assert raw.encoded == path.read_bytes()
    assert [f.kind for f in raw.findings] == expected
    assert not expected or raw.findings[0].what.startswith("25.0% of its pixels are transparent to some degree")
    assert ImageReader(4).read(path).findings == ()
    assert (ImageReader(4).read(path).pixels[..., 3] == 255).mean() == (1 if alpha == 255 else 0.75)


def test_findings_name_the_image_that_shows_them(tmp_path: Path) -> None:
    raw = ImageReader(3).read(rgba(tmp_path / "a.png", 9))
    sample = Sample("scenes/a", raw.pixels, labels(0), *no_instances(*SIZE))
    record = raw.record(sample)
    assert [(f.kind, f.image_id, f.file) for f in record.findings] == [("transparent-image", "scenes/a", str(tmp_path / "a.png"))]
    assert (record.sample, record.encoded, record.suffix, record.spacing) == (sample, raw.encoded, ".png", None)


@pytest.mark.parametrize(("channels", "suffix"), [(1, ".png"), (2, ".npy"), (3, ".png"), (4, ".png"), (5, ".npy")])
def test_prepared_images_of_any_channels_are_read_as_they_were_scaled(tmp_path: Path, channels: int, suffix: str) -> None:
    raw, names = tmp_path / "raw", list("abcdef")
    for seed, name in enumerate(names):
        write(raw / "masks" / f"{name}.png", labels(seed))
        deep = picture(seed, channels=channels).astype(np.uint16) * 17
        (raw / "images").mkdir(exist_ok=True)
        tifffile.imwrite(raw / "images" / f"{name}.tif", np.moveaxis(deep, 2, 0), photometric="minisblack")
    source = folders(raw, reader=ImageReader(channels, [0, 4335]))
    prepare_tiny(source, tmp_path / "out")
    assert read_info(tmp_path / "out").channels == channels
    seen = 0
    for part in ("train", "val", "test"):
        for entry in read_entries(tmp_path / "out" / part):
            seen += 1
            assert Path(entry.file).suffix == suffix
            sample = read_sample(tmp_path / "out" / part, entry, channels)
            assert np.array_equal(sample.image, picture(names.index(entry.image_id), channels=channels))
    assert seen == 6


@pytest.mark.parametrize(("orientation", "size", "told"), [(1, SIZE, False), (3, SIZE, True), (6, SIZE, False), (6, (24, 24), True)])
def test_an_image_that_its_tag_turned_is_told_where_its_size_does_not_tell(
    tmp_path: Path, orientation: int, size: tuple[int, int], told: bool
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(picture(0, size)).save(tmp_path / "a.jpg", exif=exif)
    raw = ImageReader(3).read(tmp_path / "a.jpg")
    assert [f.kind for f in raw.findings] == ["turned-image"] * told
    assert (raw.turned is not None) == (orientation == 6 and not told), "labels without a size tell it themselves"


def test_nodata_of_gdal_counts_in_no_range(tmp_path: Path) -> None:
    values = np.linspace(200, 2240, 24 * 32).reshape(SIZE).astype(np.int16)
    values[:, :4] = -9999
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(42113, 2, 0, "-9999", False)])
    raw = ImageReader(1, "image").read(tmp_path / "a.tif")
    low, high = np.percentile(values[:, 4:], [0.1, 99.9])
    expected = np.clip((values[:, 4:] - low) * 255 / (high - low), 0, 255)
    assert np.abs(raw.pixels[:, 4:, 0] - expected).max() <= 0.51
    assert not raw.pixels[:, :4].any()
    assert [(f.kind, f.what[:5]) for f in raw.findings] == [("no-data", "12.5%")]
    assert [f.kind for f in ImageReader(1, [0, 3000]).read(tmp_path / "a.tif").findings] == ["no-data"], "what is void is not clipped"
    with pytest.raises(DataError, match=r"has int16 pixels from 2\d\d to 2240, "):
        ImageReader(1).read(tmp_path / "a.tif")
