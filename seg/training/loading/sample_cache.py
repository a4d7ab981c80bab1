"""Decoded samples in memory that all processes of a training map: each is decoded once, and copied from there.

The memory is one file without a name: a header, a table with a slot for each sample, and the samples, in the order in which they were
first read. It is written with `pwrite`, since a lack of memory then raises an error, where a write to mapped memory would end the
process, and read through the mapping. A slot counts from the moment its state says so, after the bytes it speaks of. What a sample is
does not depend on the cache, so no lock guards reading."""

import fcntl
import os
import struct
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch.distributed

from seg.core.environment import available_memory
from seg.data.sample import Sample
from seg.data.store import ManifestEntry
from seg.loading.dataset import RankPlacement

GIGABYTE = 10**9
SHARE_OF_MEMORY = {"memory": 0.5, "auto": 0.25}
"""Of the memory that is available, the part that decoded samples may take at most, so that a training has its own."""

_USED, _FULL, _TABLE = 0, 8, 64  # in the file: bytes used, whether there is no memory left, the first slot
_NOTHING, _RESERVED, _READY = range(3)
_PART = 64  # samples start at multiples of it


@dataclass(frozen=True, slots=True)
class CacheSettings:
    kind: str
    gigabytes: float


class CacheSlot(NamedTuple):
    """A row of the table. id_bytes: of a number in the stored id map."""

    state: int = _NOTHING
    offset: int = 0
    length: int = 0
    height: int = 0
    width: int = 0
    channels: int = 0
    layers: int = 0
    instances: int = 0
    id_bytes: int = 1


_SLOT = struct.Struct(f"<{len(CacheSlot._fields)}q")


def least_size(num_samples: int) -> int:
    """Bytes of a cache that holds no sample yet."""
    return -(-(_TABLE + num_samples * _SLOT.size) // 4096) * 4096


class SampleCache:
    """The cache in the file at `path`, open as `file`. Forked processes share it; where it is pickled instead, it is opened anew."""

    def __init__(self, path: str, file: int) -> None:
        self.path, self.file, self.capacity = path, file, os.fstat(file).st_size
        self._map = mmap(file, self.capacity, access=ACCESS_READ)
        self._close = weakref.finalize(self, os.close, file)

    def __reduce__(self) -> Any:
        return open_shared, (self.path,)

    def get(self, index: int, image_id: str) -> Sample | None:
        """A sample that was put, in arrays of its own; None where there is none."""
        slot = self._slot(index)
        if slot.state != _READY:
            return None
        pixels = slot.height * slot.width
        sizes = (pixels * slot.channels, pixels, pixels * slot.layers * slot.id_bytes, 4 * slot.instances, slot.instances)
        ends = slot.offset + np.cumsum((0, *sizes))
        types = (np.uint8, np.uint8, f"u{slot.id_bytes}" if slot.id_bytes < 4 else np.int32, np.int32, np.bool_)
        shape = (slot.height, slot.width)
        shapes = ((*shape, slot.channels), shape, (*shape, slot.layers), (-1,), (-1,))
        image, semantic, instances, categories, crowd = (
            np.frombuffer(self._map, np.uint8, size, start).view(kind).reshape(form)
            for size, start, kind, form in zip(sizes, ends[:-1].tolist(), types, shapes, strict=True)
        )
        return Sample(image_id, image.copy(), semantic.copy(), instances.astype(np.int32), categories.copy(), crowd.copy())

    def put(self, index: int, sample: Sample) -> None:
        """Keep a sample, unless there is no room for it or another process keeps it already."""
        id_bytes = next(size for size, most in ((1, 255), (2, 65535), (4, 1 << 31)) if len(sample.categories) <= most)
        kinds: tuple[Any, ...] = (np.uint8, np.uint8, f"u{id_bytes}", np.int32, np.bool_)
        maps = (sample.image, sample.semantic, sample.instances, sample.categories, sample.crowd)
        arrays = [np.ascontiguousarray(values, kind).reshape(-1).view(np.uint8) for values, kind in zip(maps, kinds, strict=True)]
        length = sum(array.size for array in arrays)
        height, width, channels = sample.image.shape
        slot = CacheSlot(_RESERVED, 0, length, height, width, channels, sample.instances.shape[2], len(sample.categories), id_bytes)
        offset = self._reserve(index, slot)
        if not offset:
            return
        try:
            if os.pwritev(self.file, [array.data for array in arrays if array.size], offset) != length:
                raise OSError("no space left")
        except OSError as error:
            os.pwrite(self.file, struct.pack("<q", 1), _FULL)
            reason = (error.strerror or str(error)).lower()
            print(f"runtime.cache: {reason}; images that it does not hold yet are decoded as before", file=sys.stderr, flush=True)
            return
        self._write_slot(index, slot._replace(state=_READY, offset=offset))

    def _reserve(self, index: int, slot: CacheSlot) -> int:
        """Room for a slot's bytes; 0 where there is none, or another process has taken it for the same sample."""
        if self._number(_FULL):
            return 0
        fcntl.lockf(self.file, fcntl.LOCK_EX, 1)  # the process's own, also where the descriptor is inherited
        try:
            offset = self._number(_USED)
            if self._slot(index).state != _NOTHING or offset + slot.length > self.capacity:
                return 0
            used = min(self.capacity, -(-(offset + slot.length) // _PART) * _PART)
            os.pwrite(self.file, struct.pack("<q", used), _USED)
            self._write_slot(index, slot._replace(offset=offset))
            return offset
        finally:
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1)

    def _slot(self, index: int) -> CacheSlot:
        return CacheSlot(*_SLOT.unpack_from(self._map, _TABLE + index * _SLOT.size))

    def _write_slot(self, index: int, slot: CacheSlot) -> None:
        os.pwrite(self.file, _SLOT.pack(*slot), _TABLE + index * _SLOT.size)

    def _number(self, place: int) -> int:
        return int(struct.unpack_from("<q", self._map, place)[0])


def create(num_samples: int, capacity: int) -> SampleCache:
    """A cache that is gone with the last process that has it open; on Linux, without a name, else in a temporary file.

    Linux does not count this memory as /dev/shm's, which is small in containers."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("seg-samples")
        path = f"/proc/{os.getpid()}/fd/{file}"
    else:
        file, path = tempfile.mkstemp(prefix="seg-samples-")
    os.ftruncate(file, capacity)
    os.pwrite(file, struct.pack("<q", least_size(num_samples)), _USED)
    cache = SampleCache(path, file)
    if not path.startswith("/proc/"):
        weakref.finalize(cache, Path(path).unlink, True)
    return cache


def open_shared(path: str) -> SampleCache:
    """The cache that another process created at `path`."""
    return SampleCache(path, os.open(path, os.O_RDWR))


def room_for(settings: CacheSettings, rows: Sequence[ManifestEntry], channels: int, with_instances: bool) -> int:
    """The bytes that a cache of the samples of `rows` may have; 0: no cache.

    auto is a cache where all samples fit into cache_gb and a quarter of the memory that is available, and none elsewhere: decoding
    anew costs less than swapping."""
    if settings.kind == "none":
        return 0
    least = least_size(len(rows))
    needed = least + decoded_size(rows, channels, with_instances)
    most = min(int(settings.gigabytes * GIGABYTE), int(SHARE_OF_MEMORY[settings.kind] * available_memory()))
    if most <= least or (settings.kind == "auto" and needed > most):
        return 0
    return most if with_instances else min(most, needed)


def decoded_size(rows: Sequence[ManifestEntry], channels: int, with_instances: bool) -> int:
    """Bytes of the decoded samples of `rows`; beside instances about so many, as the layers of their id maps are not known yet."""
    layer = 1 if with_instances else 0
    return sum(row.height * row.width * (channels + 1 + layer) + 5 * row.num_instances + 64 for row in rows)


def open_cache(
    settings: CacheSettings, placement: RankPlacement, rows: Sequence[ManifestEntry], channels: int, with_instances: bool
) -> SampleCache | None:
    """The cache of the samples of `rows`, which the ranks on one machine share; None without one."""
    cache: SampleCache | None = None
    capacity = room_for(settings, rows, channels, with_instances) if placement.local_rank == 0 else 0
    if capacity:
        try:
            cache = create(len(rows), capacity)
        except OSError as error:
            print(f"runtime.cache: no cache in memory ({error.strerror}); images are decoded each time", flush=True)
    if placement.world_size > 1:
        paths: list[tuple[int, str]] = [(0, "")] * placement.world_size
        torch.distributed.all_gather_object(paths, (placement.node, cache.path if cache else ""))
        path = next((path for node, path in paths if node == placement.node and path), "")
        if path and not cache:
            cache = open_shared(path)
    needed = decoded_size(rows, channels, with_instances)
    if cache and placement.local_rank == 0 and needed > cache.capacity:
        sizes = f"{cache.capacity / 1e9:.3g} of {'about ' * with_instances}{needed / 1e9:.3g} GB"
        print(f"runtime.cache={settings.kind}: has room for {sizes} of decoded images; the others are decoded each time", flush=True)
    return cache
