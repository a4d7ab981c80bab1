"""The splits of a training, and augmented copies, as Batches. What is drawn depends on seed, epoch and image alone: not on the number of
worker processes, and not on where a run was interrupted."""

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
from torch.utils.data import DataLoader, Sampler

from seg.augment.policy import Policy
from seg.core.errors import ConfigError, DataError
from seg.data.sample import Sample, no_instances
from seg.data.store import read_entries
from seg.loading.dataset import Key, PreparedData, RankPlacement, SampleDataset, Size, area, loader_of, size_of
from seg.training.loading.sample_cache import CacheSettings, SampleCache, open_cache


class DrawnDataset(SampleDataset):
    """The images as training draws them. cache: of decoded samples, in which the first image has the number `first`."""

    def __init__(
        self,
        folders: Sequence[Path],
        channels: int,
        policy: Policy | None,
        with_instances: bool,
        cache: SampleCache | None = None,
        first: int = 0,
        things: Collection[int] | None = None,
    ) -> None:
        if policy and policy.copy_paste.p and not with_instances:
            raise ConfigError("augment.copy_paste.p: this task reads no instances that could be pasted; set augment.copy_paste.p=0")
        super().__init__(folders, channels, with_instances, things)
        self.policy, self.cache, self.first = policy, cache, first

    def __getitem__(self, key: Key) -> Sample:
        index, seed = key
        return self.labelled(self.policy.draw_from(self.as_stored, len(self), index, seed)) if self.policy else self.read(index)

    def as_stored(self, index: int) -> Sample:
        if not self.cache:
            return super().as_stored(index)
        if kept := self.cache.get(self.first + index, self.rows[index][1].image_id):
            return kept
        sample = super().as_stored(index)
        self.cache.put(self.first + index, sample)
        return sample


class TrainingBatches(Sampler[list[Key]]):
    """Batches of Keys from successive passes over the images, each in a random order and with seeds that (seed, pass) give. Every rank
    has as many batches, of one size. No image comes twice within a pass.

    epoch_steps: None: an epoch is a pass, without the images that are left over at its end. A number: an epoch has so many steps, and
    passes run on over the ends of epochs and batches, so that a batch which spans two passes may hold an image twice.
    first: (epoch, step) where an interrupted training goes on; the batches of that epoch before that step are left out."""

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        first: tuple[int, int] = (0, 0),
        epoch_steps: int | None = None,
    ) -> None:
        self.num_images, self.seed, self.rank, self.world_size, self.epoch_steps = num_images, seed, rank, world_size, epoch_steps
        self.batch_size = batch_size if epoch_steps else min(batch_size, max(1, num_images // world_size))
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
        return self.epoch_steps or self.num_images // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[Key]]:
        return islice(self.whole_epoch(), self.first[1] if self.epoch == self.first[0] else 0, None)

    def whole_epoch(self) -> Iterator[list[Key]]:
        """The batches from the first on, wherever training goes on."""
        step_images = self.batch_size * self.world_size
        start = self.epoch * (self.epoch_steps * step_images if self.epoch_steps else self.num_images) + self.rank * self.batch_size
        for first in range(start, start + len(self) * step_images, step_images):
            yield [self._key(place) for place in range(first, first + self.batch_size)]

    def _key(self, place: int) -> Key:
        """What is drawn at a place of all passes, one after the other."""
        number, place_in_pass = divmod(place, self.num_images)
        order, seeds = _pass(self.seed, number, self.num_images)
        index = int(order[place_in_pass])
        return index, int(seeds[index])


@lru_cache(maxsize=2)
def _pass(seed: int, number: int, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """The order of a pass over all images, and the seed of each image."""
    rng = np.random.default_rng([seed, number])
    return rng.permutation(num_images), rng.integers(1 << 32, size=num_images)


class SegmentationData(PreparedData, pl.LightningDataModule):
    """prepared: the prepared data set. augmented: folder of policy and copies, or None. workers: processes that load.

    cache: of decoded samples of training and validation; None: no cache. epoch_steps: as `TrainingBatches` takes it. window: as
    `evaluation_batches` takes it. stuff: as `PreparedData` takes it."""

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
        epoch_steps: int | None = None,
        window: int | None = None,
        stuff: bool = False,
    ) -> None:
        pl.LightningDataModule.__init__(self)
        PreparedData.__init__(self, prepared, eval_batch_size, workers, with_instances, window, stuff)
        self.cache_settings, self.epoch_steps = cache, epoch_steps
        self._cache: SampleCache | None = None
        self._cache_is_open = False
        self.augmented_train, self.policy, self.batch_size, self.seed = augmented_train, policy, batch_size, seed
        self.first = (0, 0)  # (epoch, step) at which training goes on

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
        return list(dict.fromkeys(self._drawn(size) for size in _extremes(stored))), _extremes(predicted)

    def _drawn(self, size: Size) -> Size:
        if self.policy is None:
            return size
        size = self.policy.crop.size if self.policy.crop else size
        blank = Sample("blank", np.zeros((*size, self.info.channels), np.uint8), np.zeros(size, np.uint8), *no_instances(*size))
        return self.policy(blank, self.seed).size

    def train_dataloader(self) -> DataLoader[Sample]:
        folders = self.training_folders
        dataset = DrawnDataset(folders, self.info.channels, self.policy, self.with_instances, self._kept(), things=self.things)
        rank, world_size = self._rank()
        if len(dataset) < world_size and not self.epoch_steps:
            raise DataError(f"{folders[0]}: {len(dataset)} images are too few for {world_size} devices; set trainer.devices=1")
        stored = _extremes(dataset.sizes())
        drawn = [self._drawn(size) for size in stored]
        return self._loader(dataset, self.training_batches(len(dataset), rank, world_size), drawn)

    def training_batches(self, num_images: int, rank: int, world_size: int) -> TrainingBatches:
        """Those of a rank. num_images: of all that training draws from."""
        return TrainingBatches(num_images, self.batch_size, self.seed, rank, world_size, self.first, self.epoch_steps)

    def val_dataloader(self) -> DataLoader[Sample]:
        cache, first = self._kept(), self.num_training_images()
        dataset = DrawnDataset([self.prepared / "val"], self.info.channels, None, self.with_instances, cache, first, self.things)
        return self.stored(dataset, RankPlacement.of(self.trainer))

    def _kept(self) -> SampleCache | None:
        """The cache of the samples of training and, behind them, of validation; opened once, when it is first asked for."""
        if self.cache_settings and not self._cache_is_open:
            folders = [*self.training_folders, self.prepared / "val"]
            rows = [entry for folder in folders for entry in read_entries(folder)]
            self._cache = open_cache(self.cache_settings, RankPlacement.of(self.trainer), rows, self.info.channels, self.with_instances)
            self._cache_is_open = True
        return self._cache

    def _rank(self) -> tuple[int, int]:
        placement = RankPlacement.of(self.trainer)
        return placement.rank, placement.world_size

    def _loader(self, dataset: SampleDataset, batches: TrainingBatches, sizes: Sequence[Size]) -> DataLoader[Sample]:
        """sizes: of images as the loader gives them, the largest among them."""
        pixels = self.batch_size * max(area(size) for size in sizes)
        return loader_of(dataset, batches, pixels, self.workers, RankPlacement.of(self.trainer), self.with_instances)


def _extremes(sizes: Sequence[Size]) -> list[Size]:
    """The smallest, the largest, the widest and the highest of the sizes, each once."""
    if not sizes:
        return []
    by_area, by_shape = (lambda s: (area(s), s)), (lambda s: (s[0] / s[1], s))
    return list(dict.fromkeys(choose(sizes, key=by) for by in (by_area, by_shape) for choose in (min, max)))
