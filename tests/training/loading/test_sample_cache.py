"""Decoded samples that are kept: the same bytes as from the files, in every process, and never more than was allowed."""

import multiprocessing
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeConfig
from pasted import pasted_epoch
from scripts import lines_of
from tiny import Blobs, augment, prepare_tiny

from seg.augment.policy import compile_policy
from seg.data.sample import Sample, no_instances
from seg.data.store import ManifestEntry, read_entries, read_sample
from seg.training.loading.datamodule import SegmentationData
from seg.training.loading.sample_cache import CacheSettings, SampleCache, create, decoded_size, least_size, room_for


def drawn(number: int, size: tuple[int, int] = (7, 9), channels: int = 3, count: int = 0, layers: int = 1) -> Sample:
    rng = np.random.default_rng(number)
    image = rng.integers(256, size=(*size, channels), dtype=np.uint8)
    semantic, (instances, categories, crowd) = rng.integers(9, size=size).astype(np.uint8), no_instances(*size)
    if count:
        instances = rng.integers(count + 1, size=(*size, layers)).astype(np.int32)
        categories, crowd = rng.integers(9, size=count).astype(np.int32), rng.random(count) < 0.5
    return Sample(f"image{number}", image, semantic, instances, categories, crowd)


def same(one: Sample | None, other: Sample) -> bool:
    names = ("image", "semantic", "instances", "categories", "crowd")
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    alike = all(a.dtype == b.dtype and a.shape == b.shape and (a == b).all() and a.flags.writeable for a, b in pairs)
    return one is not None and one.image_id == other.image_id and alike


SAMPLES = [drawn(0), drawn(1, (5, 1), 1), drawn(2, (11, 8), 5, 3), drawn(3, (30, 20), 3, 300, 2), drawn(4, (6, 6), 3, 70_000)]


def test_samples_come_back_as_they_were() -> None:
    """Of any number of channels, layers and instances, whose ids take one, two and four bytes; in arrays that may be written to."""
    cache = create(5, 1 << 20)
    for index, sample in enumerate(SAMPLES):
        assert cache.get(index, sample.image_id) is None
        cache.put(index, sample)
    assert all(same(cache.get(index, sample.image_id), sample) for index, sample in enumerate(SAMPLES))


def test_what_does_not_fit_is_left_out() -> None:
    """Files of exactly so many bytes: two samples of 7 x 9 pixels (252 bytes each, in parts of 64) fit, and then a small one."""
    capacity = least_size(5) + 256 + 256 + 10
    cache = create(5, capacity)
    for index, sample in enumerate([drawn(0), drawn(1), drawn(2), drawn(3, (5, 1), 1)]):
        cache.put(index, sample)
    assert [cache.get(index, "") is not None for index in range(5)] == [True, True, False, True, False]
    assert os.fstat(cache.file).st_size == used(cache) == capacity


def used(cache: SampleCache) -> int:
    """Bytes of the file that are taken."""
    return int(struct.unpack("<q", os.pread(cache.file, 8, 0))[0])


def test_a_lack_of_memory_is_said_once_and_does_no_harm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cache = create(5, 1 << 16)
    cache.put(0, drawn(0))
    monkeypatch.setattr(os, "pwritev", lambda *_: 5)  # a short write
    cache.put(1, drawn(1))
    cache.put(2, drawn(2))
    assert capsys.readouterr().err.count("no space left; images that it does not hold yet are decoded as before\n") == 1
    assert same(cache.get(0, "image0"), drawn(0))
    assert cache.get(1, "image1") is None


def put_and_get(cache: SampleCache, index: int) -> bool:
    cache.put(index, drawn(index))
    return same(cache.get(0, "image0"), drawn(0))


def test_processes_share_what_each_of_them_read() -> None:
    cache = create(8, 1 << 16)
    cache.put(0, drawn(0))
    jobs = [multiprocessing.get_context("fork").Process(target=put_and_get, args=(cache, index)) for index in (1, 1, 2, 3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert all(same(cache.get(index, f"image{index}"), drawn(index)) for index in range(4))
    assert used(cache) == least_size(8) + 4 * 256  # none of them twice
    opened_anew = pickle.loads(pickle.dumps(cache))
    assert same(opened_anew.get(3, "image3"), drawn(3))


def loaded(folder: Path, copies: Path | None, policy: Any, kind: str, workers: int) -> Any:
    cache = CacheSettings(kind, 1.0)
    data = SegmentationData(folder, copies, policy, 2, 2, workers, 0, with_instances=True, cache=cache)
    epochs = [pasted_epoch(data, epoch) for epoch in (0, 1, 2)]
    val = [(b.image_ids, b.images.numpy().tobytes(), [i.numpy().tobytes() for i in b.instances]) for b in data.val_dataloader()]
    return epochs, val


def test_epochs_are_the_same_bytes_with_and_without_a_cache(tmp_path: Path) -> None:
    """With augmented copies, overlapping instances, copy-paste and validation; with and without loading processes."""
    prepare_tiny(Blobs(8), tmp_path / "data")
    prepare_tiny(Blobs(6, (20, 28)), tmp_path / "other")
    turn = {"_target_": "Affine", "rotate": [-180, 180]}
    policy = compile_policy(augment(turn, {"_target_": "HorizontalFlip", "p": 0.5}, p=0.5, min_visible=0.2), ["albumentations"])
    given = tmp_path / "data", tmp_path / "other/train", policy
    expected = loaded(*given, "none", 0)
    assert len(expected[0][0]) > 4
    for kind, workers in (("memory", 0), ("memory", 2), ("auto", 1)):
        assert loaded(*given, kind, workers) == expected, (kind, workers)


def test_each_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_tiny(Blobs(8), tmp_path / "data")
    read: list[str] = []

    def counted(folder: Path, entry: ManifestEntry, *more: Any) -> Sample:
        read.append(entry.image_id)
        return read_sample(folder, entry, *more)

    monkeypatch.setattr("seg.loading.dataset.read_sample", counted)
    data = SegmentationData(tmp_path / "data", None, None, 2, 2, 0, 0, True, CacheSettings("memory", 1.0))
    for _ in range(3):
        for loader in (data.train_dataloader(), data.val_dataloader()):
            list(loader)
    stored = [entry.image_id for split in ("train", "val") for entry in read_entries(tmp_path / "data" / split)]
    assert sorted(read) == sorted(stored)


def test_auto_keeps_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_tiny(Blobs(8), tmp_path / "data")
    rows = read_entries(tmp_path / "data/train")
    needed = least_size(len(rows)) + decoded_size(rows, 3, False)
    assert needed == least_size(4) + 4 * (24 * 32 * 4 + 64) + 5 * sum(row.num_instances for row in rows)

    def room(kind: str, gigabytes: float, memory: float = 1e12) -> int:
        monkeypatch.setattr("seg.training.loading.sample_cache.available_memory", lambda: int(memory))
        return room_for(CacheSettings(kind, gigabytes), rows, 3, False)

    assert room("auto", 1.0) == needed
    assert room("auto", (needed - 1) / 1e9) == 0
    assert room("auto", 1.0, 4 * needed - 4) == 0
    assert room("memory", 1.0) == needed
    assert room("memory", (needed - 100) / 1e9) == needed - 100
    assert room("memory", 1.0, 2 * needed - 200) == needed - 100
    assert room("none", 1.0) == 0


def test_a_kind_of_former_versions_is_a_cache_in_memory(make_config: MakeConfig) -> None:
    assert make_config("runtime.cache=memmap").runtime.cache == "memory"


RANKS = """
import sys
from pathlib import Path
import lightning.pytorch as pl
import torch
from seg.loading import dataset
from seg.training.loading import datamodule
from seg.training.loading.sample_cache import CacheSettings

decode, folder = dataset.read_sample, Path(sys.argv[1])
def counted(place, entry, *more):
    sys.stdout.write(f"decoded {entry.image_id}\\n")
    return decode(place, entry, *more)
dataset.read_sample = counted

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)
    def training_step(self, batch, _):
        sums = [(name, int(image.sum())) for name, image in zip(batch.image_ids, batch.images)]
        sys.stdout.write("".join(f"epoch {self.current_epoch} {name} {value}\\n" for name, value in sums))
        sys.stdout.flush()
        torch.distributed.barrier()
        return self.layer(torch.ones(1, 1)).sum()

data = datamodule.SegmentationData(folder, None, None, 1, 1, 0, 0, False, CacheSettings("memory", 1.0))
options = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=6, use_distributed_sampler=False, **options)
trainer.fit(Module(), datamodule=data)
"""


@pytest.mark.slow
def test_ranks_share_one_cache(tmp_path: Path) -> None:
    """Each of them sees every image sooner or later; no image is decoded twice."""
    prepare_tiny(Blobs(8), tmp_path / "data")
    lines = lines_of(tmp_path, RANKS, str(tmp_path / "data"))
    stored = {entry.image_id for entry in read_entries(tmp_path / "data/train")}
    decoded = [line.split()[1] for line in lines if line.startswith("decoded ")]
    assert sorted(decoded) == sorted(stored)
    seen = [line.split()[1:] for line in lines if line.startswith("epoch ")]
    for epoch in range(6):
        assert {name for number, name, _ in seen if number == str(epoch)} == stored
    assert len({(name, value) for _, name, value in seen}) == len(stored)
