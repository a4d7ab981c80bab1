"""Batches: what is drawn depends on seed, epoch and image, and on nothing else; every image comes exactly once."""

import time
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from pasted import pasted_epoch
from tiny import augment

from seg.augment.policy import Policy, compile_policy
from seg.core.errors import ConfigError, DataError
from seg.data.sample import ClassInfo, Sample, no_instances
from seg.loading.batch import Batch, collate
from seg.loading.dataset import evaluation_batches
from seg.raw.record import Record
from seg.storing.write import write_info, write_record, write_split
from seg.training.loading.datamodule import DrawnDataset, SegmentationData, TrainingBatches

CLASSES = [ClassInfo("left", (0, 0, 0)), ClassInfo("right", (255, 0, 0))]


def store(folder: Path, sizes: dict[str, list[tuple[int, int]]]) -> Path:
    """A prepared data set whose images all show the same noise, so that they differ in what is drawn alone."""
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3)).astype(np.uint8)
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 32:] = 1
    stored = {}
    for split, shapes in sizes.items():
        samples = [
            Sample(f"{split}{i:02d}", noise[:h, :w].copy(), labels[:h, :w].copy(), *no_instances(h, w)) for i, (h, w) in enumerate(shapes)
        ]
        stored[split] = [write_record(folder / split, Record(s), len(CLASSES)) for s in samples]
        write_split(folder / split, stored[split], CLASSES, with_instances=False)
    write_info(folder, "noise", CLASSES, stored)
    return folder


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"train": [(40, 48)] * 7, "val": [(20, 30), (24, 20), (20, 30), (20, 30), (24, 20)], "test": [(20, 20)]}
    return store(tmp_path_factory.mktemp("noise"), sizes)


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Two transforms that hardly ever draw the same twice."""
    light = {"_target_": "RandomBrightnessContrast", "p": 0.5}
    turn = {"_target_": "Affine", "rotate": [-180, 180]}
    return compile_policy(augment(light, turn), ["albumentations"])


def data_of(folder: Path, policy: Policy | None, **settings: Any) -> SegmentationData:
    given: dict[str, Any] = {"batch_size": 3, "eval_batch_size": 2, "workers": 0, "seed": 0} | settings
    return SegmentationData(folder, None, policy, with_instances=False, **given)


def epoch_of(data: SegmentationData, epoch: int) -> list[tuple[str, bytes, bytes]]:
    """(image id, image, labels) of everything that an epoch yields, in order."""
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    loader.timeout = 60 if loader.num_workers else 0  # a worker that waits for ever is a failure
    return [
        (image_id, image.numpy().tobytes(), semantic.numpy().tobytes())
        for batch in loader
        for image_id, image, semantic in zip(batch.image_ids, batch.images, batch.semantic, strict=True)
    ]


def test_loading_draws_nothing_from_the_generator_of_dropout(noise: Path, policy: Policy) -> None:
    before = torch.random.get_rng_state()
    epoch_of(data_of(noise, policy), 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_workers_start_beside_threads_of_opencv(noise: Path, policy: Policy) -> None:
    """OpenCV's threads do not survive a fork; a worker that reaches for them waits for ever."""
    cv2.setNumThreads(2)
    cv2.warpAffine(np.zeros((2000, 2000, 3), np.uint8), np.array([[0.9, 0.1, 0], [-0.1, 0.9, 0]]), (2000, 2000))
    time.sleep(0.2)  # until they sleep
    assert len(epoch_of(data_of(noise, policy, workers=1), 0)) == 6


@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_draws_differ_between_images_and_between_epochs(noise: Path, policy: Policy) -> None:
    """The images are all alike: two that are equal were drawn alike."""
    data = data_of(noise, policy, workers=2)
    pictures = [picture for e in range(3) for _, picture, _ in epoch_of(data, e)]
    assert len(pictures) == 3 * 6
    assert len(set(pictures)) == len(pictures)


class Recorder(pl.LightningModule):
    """Learns nothing, and keeps the images of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.epochs: dict[int, list[tuple[str, bytes]]] = {}

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        rows = [(name, image.numpy().tobytes()) for name, image in zip(batch.image_ids, batch.images, strict=True)]
        self.epochs.setdefault(self.current_epoch, []).extend(rows)
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def fit(data: SegmentationData, folder: Path, epochs: int, resume: Path | None = None) -> dict[int, list[tuple[str, bytes]]]:
    keep = ModelCheckpoint(folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=epochs, callbacks=[keep], use_distributed_sampler=False, **quiet)
    recorder = Recorder()
    trainer.fit(recorder, train_dataloaders=data.train_dataloader(), ckpt_path=resume, weights_only=True)
    return recorder.epochs


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_training_sees_every_epoch_anew_and_goes_on_where_it_was_interrupted(noise: Path, policy: Policy, tmp_path: Path) -> None:
    data = data_of(noise, policy)
    unbroken = fit(data, tmp_path / "unbroken", 3)
    assert unbroken == {e: [(name, picture) for name, picture, _ in epoch_of(data, e)] for e in range(3)}
    assert unbroken[0] != unbroken[1] != unbroken[2]
    first = fit(data, tmp_path / "broken", 1)
    assert first == {0: unbroken[0]}
    rest = fit(data, tmp_path / "broken", 3, tmp_path / "broken/last.ckpt")
    assert rest == {1: unbroken[1], 2: unbroken[2]}


def indices(batches: list[list[tuple[int, int]]]) -> list[int]:
    return [index for batch in batches for index, _ in batch]


def epoch(num_images: int, batch_size: int, seed: int, number: int, rank: int = 0, world_size: int = 1) -> list[list[tuple[int, int]]]:
    sampler = TrainingBatches(num_images, batch_size, seed, rank, world_size)
    sampler.set_epoch(number)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return batches


@pytest.mark.parametrize(("num_images", "batch_size", "steps"), [(20, 4, 2), (23, 4, 2), (5, 4, 1), (2, 16, 1)])
def test_two_ranks_train_on_different_images_in_equal_numbers(num_images: int, batch_size: int, steps: int) -> None:
    ranks = [epoch(num_images, batch_size, 0, 3, rank, 2) for rank in (0, 1)]
    assert [len(r) for r in ranks] == [steps, steps]
    assert {len(batch) for r in ranks for batch in r} == {min(batch_size, num_images // 2)}
    seen = indices(ranks[0]) + indices(ranks[1])
    assert len(set(seen)) == len(seen) == 2 * steps * min(batch_size, num_images // 2)
    assert set(seen) <= set(range(num_images))


@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
def test_a_training_that_goes_on_draws_the_rest_of_the_epoch_and_all_of_the_next(rank: int, world_size: int) -> None:
    goes_on = TrainingBatches(20, 3, 0, rank, world_size, first=(2, 1))
    assert list(goes_on) == epoch(20, 3, 0, 2, rank, world_size)[1:], "also where no epoch is named, as to loading processes"
    assert len(goes_on) == len(epoch(20, 3, 0, 2, rank, world_size)), "of a whole epoch"
    for number, left_out in ((2, 1), (3, 0)):
        goes_on.set_epoch(number)
        assert list(goes_on) == epoch(20, 3, 0, number, rank, world_size)[left_out:]
    assert list(TrainingBatches(20, 3, 0, first=(2, 6))) == []


def stream(num_images: int, count: int, seed: int) -> list[tuple[int, int]]:
    """The first `count` draws of endless passes, in the simplest way."""
    drawn: list[tuple[int, int]] = []
    for number in range(count // num_images + 1):
        rng = np.random.default_rng([seed, number])
        order, seeds = rng.permutation(num_images).tolist(), rng.integers(1 << 32, size=num_images).tolist()
        drawn += [(i, seeds[i]) for i in order]
    return drawn[:count]


def test_an_epoch_that_is_a_pass_draws_what_it_always_did() -> None:
    for number in (0, 3):
        rng = np.random.default_rng([5, number])
        order, seeds = rng.permutation(11), rng.integers(1 << 32, size=11)
        keys = [(int(i), int(seeds[i])) for i in order[:9]]
        assert epoch(11, 3, 5, number) == [keys[0:3], keys[3:6], keys[6:9]]


@pytest.mark.parametrize(
    ("num_images", "batch_size", "steps", "world_size"), [(5, 4, 7, 1), (5, 2, 3, 2), (1, 3, 2, 2), (97, 4, 3, 3), (4, 4, 1, 1)]
)
def test_epochs_of_so_many_steps_draw_from_passes_that_run_on(num_images: int, batch_size: int, steps: int, world_size: int) -> None:
    """Epoch for epoch, step for step, rank for rank: the draws of endless passes."""
    epochs, drawn = 5, []
    ranks = [TrainingBatches(num_images, batch_size, 7, rank, world_size, epoch_steps=steps) for rank in range(world_size)]
    for number in range(epochs):
        of_ranks = []
        for sampler in ranks:
            sampler.set_epoch(number)
            of_ranks.append(list(sampler))
            assert len(sampler) == len(of_ranks[-1]) == steps
        drawn += [key for step in zip(*of_ranks, strict=True) for batch in step for key in batch]
    assert drawn == stream(num_images, epochs * steps * batch_size * world_size, 7)
    for start in range(0, len(drawn) - num_images + 1, num_images):
        assert sorted(index for index, _ in drawn[start : start + num_images]) == list(range(num_images)), "once a pass"
    assert len(set(drawn)) == len(drawn), "each draw has a seed of its own"


def test_epochs_of_so_many_steps_go_on_at_any_step() -> None:
    whole = []
    for number in range(4):
        sampler = TrainingBatches(5, 4, 0, epoch_steps=3)
        sampler.set_epoch(number)
        whole.append(list(sampler))
    for first in product(range(4), range(4)):
        goes_on = TrainingBatches(5, 4, 0, first=first, epoch_steps=3)
        for number in range(first[0], 4):
            goes_on.set_epoch(number)
            assert list(goes_on) == whole[number][first[1] if number == first[0] else 0 :]


def test_steps_of_an_epoch_are_what_is_loaded_and_what_lightning_counts(noise: Path, tmp_path: Path) -> None:
    data = data_of(noise, None, epoch_steps=5)  # of 7 images, 3 a step
    seen = fit(data, tmp_path, 2)
    assert [len(rows) for rows in seen.values()] == [15, 15]
    names = [name for rows in seen.values() for name, _ in rows]
    assert all(len(set(names[start : start + 7])) == 7 for start in range(0, 28, 7))
    full = data_of(noise, None, epoch_steps=2, batch_size=20)
    assert [len(batch) for batch in full.train_dataloader()] == [20, 20], "a step is full, also of fewer images"


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_covers_every_image_once_in_batches_of_one_size(world_size: int) -> None:
    sizes = [(20, 30), (24, 20), (20, 30), (20, 30), (24, 20), (20, 30), (7, 7)]
    ranks = [evaluation_batches(sizes, 2, rank, world_size) for rank in range(world_size)]
    assert sorted(i for r in ranks for i in indices(list(r))) == list(range(7))
    for batches in ranks:
        assert len(list(batches)) == len(batches)
        for batch in batches:
            assert len({sizes[i] for i, _ in batch}) == 1
            assert 1 <= len(batch) <= 2


def test_a_rank_without_an_image_has_an_empty_batch() -> None:
    """Lightning passes over a rank without a batch, and the others would wait for it where figures are put together."""
    ranks = [list(evaluation_batches([(8, 8)], 4, rank, 3)) for rank in range(3)]
    assert ranks == [[[(0, 0)]], [[]], [[]]]
    assert list(evaluation_batches([], 4)) == []
    assert len(collate([])) == 0


def test_ranks_see_together_what_one_process_sees() -> None:
    """Two ranks of 4 images have in each step the images, and the seeds of their augmentation, of one process with 8."""
    ranks = [epoch(25, 4, 0, 3, rank, 2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == epoch(25, 8, 0, 3)


def test_a_split_is_read_as_it_is_stored(noise: Path, policy: Policy) -> None:
    data = data_of(noise, policy)
    batches = list(data.val_dataloader())
    assert [b.image_ids for b in batches] == [["val00", "val02"], ["val03"], ["val01", "val04"]]
    image = data.split_dataset("val")[(1, 0)].image
    assert image.shape == (24, 20, 3)
    np.testing.assert_array_equal(batches[2].images[0].permute(1, 2, 0), image)
    np.testing.assert_array_equal(batches[2].semantic[0], np.zeros((24, 20)))


def test_augmented_copies_join_the_training_split(noise: Path, tmp_path: Path) -> None:
    copies = store(tmp_path, {"train": [(40, 48)] * 4, "val": [(20, 20)], "test": [(20, 20)]}) / "train"
    data = SegmentationData(noise, copies, None, 11, 2, 0, 0, False)
    (batch,) = data.train_dataloader()
    assert Counter(batch.image_ids) == Counter([f"train{i:02d}" for i in range(7)] + [f"train{i:02d}" for i in range(4)])


def test_instances_travel_with_their_images(prepared: Path) -> None:
    import json

    data = SegmentationData(prepared, None, None, 4, 4, 0, 0, with_instances=True)
    truth = json.loads((prepared / "train/instances.json").read_text())
    names = {i["id"]: Path(i["file_name"]).stem for i in truth["images"]}
    expected = {name: [a for a in truth["annotations"] if names[a["image_id"]] == name] for name in names.values()}
    seen = 0
    for batch in data.train_dataloader():
        for name, ids, categories in zip(batch.image_ids, batch.instances, batch.categories, strict=True):
            assert categories.tolist() == [a["category_id"] for a in expected[name]]
            areas = torch.bincount(ids.flatten(), minlength=len(categories) + 1)[1:]
            assert areas.tolist() == [a["area"] for a in expected[name]]
            seen += len(categories)
    assert seen > 10
    assert all(len(c) == 0 for b in data_of(prepared, None).train_dataloader() for c in b.categories)


def test_what_is_pasted_depends_on_seed_epoch_and_image_alone(prepared: Path) -> None:
    """Not on the number of workers; and images do receive instances, also from the augmented copies."""
    pasting = compile_policy(augment({"_target_": "HorizontalFlip", "p": 0.5}, p=0.5, min_visible=0.2), ["albumentations"])

    def data(workers: int, seed: int = 0, epoch: int = 0) -> list[tuple[str, bytes, bytes, list[int]]]:
        return pasted_epoch(SegmentationData(prepared, None, pasting, 2, 4, workers, seed, with_instances=True), epoch)

    first = data(0)
    assert data(0) == data(1) == data(2) == first
    assert data(0, seed=1) != first != data(0, epoch=1)
    stored = DrawnDataset([prepared / "train"], 3, None, with_instances=True)
    own = {sample.image_id: len(sample.categories) for sample in map(stored.read, range(len(stored)))}
    more = [len(categories) - own[name] for e in range(6) for name, _, _, categories in data(0, epoch=e)]
    assert sum(n > 0 for n in more) > len(more) / 5
    assert sum(n == 0 for n in more) > len(more) / 5


def test_another_image_may_be_an_augmented_copy(prepared: Path) -> None:
    pasting = compile_policy(augment(p=1.0), ["albumentations"])
    folders, read = [prepared / "train", prepared / "val"], []
    dataset = DrawnDataset(folders, 3, pasting, with_instances=True)
    stored = dataset.as_stored
    dataset.as_stored = lambda index: read.append(index) or stored(index)  # type: ignore[method-assign]
    for seed in range(60):
        dataset[(0, seed)]
    assert set(read[::2]) == {0}
    assert set(read[1::2]) == set(range(1, len(dataset)))


def test_evaluation_draws_nothing(prepared: Path) -> None:
    pasting = compile_policy(augment({"_target_": "HorizontalFlip"}, p=1.0, min_visible=1.0, min_area=10**6), ["albumentations"])
    with_policy, without = (SegmentationData(prepared, None, p, 4, 4, 0, 0, with_instances=True) for p in (pasting, None))
    for one, other in zip(with_policy.val_dataloader(), without.val_dataloader(), strict=True):
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(a, b) for a, b in zip(one.instances + one.crowd, other.instances + other.crowd, strict=True))


def test_copy_paste_needs_a_task_that_reads_instances(noise: Path) -> None:
    with pytest.raises(ConfigError, match=r"augment\.copy_paste\.p: this task reads no instances .*; set augment\.copy_paste\.p=0"):
        data_of(noise, compile_policy(augment(p=0.1), ["albumentations"])).train_dataloader()


def test_copies_that_were_made_without_instances_are_no_use_with_them(noise: Path, prepared: Path) -> None:
    with pytest.raises(
        DataError, match=r"train: has no instances\.json; set task=semantic, or write it with them \(`seg prepare`, `seg augment`\)"
    ):
        SegmentationData(prepared, noise / "train", None, 2, 2, 0, 0, with_instances=True).train_dataloader()


def test_more_devices_than_images_are_refused(noise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of(noise, None)
    monkeypatch.setattr(data, "_rank", lambda: (0, 8))
    with pytest.raises(DataError, match=r"7 images are too few for 8 devices; set trainer\.devices=1"):
        data.train_dataloader()


def test_workers_are_as_many_as_is_said(noise: Path) -> None:
    assert data_of(noise, None, workers="auto").train_dataloader().num_workers == 0
    assert data_of(noise, None, workers=2).train_dataloader().num_workers == 2
