"""Decoded samples in one file that all processes of a training map into memory: each is decoded once, and copied from there.

The file is a header, a table with a slot a sample, and the samples, in the order in which they were first read. It is
written with `pwrite`, since a full disk then raises an error, where a write to mapped memory would end the process, and read
through the mapping. A slot counts from the moment its state says so, after the bytes it speaks of; a process that is
killed before leaves a gap, which is filled later. Each run checks each slot's checksum once, so that a file that a power cut
left half written harms nobody. What a sample is does not depend on the cache, so no lock guards reading.
"""

import fcntl
import os
import struct
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from seg.data.sample import Sample

_HEADER = struct.Struct("<16s32sqqqqq")  # magic, key, samples, capacity, run, bytes used, whether the disk is full
_MAGIC = b"seg samples 0001"
_CAPACITY, _RUN, _USED, _FULL = (56 + 8 * i for i in range(4))
_TABLE = 128
_NOTHING, _RESERVED, _READY = range(3)
_PART = 64  # samples start at multiples of it


class CacheSlot(NamedTuple):
    """A row of the table. run: that checked or wrote it. id_bytes: of a number in the stored id map."""

    state: int = _NOTHING
    run: int = 0
    offset: int = 0
    length: int = 0
    checksum: int = 0
    height: int = 0
    width: int = 0
    channels: int = 0
    layers: int = 0
    instances: int = 0
    id_bytes: int = 1


_SLOT = struct.Struct(f"<{len(CacheSlot._fields)}q")


def least_size(num_samples: int) -> int:
    """Bytes of a file that holds no sample yet."""
    return _up(_TABLE + num_samples * _SLOT.size, 4096)


class SampleCache:
    """The cache in the file at `path`, open as `file`. Forked processes share it; where it is pickled instead, it is opened anew."""

    def __init__(self, path: str, file: int) -> None:
        self.path, self.file = path, file
        _, self.key, self.num_samples, self.capacity, self.run, _, _ = _header(file)
        self._map = mmap(file, self.capacity, access=ACCESS_READ)
        self._close = weakref.finalize(self, os.close, file)

    def __reduce__(self) -> Any:
        return _reopened, (self.path, self.run)

    def get(self, index: int, image_id: str) -> Sample | None:
        """A sample that was put, in arrays of its own; None where there is none, or its bytes are not as they were written."""
        place = _TABLE + index * _SLOT.size
        slot = CacheSlot(*_SLOT.unpack_from(self._map, place))
        if slot.state != _READY or slot.offset + slot.length > self.capacity:  # another run lets the file grow
            return None
        if slot.run < self.run:
            with memoryview(self._map) as bytes_, bytes_[slot.offset : slot.offset + slot.length] as stored:
                sound = crc32(stored) == slot.checksum
            self._write_slot(index, slot._replace(run=self.run, state=_READY if sound else _NOTHING))
            if not sound:
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
        parts = [np.ascontiguousarray(values, kind).reshape(-1).view(np.uint8) for values, kind in zip(maps, kinds, strict=True)]
        height, width, channels = sample.image.shape
        length, checksum = sum(part.size for part in parts), 0
        slot = CacheSlot(
            _RESERVED, self.run, 0, length, 0, height, width, channels, sample.instances.shape[2], len(sample.categories), id_bytes
        )
        offset = self._reserve(index, slot)
        if not offset:
            return
        for part in parts:
            checksum = crc32(part.data, checksum)
        try:
            if os.pwritev(self.file, [part.data for part in parts if part.size], offset) != length:
                raise OSError("no space left")
        except OSError as error:
            os.pwrite(self.file, struct.pack("<q", 1), _FULL)
            reason = (error.strerror or str(error)).lower()
            print(
                f"runtime.cache: {self.path}: {reason}; images that it does not hold yet are decoded as before", file=sys.stderr, flush=True
            )
            return
        self._write_slot(index, slot._replace(state=_READY, offset=offset, checksum=checksum))

    def bytes_used(self) -> int:
        """Of the file, the header and the table among them."""
        return self._number(_USED)

    def _reserve(self, index: int, slot: CacheSlot) -> int:
        """Room for a slot's bytes; 0 where there is none, or another process has taken it for the same sample."""
        if self._number(_FULL):
            return 0
        with locked(self.file, 0):
            before = CacheSlot(*_SLOT.unpack_from(self._map, _TABLE + index * _SLOT.size))
            if before.state == _READY or (before.state == _RESERVED and before.run >= self.run):
                return 0
            offset, used = before.offset, self._number(_USED)
            if before.length != slot.length:  # else of a run that was killed while it wrote the same
                offset = used
                if used + slot.length > self.capacity:
                    return 0
                os.pwrite(self.file, struct.pack("<q", min(self.capacity, _up(used + slot.length, _PART))), _USED)
            self._write_slot(index, slot._replace(offset=offset))
            return offset

    def _write_slot(self, index: int, slot: CacheSlot) -> None:
        os.pwrite(self.file, _SLOT.pack(*slot), _TABLE + index * _SLOT.size)

    def _number(self, place: int) -> int:
        return int(struct.unpack_from("<q", self._map, place)[0])


def create(num_samples: int, capacity: int) -> SampleCache:
    """A cache in memory, gone with the last process that has it open; on Linux, without a name, else in a temporary file.

    Linux counts neither kind of memory as /dev/shm's, which is small in containers.
    """
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("seg-samples")
        path = f"/proc/{os.getpid()}/fd/{file}"
    else:
        file, path = tempfile.mkstemp(prefix="seg-samples-")
    initialise(file, bytes(32), num_samples, capacity)
    cache = SampleCache(path, file)
    if not path.startswith("/proc/"):
        weakref.finalize(cache, Path(path).unlink, True)
    return cache


def open_shared(path: str) -> SampleCache:
    """The cache that another process created at `path`."""
    return SampleCache(path, os.open(path, os.O_RDWR))


def initialise(file: int, key: bytes, num_samples: int, capacity: int) -> None:
    """Make an empty file a cache; its magic number is written last."""
    os.ftruncate(file, capacity)
    header = _HEADER.pack(_MAGIC, key, num_samples, capacity, 1, least_size(num_samples), 0)
    os.pwrite(file, header[16:], 16)
    os.pwrite(file, header[:16], 0)


def begin_run(file: int, key: bytes, num_samples: int, capacity: int) -> bool:
    """Have what an existing file holds checked once more, and let it grow to `capacity`; False where it is no cache of this key."""
    if os.fstat(file).st_size < least_size(num_samples):
        return False
    magic, own_key, own_samples, own_capacity, run, used, _ = _header(file)
    if (magic, own_key, own_samples) != (_MAGIC, key, num_samples) or max(own_capacity, used) > capacity:
        return False
    if os.fstat(file).st_size < own_capacity:
        return False
    os.ftruncate(file, capacity)
    os.pwrite(file, struct.pack("<qqqq", capacity, run + 1, used, 0), _CAPACITY)
    return True


@contextmanager
def locked(file: int, place: int) -> Iterator[None]:
    """Hold a POSIX lock on the byte `place` of a file: it is the process's own, also where the descriptor is inherited."""
    fcntl.lockf(file, fcntl.LOCK_EX, 1, place)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, place)


def _header(file: int) -> tuple[bytes, bytes, int, int, int, int, int]:
    return _HEADER.unpack(os.pread(file, _HEADER.size, 0))


def _reopened(path: str, run: int) -> SampleCache:
    cache = open_shared(path)
    cache.run = run
    return cache


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
