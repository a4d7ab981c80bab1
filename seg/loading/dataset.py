"""The stored images of a prepared data set, read as Samples and loaded as Batches: what evaluation needs, and training builds on.

How many processes load, how much ahead and in how much memory, can change no result."""

import resource
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import cv2
import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset

from seg.core.environment import available_memory, own_cores, shared_memory_left
from seg.core.errors import DataError
from seg.data.labelmaps import with_stuff
from seg.data.sample import Sample
from seg.data.store import DatasetInfo, ManifestEntry, labels_of, read_annotations, read_entries, read_info, read_sample
from seg.loading.batch import collate

Key = tuple[int, int]  # (index of an image, seed of its augmentation)
Size = tuple[int, int]
OUT_OF_FOLD = "out_of_fold"  # what all images of folds together are called, each predicted by the model of its fold
MOST_WORKERS = 8
AHEAD = 2  # batches that each process loads ahead
WORKER_MEMORY = 300 << 20  # an allowance for what a loading process does not share with the one that it was forked from
OF_SHARED_MEMORY = 0.9


@dataclass(frozen=True, slots=True)
class RankPlacement:
    """Where this process stands among those of a training. local_ranks: as many of them run on this machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_ranks: int = 1
    node: int = 0
    on_gpu: bool = False

    @classmethod
    def of(cls, trainer: pl.Trainer | None) -> "RankPlacement":
        if trainer is None:
            return cls()
        on_gpu = trainer.strategy.root_device.type == "cuda"
        local_ranks = max(1, trainer.world_size // max(1, trainer.num_nodes))
        return cls(trainer.global_rank, trainer.world_size, trainer.local_rank, local_ranks, trainer.node_rank, on_gpu)


class SampleDataset(Dataset[Sample]):
    """The images of one or more splits' folders as they are stored; indexed by a Key. things: as `seg.data.labelmaps.with_stuff` takes
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
        folder, entry = self.rows[index]
        annotations = self.annotations[folder].get(entry.file, ()) if self.annotations else ()
        return read_sample(folder, entry, self.channels, annotations)

    def label_digests(self) -> dict[str, str]:
        """{image_id: a digest of its pixels and its labels, 16 hexadecimal digits}, whatever else the data set holds."""
        found = {}
        for folder, entry in self.rows:
            regions = self.annotations[folder].get(entry.file, ()) if self.annotations else ()
            known = [(r["category_id"], r["iscrowd"], r["segmentation"]["counts"]) for r in regions]
            content = f"{entry.sha256} {known} ".encode() + labels_of(folder, entry).read()
            found[entry.image_id] = sha256(content).hexdigest()[:16]
        return found

    def sizes(self) -> list[Size]:
        """(height, width) of each image."""
        return [size_of(entry) for _, entry in self.rows]


def evaluation_batches(
    sizes: Sequence[Size], batch_size: int, rank: int = 0, world_size: int = 1, window: int | None = None
) -> list[list[Key]]:
    """Batches of images of one size, in stored order; the ranks share them out, and no image comes twice. window: the side of the part of
    an image that is seen at once: an image that is larger is a batch of its own. None: any is seen whole. A rank that is left without one
    has an empty batch: it takes part in what ranks do together after the last."""
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

    def refuse_others(self, trained: DatasetInfo) -> None:
        """Raise DataError where a checkpoint was trained on other classes or channels than this data has."""
        known, here = (", ".join(c.name for c in info.classes) for info in (trained, self.info))
        if known != here:
            fix = "train again, or set paths.prepare"
            raise DataError(f"{self.prepared}: has the classes {here}, but the checkpoint was trained on {known}; {fix}")
        if trained.channels != self.info.channels:
            said = f"has {self.info.channels} channels, but the checkpoint was trained on {trained.channels}; train again"
            raise DataError(f"{self.prepared}: {said}")

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
    return size[0] * size[1]


def size_of(entry: ManifestEntry) -> Size:
    """(height, width) of a stored image."""
    return entry.height, entry.width


def _start_worker(_: int) -> None:
    cv2.setNumThreads(1)


def choose_workers(setting: int | str, placement: RankPlacement, batch_bytes: int) -> tuple[int, int]:
    """How many processes load, and how many batches each loads ahead. batch_bytes: of the largest batch. Where /dev/shm is too small for
    their batches there are fewer, and a line says so: torch would end with a bus error, or "unable to allocate shared memory"."""
    wanted = auto_workers(placement, batch_bytes) if setting == "auto" else int(setting)
    count, ahead = fit_shared_memory(wanted, batch_bytes, placement.local_ranks)
    if count < wanted and placement.local_rank == 0:
        left = (shared_memory_left() or 0) / 1e6
        needed = _in_shared_memory(wanted, 1, batch_bytes) * placement.local_ranks / 1e6
        loads = "no process loads beside the training" if not count else f"{count} load{'s' * (count == 1)}"
        print(
            f"/dev/shm has {left:.0f} MB left, {wanted} loading process{'es' * (wanted > 1)} would need {needed:.0f} MB for their batches: "
            f"{loads}; give the container more (docker run --shm-size=8g, or --ipc=host), or set runtime.workers={count}",
            flush=True,
        )
    if count:
        allow_open_files()
    return count, ahead


def auto_workers(placement: RankPlacement, batch_bytes: int = 0) -> int:
    """Beside a network on the CPU a loading process would only take its cores; a GPU wants to be fed. Each rank has its share of the
    machine's cores, one of which is its own, and of a quarter of the memory that is available."""
    if not placement.on_gpu:
        return 0
    by_memory = available_memory() // 4 // placement.local_ranks // (WORKER_MEMORY + AHEAD * batch_bytes)
    return max(1, min(MOST_WORKERS, own_cores(placement.local_ranks) - 1, by_memory))


def fit_shared_memory(wanted: int, batch_bytes: int, local_ranks: int) -> tuple[int, int]:
    """As many processes, up to `wanted`, and batches ahead of each, as /dev/shm has room for."""
    left = shared_memory_left()
    if left is None:
        return wanted, AHEAD
    room = OF_SHARED_MEMORY * left / local_ranks
    for count, ahead in [(wanted, AHEAD), *((count, 1) for count in range(wanted, 0, -1))]:
        if _in_shared_memory(count, ahead, batch_bytes) <= room:
            return count, ahead
    return 0, AHEAD


def allow_open_files() -> None:
    """Raise the soft limit of open files to the hard one: a tensor that comes from another process keeps one open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 1 << 16) if hard != resource.RLIM_INFINITY else 1 << 16
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _in_shared_memory(count: int, ahead: int, batch_bytes: int) -> int:
    """Bytes of the batches that wait, of the one that is learned from and of the one that follows it."""
    return (count * ahead + 2) * batch_bytes if count else 0
