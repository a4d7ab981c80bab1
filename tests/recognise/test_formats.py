"""What a folder may be, the likeliest first, and what its images are like."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from formats import NAMES, PALETTE, scene, write_masks, write_object_files, write_palette_masks
from recognised import built
from tiny import SIZE, picture, write

from seg.recognise.formats import formats_of, image_facts
from seg.recognise.guess import Wanted
from seg.recognise.listing import list_folder


def facts(root: Path) -> tuple[int, object]:
    guess = formats_of(list_folder(root), Wanted())[0]
    return image_facts([Path(item.files[0]) for item in built(root)(guess)[0].items()])


@pytest.mark.parametrize(
    ("images", "channels", "data_range"),
    [
        (lambda n: picture(n), 3, None),
        (lambda n: picture(n, channels=1)[..., 0], 1, None),
        (lambda n: np.repeat(picture(n, channels=1), 3, axis=2), 1, None),
        (lambda n: picture(n, channels=1)[..., 0].astype(np.uint16) * 16, 1, "image"),
    ],
    ids=["RGB", "gray", "gray as RGB", "12 bit"],
)
def test_channels_and_range_are_those_of_the_images(
    tmp_path: Path, images: Callable[[int], np.ndarray], channels: int, data_range: str | None
) -> None:
    """Not those of the masks, which are coloured, or lie beside the images."""
    for number, name in enumerate(NAMES):
        write(tmp_path / f"{name}.png", images(number))
        write(tmp_path / f"{name}_mask.png", PALETTE[scene(number)])
    assert facts(tmp_path) == (channels, data_range)


def test_deep_id_maps_and_coloured_masks_say_nothing_of_the_images(tmp_path: Path) -> None:
    for place in ("train", "val", "test"):
        for number in range(2):
            write(tmp_path / place / "pictures" / f"{number}.png", picture(number, channels=1)[..., 0])
            write(tmp_path / place / "numbers" / f"{number}.png", PALETTE[scene(number)].astype(np.uint16) * 257)
    assert facts(tmp_path) == (1, None)
    assert facts(write_palette_masks(tmp_path / "palette")) == (3, None)


def test_a_few_gray_images_among_coloured_ones(tmp_path: Path) -> None:
    write_masks(tmp_path)
    write(tmp_path / "images/a.png", picture(0, channels=1)[..., 0])
    assert facts(tmp_path) == (3, None)


def test_images_of_folders_of_their_own_and_of_other_channels(tmp_path: Path) -> None:
    write_object_files(tmp_path, "{}/images", "{}/masks")
    for name in NAMES:
        file = tmp_path / name / "images" / f"{name}.png"
        file.unlink()
        np.save(file.with_suffix(".npy"), np.zeros((*SIZE, 5), np.uint8))
    assert facts(tmp_path) == (5, None), "not the masks' one"


def test_unreadable_images_are_passed_over(tmp_path: Path) -> None:
    (write_masks(tmp_path) / "images/a.png").write_bytes(b"none")
    assert facts(tmp_path) == (3, None)
