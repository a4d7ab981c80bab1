"""Images of five channels, deeper than 8 bit, from TIFF files to an evaluated model; and of other numbers through augmentation."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import MakeConfig
from PIL import Image
from project import STAGES, Project
from tiny import Blobs, augment, labels, picture, write

from seg.augment.policy import check_policy, compile_policy
from seg.core.errors import ConfigError
from seg.data.sample import Sample, no_instances
from seg.data.store import read_info

SETTINGS = [
    "data=folders",
    "data.root=raw",
    "data.channels=5",
    "data.range=[0,4080]",
    "data.split.stratify=false",
    "data.classes=[{name: ground, color: [0,0,0]}, {name: house, color: [200,0,0]}, {name: tree, color: [0,150,0]}]",
]


SMALL = ["model=unet_paper", "model.network.depth=2", "model.network.width=8", "trainer.max_epochs=1", "trainer.batch_size=4"]


@pytest.mark.slow
def test_five_channels_from_files_to_figures(tmp_path: Path) -> None:
    project = Project.clone(tmp_path / "project", small=False)
    images = project.folder / "raw" / "images"
    images.mkdir(parents=True)
    for seed in range(24):
        classes = labels(seed, (64, 64), 3)
        bands = picture(seed, (64, 64), 5) // 4 + 60 * np.stack([classes == c for c in (0, 1, 2, 1, 2)], axis=2)
        tifffile.imwrite(images / f"{seed:02d}.tif", np.moveaxis(bands.astype(np.uint16) * 16, 2, 0), compression="zlib")
        write(project.folder / "raw" / "masks" / f"{seed:02d}.png", classes)
    project.seg("configure", *SETTINGS, *SMALL, "augment=microscopy")
    assert project.repro() == STAGES
    info = read_info(project.folder / "data/prepared")
    assert (info.channels, len(info.mean), len(info.statistics["foreground"]["p50"])) == (5, 5, 5)
    assert 0 <= json.loads((project.folder / "artifacts/evaluate/metrics.json").read_text())["test"]["miou"] <= 1
    for picture_file in ("data/augmented/preview.png", *(project.folder / "artifacts/evaluate/overlays").glob("*.png")):
        with Image.open(project.folder / picture_file) as shown:
            assert np.asarray(shown.convert("RGB")).std() > 20


def sample_of(channels: int) -> Sample:
    return Sample("a", picture(0, channels=channels), labels(0), *no_instances(24, 32))


@pytest.mark.parametrize(
    ("channels", "kind"),
    [(2, "HueSaturationValue"), (5, "HueSaturationValue"), (4, "CLAHE"), (4, "RGBShift"), (2, "ToGray"), (7, "Equalize"), (1, "ISONoise")],
)
def test_a_transform_that_takes_rgb_alone_is_named_before_training(channels: int, kind: str) -> None:
    turn = {"_target_": "HorizontalFlip"}
    colors = {"_target_": kind, "p": 0.001}
    with pytest.raises(ConfigError) as error:
        check_policy(compile_policy(augment(turn, colors), ["albumentations"]), [sample_of(channels)], 1, 0)
    assert str(error.value) == (
        f"augment.transforms[1]: {kind} takes no image of {channels} channel{'s' * (channels > 1)}, as the data has; "
        f"leave it out, or set augment=light or another option without {kind}"
    )


def test_the_check_of_channels_reads_nothing_else_into_a_transform_that_fails() -> None:
    crop = {"_target_": "Crop", "x_max": 1000, "y_max": 1000}
    with pytest.raises(ConfigError, match=r"^augment.transforms: fails on the image a \(24x32x5\): "):
        check_policy(compile_policy(augment(crop), ["albumentations"]), [sample_of(5)], 1, 0)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 9])
def test_options_without_colour_take_any_number_of_channels(channels: int, make_config: MakeConfig) -> None:
    for option in ("light", "microscopy", "nuclei", "none"):
        config = make_config(f"augment={option}")
        policy = compile_policy(config.augment, config.targets.allow)
        check_policy(policy, [sample_of(channels)], 5, 0)
        drawn = policy(sample_of(channels), 3)
        assert drawn.image.shape[2] == channels


def test_what_is_moved_is_moved_in_every_channel() -> None:
    policy = compile_policy(augment({"_target_": "Affine", "rotate": [30, 30]}, {"_target_": "HorizontalFlip"}), ["albumentations"])
    sample = sample_of(7)
    whole = policy(sample, 5)
    for c in range(7):
        alone = policy(Sample("a", sample.image[..., c : c + 1].copy(), sample.semantic, *no_instances(24, 32)), 5)
        assert np.array_equal(whole.image[..., c], alone.image[..., 0])


def test_instances_are_pasted_in_every_channel() -> None:
    policy = compile_policy(augment(p=1.0), ["albumentations"])
    samples = []
    for number in (0, 2):
        sample = Blobs().read(Blobs().items()[number]).sample
        image = np.concatenate([sample.image, 255 - sample.image], axis=2)
        samples.append(Sample(sample.image_id, image, sample.semantic, sample.instances, sample.categories, sample.crowd))
    drawn = policy.draw_from(lambda index: samples[index], 2, 0, 7)
    assert not np.array_equal(drawn.image, samples[0].image)
    off = drawn.image[..., 3:].astype(int) - (255 - drawn.image[..., :3].astype(int))
    assert np.abs(off).max() <= 1, "blended edges are rounded"
