"""`augment` on a tiny data set: a policy that loads, a preview that opens, copies that are the policy's own draws."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import MakeConfig
from tiny import folders, prepare_tiny, tree, write_folders

from seg.augment.policy import compile_policy, load_policy
from seg.augment.settings import Crop
from seg.configure.config import Config
from seg.core.errors import ConfigError
from seg.data.labelmaps import boxes_of
from seg.data.store import read_annotations, read_entries, read_sample
from seg.loading.dataset import SampleDataset
from seg.stages.augment import run, spread


@pytest.fixture(params=[True, False], ids=["instances", "semantic"])
def config(make_config: MakeConfig, prepared: Path, request: pytest.FixtureRequest) -> Config:
    settings = (
        f"paths.prepare={prepared}",
        "augment=medium",
        "augment.copies=2",
        "runtime.progress=none",
        f"task.instances={request.param}",
    )
    return make_config(*settings, "augment.preview.images=3", "augment.preview.draws=2", "seed=4")


def test_policy_preview_and_copies_are_written_and_the_same_again(
    config: Config, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "augmented"
    run(config, out)
    entries = read_entries(prepared / "train")
    assert f"policy medium: {len(config.augment.transforms)} transforms, {2 * len(entries)} copies; look at" in capsys.readouterr().out

    policy = load_policy((out / "policy.json").read_text())
    compiled = compile_policy(config.augment, config.targets.allow)
    copies, annotations = read_entries(out / "train"), read_annotations(prepared / "train") if config.task.instances else {}
    own = read_annotations(out / "train")
    assert (out / "train/instances.json").exists() == config.task.instances
    assert [c.image_id for c in copies] == [f"{e.image_id}_copy{n}" for e in entries for n in (1, 2)]
    assert len({c.sha256 for c in copies} | {e.sha256 for e in entries}) == 3 * len(entries), "every copy is another picture"
    for index, entry in enumerate(entries):
        sample = read_sample(prepared / "train", entry, 3, annotations.get(entry.file, ()))
        for number, seed in enumerate(np.random.default_rng([4, index]).integers(1 << 32, size=2)):
            drawn, copy = policy(sample, int(seed)), copies[2 * index + number]
            stored = read_sample(out / "train", copy, 3, own.get(copy.file, ()))
            np.testing.assert_array_equal(stored.image, drawn.image)
            np.testing.assert_array_equal(stored.image, compiled(sample, int(seed)).image)
            np.testing.assert_array_equal(stored.semantic, drawn.semantic)
            count = len(drawn.categories)
            np.testing.assert_array_equal(stored.categories, drawn.categories)
            np.testing.assert_array_equal(boxes_of(stored.instances, count), boxes_of(drawn.instances, count))

    preview = cv2.imread(str(out / "preview.png"))
    background = int((preview == config.data.classes[0].color).all(axis=2).sum())  # in the classes' legend, on their borders
    assert (background < 100) == config.task.instances, "outlines of instances, or classes"
    assert preview.shape[1] > preview.shape[0] * 0.5
    assert len(np.unique(preview.reshape(-1, 3), axis=0)) > 500, "pictures, not an empty page"

    first = tree(out)
    assert sum(name.startswith("train/images/") for name in first) == 2 * len(entries)
    run(config, tmp_path / "again")
    assert tree(tmp_path / "again") == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "augmented"], "nothing is left beside the output"


def test_no_copies_leave_no_split_and_the_digest_follows_the_policy(config: Config, tmp_path: Path) -> None:
    digests = []
    for count in (1, 2, 2):
        out = tmp_path / str(len(digests))
        augment = config.augment.model_copy(update={"copies": 0, "transforms": config.augment.transforms[:count]})
        run(config.model_copy(update={"augment": augment}), out)
        summary = json.loads((out / "augmented.json").read_text())
        assert (summary["policy"], summary["copies"]) == ("medium", 0)
        assert not (out / "train").exists()
        digests.append(summary["digest"])
    assert digests[0] != digests[1] == digests[2]


def test_windows_are_shown_and_stored_at_their_size(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crop = Crop(size=[20, 60], foreground=0.5)  # of images of 48 x 48
    run(config.model_copy(update={"augment": config.augment.model_copy(update={"crop": crop, "transforms": []})}), tmp_path)
    assert "policy medium: crops of 20x60, 0 transforms" in capsys.readouterr().out
    assert {(entry.height, entry.width) for entry in read_entries(tmp_path / "train")} == {(20, 60)}
    policy = load_policy((tmp_path / "policy.json").read_text(), config.data.classes)
    assert policy.crop
    assert policy.crop.settings == crop
    assert (tmp_path / "preview.png").exists()


def test_a_policy_that_fails_on_the_data_leaves_what_was_there(make_config: MakeConfig, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "augmented"
    out.mkdir()
    (out / "policy.json").write_text("the one before")
    crop = "augment.transforms=[{_target_: albumentations.RandomCrop, height: 64, width: 64, p: 1.0}]"
    with pytest.raises(ConfigError, match=r"augment\.transforms: fails on the image \d+ \(48x48x3\)"):
        run(make_config(f"paths.prepare={prepared}", crop), out)
    assert tree(out) == {"policy.json": b"the one before"}
    assert [p.name for p in tmp_path.iterdir()] == ["augmented"]


def test_copies_receive_instances_of_other_images_as_in_training(make_config: MakeConfig, prepared: Path, tmp_path: Path) -> None:
    pasting = ("augment=copy_paste", "augment.copies=1", "augment.copy_paste.p=1", "augment.copy_paste.max_instances=2")
    config = make_config(f"paths.prepare={prepared}", *pasting, "task.instances=true", "augment.preview.draws=1", "runtime.progress=none")
    out = tmp_path / "augmented"
    run(config, out)
    policy = load_policy((out / "policy.json").read_text())
    assert (policy.copy_paste.p, policy.copy_paste.max_instances, policy.instances.min_area) == (1, 2, 16)
    stored, written = (SampleDataset([folder / "train"], 3, True) for folder in (prepared, out))
    more = 0
    for index in range(len(stored)):
        seed = np.random.default_rng([0, index]).integers(1 << 32, size=1)[0]
        drawn, copy = policy.draw_from(stored.read, len(stored), index, int(seed)), written.read(index)
        np.testing.assert_array_equal(copy.image, drawn.image)
        np.testing.assert_array_equal(copy.semantic, drawn.semantic)
        np.testing.assert_array_equal(copy.crowd, drawn.crowd)
        count = len(drawn.categories)
        np.testing.assert_array_equal(boxes_of(copy.instances, count), boxes_of(drawn.instances, count))
        more += count - len(stored.read(index).categories)
    assert more > len(stored) / 2


@pytest.mark.parametrize("task", ["instance", "semantic"])
def test_copy_paste_without_instances_is_refused(make_config: MakeConfig, prepared: Path, tmp_path: Path, task: str) -> None:
    stored, reason = prepared, "task=semantic reads no instances"
    if task == "instance":
        stored, reason = tmp_path / "prepared", "prepared has no instances"
        prepare_tiny(folders(write_folders(tmp_path / "raw", [f"image{i}" for i in range(8)])), stored)
    config = make_config(f"paths.prepare={stored}", "augment.copy_paste.p=0.5", f"task.instances={task == 'instance'}")
    message = rf"augment\.copy_paste\.p=0\.5: .*{reason}; set augment\.copy_paste\.p=0, or another augment"
    with pytest.raises(ConfigError, match=message):
        run(config, tmp_path / "augmented")
    assert not (tmp_path / "augmented").exists()


def test_the_preview_spreads_over_the_split() -> None:
    assert spread(100, 4) == [0, 33, 66, 99]
    assert spread(2, 4) == [0, 1]
    assert spread(1, 4) == [0]
