"""Splits of the prepared data set, and augmented copies, as Batches. What is drawn depends on seed, epoch and image
alone: not on the number of worker processes, and not on where a run was interrupted."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from seg.augment.policy import Policy
from seg.core.errors import ConfigError, DataError
from seg.data.sample import Sample, no_instances
from seg.data.store import DatasetInfo, Entry, read_annotations, read_entries, read_info, read_sample
from seg.loading.batch import Batch, collate
from seg.loading.workers import Place, choose_workers, open_cache
from seg.training.loading.cache_choice import CacheSettings
from seg.training.loading.cache_file import SampleCache

Key = tuple[int, int]
"""(index of an image, seed of its augmentation)."""

Size = tuple[int, int]


class SampleDataset(Dataset[Sample]):
    """The images of one or more splits' folders; indexed by a Key.

    cache: of decoded samples, in which the first image has the number `first`.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        channels: int,
        policy: Policy | None,
        with_instances: bool,
        cache: SampleCache | None = None,
        first: int = 0,
    ) -> None:
        self.cache, self.first = cache, first
        self.rows: list[tuple[Path, Entry]] = [(folder, entry) for folder in folders for entry in read_entries(folder)]
        self.annotations = {folder: read_annotations(folder) for folder in folders} if with_instances else {}
        self.channels, self.policy = channels, policy
        if policy and policy.copy_paste.p and not with_instances:
            raise ConfigError("augment.copy_paste.p: this task reads no instances that could be pasted; set augment.copy_paste.p=0")
        for folder in self.annotations:
            if not (folder / "instances.json").is_file():
                raise DataError(f"{folder}: has no instances.json; set task=semantic, or write it with them (`seg prepare`, `seg augment`)")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> Sample:
        index, seed = key
        return self.policy.draw_from(self.read, len(self), index, seed) if self.policy else self.read(index)

    def read(self, index: int) -> Sample:
        """A sample as it is stored."""
        folder, entry = self.rows[index]
        if self.cache and (kept := self.cache.get(self.first + index, entry.image_id)):
            return kept
        annotations = self.annotations[folder].get(entry.file, ()) if self.annotations else ()
        sample = read_sample(folder, entry, self.channels, annotations)
        if self.cache:
            self.cache.put(self.first + index, sample)
        return sample


class TrainingBatches(Sampler[list[Key]]):
    """Batches of Keys in an order that (seed, epoch) gives; every rank has as many, and no image comes twice.

    first: (epoch, step) where an interrupted training goes on; the batches of that epoch before that step are left out.
    """

    def __init__(
        self, num_images: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1, first: tuple[int, int] = (0, 0)
    ) -> None:
        self.num_images, self.seed, self.rank, self.world_size = num_images, seed, rank, world_size
        self.batch_size = min(batch_size, max(1, num_images // world_size))
        self.first = first
        self.epoch = first[0]  # loading processes draw before Lightning names the epoch

    @property
    def sampler(self) -> "TrainingBatches":
        """Lightning looks for `set_epoch` here: on the sampler of a batch sampler, not on the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self.num_images // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[Key]]:
        return islice(self.whole_epoch(), self.first[1] if self.epoch == self.first[0] else 0, None)

    def whole_epoch(self) -> Iterator[list[Key]]:
        """The batches from the first on, wherever training goes on."""
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.num_images)
        seeds = rng.integers(1 << 32, size=self.num_images)
        for step in range(len(self)):
            start = (step * self.world_size + self.rank) * self.batch_size
            yield [(int(i), int(seeds[i])) for i in order[start : start + self.batch_size]]


class EvaluationBatches(Sampler[list[Key]]):
    """Batches of images of one size, in stored order; the ranks share them out, and no image comes twice.

    A rank that is left without one has an empty batch: it takes part in what ranks do together after the last.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        by_size: dict[tuple[int, int], list[int]] = {}
        for index in range(rank, len(sizes), world_size):
            by_size.setdefault(sizes[index], []).append(index)
        self.batches = [
            [(i, 0) for i in members[start : start + batch_size]]
            for members in by_size.values()
            for start in range(0, len(members), batch_size)
        ]
        if not self.batches and world_size > 1:
            self.batches = [[]]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)


class SegmentationData(pl.LightningDataModule):
    """prepared: the prepared data set. augmented: folder of policy and copies, or None. workers: processes that load.

    cache: whether decoded samples of training and validation are kept, and where; None: no cache.
    """

    def __init__(
        self,
        prepared: Path,
        augmented_train: Path | None,
        policy: Policy | None,
        batch_size: int,
        eval_batch_size: int,
        workers: int | str,
        seed: int,
        with_instances: bool,
        cache: CacheSettings | None = None,
    ) -> None:
        super().__init__()
        self.cache_settings = cache
        self._cache: SampleCache | None = None
        self._cache_is_open = False
        self.prepared, self.augmented_train, self.policy = prepared, augmented_train, policy
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        self.workers, self.with_instances = workers, with_instances
        self.first = (0, 0)  # (epoch, step) at which training goes on
        self.info: DatasetInfo = read_info(prepared)

    @property
    def training_folders(self) -> list[Path]:
        """The training split's, and that of its augmented copies."""
        return [self.prepared / "train"] + ([self.augmented_train] if self.augmented_train else [])

    def num_training_images(self) -> int:
        return sum(len(read_entries(folder)) for folder in self.training_folders)

    def image_sizes(self) -> tuple[list[Size], list[Size]]:
        """(height, width) as training draws its smallest and largest images, and of validation's and test's most different ones."""
        stored = [size_of(e) for folder in self.training_folders for e in read_entries(folder)]
        predicted = [size_of(e) for split in ("val", "test") for e in read_entries(self.prepared / split)]
        return [self._drawn(size) for size in _extremes(stored)], _extremes(predicted)

    def _drawn(self, size: Size) -> Size:
        if self.policy is None:
            return size
        blank = Sample("blank", np.zeros((*size, self.info.channels), np.uint8), np.zeros(size, np.uint8), *no_instances(*size))
        return self.policy(blank, self.seed).size

    def train_dataloader(self) -> DataLoader[Sample]:
        folders = self.training_folders
        dataset = SampleDataset(folders, self.info.channels, self.policy, self.with_instances, self._kept())
        rank, world_size = self._rank()
        if len(dataset) < world_size:
            raise DataError(f"{folders[0]}: {len(dataset)} images are too few for {world_size} devices; set trainer.devices=1")
        batches = TrainingBatches(len(dataset), self.batch_size, self.seed, rank, world_size, self.first)
        stored = _extremes([size_of(e) for _, e in dataset.rows])
        drawn = [self._drawn(size) for size in stored]
        return self._loader(dataset, batches, drawn)

    def val_dataloader(self) -> DataLoader[Sample]:
        cache, first = self._kept(), self.num_training_images()
        return self._in_stored_order(SampleDataset([self.prepared / "val"], self.info.channels, None, self.with_instances, cache, first))

    def transfer_batch_to_device(self, batch: Batch, device: Any, dataloader_idx: int) -> Batch:
        """Lightning calls this; from page-locked memory a GPU copies while it computes."""
        return batch.to(device, non_blocking=batch.images.is_pinned())

    def split_dataset(self, split: str) -> SampleDataset:
        """A split as it is stored."""
        return SampleDataset([self.prepared / split], self.info.channels, None, self.with_instances)

    def split_dataloader(self, split: str) -> DataLoader[Sample]:
        """Batches of a split as it is stored (the loader yields a Batch each)."""
        return self._in_stored_order(self.split_dataset(split))

    def _in_stored_order(self, dataset: SampleDataset) -> DataLoader[Sample]:
        sizes = [size_of(entry) for _, entry in dataset.rows]
        return self._loader(dataset, EvaluationBatches(sizes, self.eval_batch_size, *self._rank()), sizes)

    def _kept(self) -> SampleCache | None:
        """The cache of the samples of training and, behind them, of validation; opened once, when it is first asked for."""
        if self.cache_settings and not self._cache_is_open:
            folders = [*self.training_folders, self.prepared / "val"]
            rows = [entry for folder in folders for entry in read_entries(folder)]
            content = [self.info.digest, str(self.with_instances), *(_digest(folder / "manifest.csv") for folder in folders)]
            if self.augmented_train:
                content.append(_digest(self.augmented_train.parent / "augmented.json"))
            place, name = Place.of(self.trainer), str(self.prepared)
            self._cache = open_cache(self.cache_settings, place, name, content, rows, self.info.channels, self.with_instances)
            self._cache_is_open = True
        return self._cache

    def _rank(self) -> tuple[int, int]:
        place = Place.of(self.trainer)
        return place.rank, place.world_size

    def _loader(self, dataset: SampleDataset, batches: TrainingBatches | EvaluationBatches, sizes: Sequence[Size]) -> DataLoader[Sample]:
        """sizes: of images as the loader gives them, the largest among them."""
        place, size = Place.of(self.trainer), max((height * width for height, width in sizes), default=0)
        most = self.batch_size if isinstance(batches, TrainingBatches) else self.eval_batch_size
        layers = 2 if self.with_instances else 0  # of id maps, as a rule
        count, ahead = choose_workers(self.workers, place, most * size * (self.info.channels + 1 + 4 * layers))
        if count:
            cv2.setNumThreads(1)  # OpenCV's threads do not survive a fork, and a worker would wait for them for ever
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=count,
            prefetch_factor=ahead if count else None,
            collate_fn=collate,
            pin_memory=place.on_gpu,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # else each epoch draws its workers' seeds from what dropout draws from
            persistent_workers=count > 0,  # an epoch need not wait for them to start: it travels with the sampler's keys
        )


def size_of(entry: Entry) -> Size:
    """(height, width) of a stored image."""
    return entry.height, entry.width


def _extremes(sizes: Sequence[Size]) -> list[Size]:
    """The smallest, the largest, the widest and the highest of the sizes, each once."""
    if not sizes:
        return []
    area, shape = (lambda s: (s[0] * s[1], s)), (lambda s: (s[0] / s[1], s))
    return list(dict.fromkeys(choose(sizes, key=by) for by in (area, shape) for choose in (min, max)))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _start_worker(_: int) -> None:
    cv2.setNumThreads(1)
