"""The stored images of a prepared data set, read as Samples and loaded as Batches: what evaluation needs, and training builds on."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from seg.core.errors import DataError
from seg.data.panoptic import with_stuff
from seg.data.sample import Sample
from seg.data.store import DatasetInfo, ManifestEntry, read_annotations, read_entries, read_info, read_sample
from seg.loading.batch import collate
from seg.loading.workers import RankPlacement, choose_workers

Key = tuple[int, int]  # (index of an image, seed of its augmentation)

Size = tuple[int, int]

OUT_OF_FOLD = "out_of_fold"  # what all images of folds together are called, each predicted by the model of its fold


class SampleDataset(Dataset[Sample]):
    """The images of one or more splits' folders as they are stored; indexed by a Key. things: as `seg.data.panoptic.with_stuff` takes
    them, where instances are to be segments."""

    def __init__(self, folders: Sequence[Path], channels: int, with_instances: bool, things: Collection[int] | None = None) -> None:
        self.rows: list[tuple[Path, ManifestEntry]] = [(folder, entry) for folder in folders for entry in read_entries(folder)]
        self.annotations = {folder: read_annotations(folder) for folder in folders} if with_instances else {}
        self.channels, self.things = channels, things
        for folder in self.annotations:
            if not (folder / "instances.json").is_file():
                raise DataError(f"{folder}: has no instances.json; set task=semantic, or write it with them (`seg prepare`, `seg augment`)")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> Sample:
        return self.read(key[0])

    def read(self, index: int) -> Sample:
        """A sample as models and figures take it."""
        return self.labelled(self.as_stored(index))

    def labelled(self, sample: Sample) -> Sample:
        """A sample, whose instances become segments where they are to be."""
        return sample if self.things is None else with_stuff(sample, self.things)

    def as_stored(self, index: int) -> Sample:
        """A sample as it is stored."""
        folder, entry = self.rows[index]
        annotations = self.annotations[folder].get(entry.file, ()) if self.annotations else ()
        return read_sample(folder, entry, self.channels, annotations)

    def sizes(self) -> list[Size]:
        """(height, width) of each image."""
        return [size_of(entry) for _, entry in self.rows]


def evaluation_batches(
    sizes: Sequence[Size], batch_size: int, rank: int = 0, world_size: int = 1, window: int | None = None
) -> list[list[Key]]:
    """Batches of images of one size, in stored order; the ranks share them out, and no image comes twice.

    window: the side of the part of an image that is seen at once: an image that is larger is a batch of its own. None: any is seen whole.
    A rank that is left without one has an empty batch: it takes part in what ranks do together after the last.
    """
    by_size: dict[Size, list[int]] = {}
    for index in range(rank, len(sizes), world_size):
        by_size.setdefault(sizes[index], []).append(index)
    batches = [
        [(i, 0) for i in members[start : start + count]]
        for size, members in by_size.items()
        for count in [1 if window and max(size) > window else batch_size]
        for start in range(0, len(members), count)
    ]
    return batches or [[]] * (world_size > 1)


class PreparedData:
    """A prepared data set, and its splits as batches of images as they are stored. workers: processes that load. window: as
    `evaluation_batches` takes it. stuff: whether instances become segments."""

    def __init__(
        self, prepared: Path, batch_size: int, workers: int | str, with_instances: bool, window: int | None = None, stuff: bool = False
    ) -> None:
        self.prepared, self.eval_batch_size, self.workers, self.with_instances = prepared, batch_size, workers, with_instances
        self.window = window
        self.info: DatasetInfo = read_info(prepared)
        self.things = self.info.things if stuff else None

    def split_dataset(self, split: str) -> SampleDataset:
        """A split as it is stored, or OUT_OF_FOLD: all splits that folds divide."""
        splits = self.info.in_folds if split == OUT_OF_FOLD else (split,)
        return SampleDataset([self.prepared / name for name in splits], self.info.channels, self.with_instances, self.things)

    def split_dataloader(self, split: str, on_gpu: bool = False) -> DataLoader[Sample]:
        """Batches of a split as it is stored (the loader yields a Batch each). on_gpu: whether a CUDA device waits for them."""
        return self.stored(self.split_dataset(split), RankPlacement(on_gpu=on_gpu))

    def stored(self, dataset: SampleDataset, placement: RankPlacement) -> DataLoader[Sample]:
        """A loader of the rank's share of the images, in batches of one size."""
        sizes = dataset.sizes()
        batches = evaluation_batches(sizes, self.eval_batch_size, placement.rank, placement.world_size, self.window)
        pixels = max((len(batch) * area(sizes[batch[0][0]]) for batch in batches if batch), default=0)
        return loader_of(dataset, batches, pixels, self.workers, placement, self.with_instances)


def loader_of(
    dataset: SampleDataset, batches: Iterable[list[Key]], pixels: int, workers: int | str, placement: RankPlacement, with_instances: bool
) -> DataLoader[Sample]:
    """pixels: of the largest batch."""
    layers = 2 if with_instances else 0  # of id maps, as a rule
    count, ahead = choose_workers(workers, placement, pixels * (dataset.channels + 1 + 4 * layers))
    if count:
        cv2.setNumThreads(1)  # OpenCV's threads do not survive a fork, and a worker would wait for them for ever
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=count,
        prefetch_factor=ahead if count else None,
        collate_fn=collate,
        pin_memory=placement.on_gpu,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # else each epoch draws its workers' seeds from what dropout draws from
        persistent_workers=count > 0,  # an epoch need not wait for them to start: it travels with the sampler's keys
    )


def area(size: Size) -> int:
    """The number of pixels."""
    return size[0] * size[1]


def size_of(entry: ManifestEntry) -> Size:
    """(height, width) of a stored image."""
    return entry.height, entry.width


def _start_worker(_: int) -> None:
    cv2.setNumThreads(1)
