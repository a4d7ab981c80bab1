"""Decoded samples that are kept: the same bytes as from the files, in every process, and never more than was allowed."""

import multiprocessing
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from pasted import pasted_epoch
from tiny import Blobs, augment, prepare_tiny

from seg.augment.policy import compile_policy
from seg.data.sample import Sample, no_instances
from seg.data.store import ManifestEntry, read_entries, read_sample
from seg.training.loading.cache_choice import CacheSettings, choose_kind, decoded_size, kept_cache
from seg.training.loading.cache_file import SampleCache, create, least_size
from seg.training.loading.datamodule import SegmentationData


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


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    """Of any number of channels, layers and instances, whose ids take one, two and four bytes; in arrays that may be written to."""
    for cache in (create(5, 1 << 20), kept(tmp_path, 1 << 20)):
        for index, sample in enumerate(SAMPLES):
            assert cache.get(index, sample.image_id) is None
            cache.put(index, sample)
        assert all(same(cache.get(index, sample.image_id), sample) for index, sample in enumerate(SAMPLES))


def kept(folder: Path, capacity: int, content: str = "content", name: str = "data", num: int = 5, gigabytes: float = 1.0) -> SampleCache:
    cache = kept_cache(CacheSettings("memmap", gigabytes, folder), name, [content], num, capacity)
    assert cache is not None
    return cache


def test_what_does_not_fit_is_left_out() -> None:
    """Files of exactly so many bytes: two samples of 7 x 9 pixels (252 bytes each, in parts of 64) fit, and then a small one."""
    capacity = least_size(5) + 256 + 256 + 10
    cache = create(5, capacity)
    for index, sample in enumerate([drawn(0), drawn(1), drawn(2), drawn(3, (5, 1), 1)]):
        cache.put(index, sample)
    assert [cache.get(index, "") is not None for index in range(5)] == [True, True, False, True, False]
    assert os.fstat(cache.file).st_size == cache.bytes_used() == capacity


def test_a_later_run_finds_what_a_former_one_kept(tmp_path: Path) -> None:
    kept(tmp_path, 1 << 16).put(2, drawn(2))
    again = kept(tmp_path, 1 << 17)
    assert same(again.get(2, "image2"), drawn(2))
    assert again.get(1, "image1") is None
    again.put(1, drawn(1))
    assert same(kept(tmp_path, 1 << 17).get(1, "image1"), drawn(1))


def test_a_killed_writer_leaves_nothing_that_is_read_and_its_room_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = kept(tmp_path, 1 << 16)

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.put(0, drawn(0))
    used = cache.bytes_used()
    cache.put(0, drawn(0))  # another process of this run may still be at it
    assert cache.get(0, "image0") is None
    again = kept(tmp_path, 1 << 16)
    assert again.get(0, "image0") is None
    again.put(0, drawn(0))
    assert same(again.get(0, "image0"), drawn(0))
    assert again.bytes_used() == used


def test_damaged_bytes_are_found_in_the_next_run(tmp_path: Path) -> None:
    cache = kept(tmp_path, 1 << 16)
    for index in (0, 1):
        cache.put(index, drawn(index))
    os.pwrite(cache.file, b"\0" * 8, least_size(5) + 100)  # what a power cut leaves of a page that was not written
    again = kept(tmp_path, 1 << 16)
    assert again.get(0, "image0") is None
    assert same(again.get(1, "image1"), drawn(1))
    again.put(0, drawn(0))
    assert same(again.get(0, "image0"), drawn(0))


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"seg samples 0001" + bytes(200), bytes(100_000)], ids=["empty", "short", "cut", "zeros"]
)
def test_a_file_that_is_no_cache_is_replaced(tmp_path: Path, content: bytes) -> None:
    cache = kept(tmp_path, 1 << 16)
    Path(cache.path).write_bytes(content)
    again = kept(tmp_path, 1 << 16)
    again.put(0, drawn(0))
    assert same(again.get(0, "image0"), drawn(0))


def test_a_full_disk_is_said_once_and_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = kept(tmp_path, 1 << 16)
    cache.put(0, drawn(0))
    monkeypatch.setattr(os, "pwritev", lambda *_: 5)  # a short write
    cache.put(1, drawn(1))
    cache.put(2, drawn(2))
    assert capsys.readouterr().err.count("no space left; images that it does not hold yet are decoded as before\n") == 1
    assert same(cache.get(0, "image0"), drawn(0))
    assert cache.get(1, "image1") is None


def names_of(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.samples")}


def test_caches_of_other_data_go_when_stale_or_when_the_room_is_needed(tmp_path: Path) -> None:
    """10 kB for all: a cache of the same place with other content is stale; of other places the oldest goes first."""
    size, gigabytes = 4096, 10_000e-9
    first = Path(kept(tmp_path, size, name="a", num=1, gigabytes=gigabytes).path).name
    second = Path(kept(tmp_path, size, name="b", num=1, gigabytes=gigabytes).path).name
    os.utime(tmp_path / first, (1, 1))
    assert names_of(tmp_path) == {first, second}
    third = Path(kept(tmp_path, size + 600, name="c", num=1, gigabytes=gigabytes).path).name
    assert names_of(tmp_path) == {second, third}
    fourth = Path(kept(tmp_path, size, "changed", "b", 1, gigabytes).path).name
    assert names_of(tmp_path) == {third, fourth}
    assert len({first, second, third, fourth}) == 4


def in_another_process(act: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(act, arguments)


def open_small(folder: Path, name: str) -> tuple[int, int]:
    cache = kept_cache(CacheSettings("memmap", 10_000e-9, folder), name, ["content"], 1, 6000)
    return (cache.capacity, cache.run) if cache else (0, 0)


def test_a_cache_that_a_training_uses_is_not_removed(tmp_path: Path) -> None:
    """And the other one has what is left: together they never have more than was allowed."""
    cache = kept(tmp_path, 5000, name="a", num=1, gigabytes=10_000e-9)
    cache.put(0, drawn(0))
    assert in_another_process(open_small, tmp_path, "b") == (5000, 1)
    assert same(cache.get(0, "image0"), drawn(0))
    assert len(names_of(tmp_path)) == 2
    assert in_another_process(open_small, tmp_path, "a") == (6000, 2)


def put_and_get(cache: SampleCache, index: int) -> bool:
    cache.put(index, drawn(index))
    return same(cache.get(0, "image0"), drawn(0))


def test_processes_share_what_each_of_them_read(tmp_path: Path) -> None:
    for cache in (create(8, 1 << 16), kept(tmp_path, 1 << 16, num=8)):
        cache.put(0, drawn(0))
        jobs = [multiprocessing.get_context("fork").Process(target=put_and_get, args=(cache, index)) for index in (1, 1, 2, 3)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        assert all(same(cache.get(index, f"image{index}"), drawn(index)) for index in range(4))
        assert cache.bytes_used() == least_size(8) + 4 * 256  # none of them twice
        opened_anew = pickle.loads(pickle.dumps(cache))
        assert same(opened_anew.get(3, "image3"), drawn(3))


def loaded(folder: Path, copies: Path | None, policy: Any, kind: str, scratch: Path, workers: int) -> Any:
    cache = CacheSettings(kind, 1.0, scratch)
    data = SegmentationData(folder, copies, policy, 2, 2, workers, 0, with_instances=True, cache=cache)
    epochs = [pasted_epoch(data, epoch) for epoch in (0, 1, 2)]
    val = [(b.image_ids, b.images.numpy().tobytes(), [i.numpy().tobytes() for i in b.instances]) for b in data.val_dataloader()]
    return epochs, val


def test_epochs_are_the_same_bytes_with_and_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With augmented copies, overlapping instances, copy-paste and validation; with and without loading processes."""
    prepare_tiny(Blobs(8), tmp_path / "data")
    prepare_tiny(Blobs(6, (20, 28)), tmp_path / "other")
    turn = {"_target_": "Affine", "rotate": [-180, 180]}
    policy = compile_policy(augment(turn, {"_target_": "HorizontalFlip", "p": 0.5}, p=0.5, min_visible=0.2), ["albumentations"])
    given = tmp_path / "data", tmp_path / "other/train", policy
    expected = loaded(*given, "none", tmp_path, 0)
    assert len(expected[0][0]) > 4
    for kind, workers in (("memory", 0), ("memory", 2), ("memmap", 1), ("auto", 0)):
        assert loaded(*given, kind, tmp_path / "scratch", workers) == expected, (kind, workers)

    def decoded(*_: object) -> None:
        raise AssertionError("was decoded again")

    monkeypatch.setattr("seg.training.loading.datamodule.read_sample", decoded)
    assert loaded(*given, "memmap", tmp_path / "scratch", 0) == expected


def test_each_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_tiny(Blobs(8), tmp_path / "data")
    read: list[str] = []

    def counted(folder: Path, entry: ManifestEntry, *more: Any) -> Sample:
        read.append(entry.image_id)
        return read_sample(folder, entry, *more)

    monkeypatch.setattr("seg.training.loading.datamodule.read_sample", counted)
    data = SegmentationData(tmp_path / "data", None, None, 2, 2, 0, 0, True, CacheSettings("memory", 1.0, tmp_path))
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

    def chosen(kind: str, gigabytes: float, memory: float = 1e12) -> tuple[str, int]:
        monkeypatch.setattr("seg.training.loading.cache_choice.available_memory", lambda: int(memory))
        return choose_kind(CacheSettings(kind, gigabytes, tmp_path), rows, 3, False)

    assert chosen("auto", 1.0) == ("memory", needed)
    assert chosen("auto", (needed - 1) / 1e9) == ("none", 0)
    assert chosen("auto", 1.0, 4 * needed - 4) == ("none", 0)
    assert chosen("memory", 1.0) == ("memory", needed)
    assert chosen("memory", (needed - 100) / 1e9) == ("memory", needed - 100)
    assert chosen("memory", 1.0, 2 * needed - 200) == ("memory", needed - 100)
    assert chosen("memmap", 1.0, 0) == ("memmap", needed)
    assert chosen("none", 1.0) == ("none", 0)


def test_a_table_that_is_torn_is_not_followed_out_of_the_file() -> None:
    cache = create(1, 1 << 16)
    cache.put(0, drawn(0))
    os.pwrite(cache.file, struct.pack("<q", 1 << 40), 128 + 16)
    assert cache.get(0, "image0") is None


RANKS = """
import sys
from pathlib import Path
import lightning.pytorch as pl
import torch
from seg.training.loading import datamodule
from seg.training.loading.cache_choice import CacheSettings

decode, folder = datamodule.read_sample, Path(sys.argv[1])
def counted(place, entry, *more):
    sys.stdout.write(f"decoded {entry.image_id}\\n")
    return decode(place, entry, *more)
datamodule.read_sample = counted

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

data = datamodule.SegmentationData(folder, None, None, 1, 1, 0, 0, False, CacheSettings(sys.argv[2], 1.0, folder.parent / "scratch"))
options = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=6, use_distributed_sampler=False, **options)
trainer.fit(Module(), datamodule=data)
"""


@pytest.mark.slow
def test_ranks_share_one_cache(tmp_path: Path) -> None:
    """Each of them sees every image sooner or later; no image is decoded twice."""
    prepare_tiny(Blobs(8), tmp_path / "data")
    (tmp_path / "ranks.py").write_text(RANKS)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "ranks.py"), str(tmp_path / "data"), "memory"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    stored = {entry.image_id for entry in read_entries(tmp_path / "data/train")}
    decoded = [line.split()[1] for line in lines if line.startswith("decoded ")]
    assert sorted(decoded) == sorted(stored)
    seen = [line.split()[1:] for line in lines if line.startswith("epoch ")]
    for epoch in range(6):
        assert {name for number, name, _ in seen if number == str(epoch)} == stored
    assert len({(name, value) for _, name, value in seen}) == len(stored)
