"""Which cache of decoded samples a training has, if any: in memory, or in a file that the next training of the same data uses again."""

import fcntl
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch.distributed

from seg.core.machine import available_memory
from seg.data.store import ManifestEntry
from seg.loading.workers import Place
from seg.training.loading.cache_file import SampleCache, begin_run, create, initialise, least_size, locked, open_shared

GIGABYTE = 10**9
SHARE_OF_MEMORY = {"memory": 0.5, "auto": 0.25}
"""Of the memory that is available, the part that decoded samples may take at most, so that a training has its own."""

_SUFFIX, _IN_USE = ".samples", 1


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """runtime.cache and runtime.cache_gb; folder: of caches that are kept, in the scratch folder."""

    kind: str
    gigabytes: float
    folder: Path


def choose_kind(settings: CacheSettings, rows: Sequence[ManifestEntry], channels: int, with_instances: bool) -> tuple[str, int]:
    """`none`, `memory` or `memmap`, and the bytes it may have: all samples' where they are known before they are read.

    auto is memory where all samples fit into cache_gb and a quarter of the memory that is available, and none elsewhere: decoding
    anew costs less than swapping.
    """
    least = least_size(len(rows))
    most, needed = int(settings.gigabytes * GIGABYTE), least + decoded_size(rows, channels, with_instances)
    if settings.kind == "none":
        return "none", 0
    if settings.kind != "memmap":
        most = min(most, int(SHARE_OF_MEMORY[settings.kind] * available_memory()))
    if most <= least or (settings.kind == "auto" and needed > most):
        return "none", 0
    kind = "memory" if settings.kind == "auto" else settings.kind
    return kind, most if with_instances else min(most, needed)


def decoded_size(rows: Sequence[ManifestEntry], channels: int, with_instances: bool) -> int:
    """Bytes of the decoded samples of `rows`; beside instances about so many, as the layers of their id maps are not known yet."""
    layer = 1 if with_instances else 0
    return sum(row.height * row.width * (channels + 1 + layer) + 5 * row.num_instances + 64 for row in rows)


def memory_cache(num_samples: int, capacity: int) -> SampleCache | None:
    """A cache in memory; None where the system has none to give."""
    try:
        return create(num_samples, capacity)
    except OSError as error:
        print(f"runtime.cache: no cache in memory ({error.strerror}); images are decoded each time", flush=True)
        return None


def kept_cache(settings: CacheSettings, name: str, content: Sequence[str], num_samples: int, capacity: int) -> SampleCache | None:
    """The cache of this content in the scratch folder, as a former run left it, or a new one; None where there is no room for it.

    name: of the place the data lie at: a cache of other content from the same place is stale, and removed. content: digests of
    all that decides what the samples are. Caches of other places stay while all together have no more than cache_gb; then those
    go that were unused for longest, but never one that a training uses.
    """
    key = hashlib.sha256("\n".join([cv2.__version__, *content]).encode()).digest()
    place = hashlib.sha256(name.encode()).hexdigest()[:8]
    path = settings.folder / f"{place}-{key.hex()[:16]}{_SUFFIX}"
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        guard = os.open(settings.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            with locked(guard, 0):
                left = _make_room(path, place, int(settings.gigabytes * GIGABYTE), capacity)
                return _opened(path, key, num_samples, min(capacity, left)) if left > least_size(num_samples) else None
        finally:
            os.close(guard)
    except OSError as error:
        print(f"runtime.cache=memmap: {path}: {error.strerror}; images are decoded each time", flush=True)
        return None


def _opened(path: Path, key: bytes, num_samples: int, capacity: int) -> SampleCache:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.lockf(file, fcntl.LOCK_SH, 1, _IN_USE)
    if os.fstat(file).st_size and not begin_run(file, key, num_samples, capacity):
        path.unlink()  # a training that uses it keeps what it has open
        os.close(file)
        return _opened(path, key, num_samples, capacity)
    if not os.fstat(file).st_size:
        initialise(file, key, num_samples, capacity)
    os.utime(file)
    return SampleCache(str(path), file)


def _make_room(own: Path, place: str, most: int, wanted: int) -> int:
    """Remove caches until `wanted` more bytes are no more than `most`; returns how many more may be."""
    others = sorted((p for p in own.parent.glob(f"*{_SUFFIX}") if p != own), key=lambda p: p.stat().st_mtime)
    sizes = {path: path.stat().st_size for path in others}
    for path in others:
        if (path.name.startswith(f"{place}-") or sum(sizes.values()) + wanted > most) and _remove_unused(path):
            del sizes[path]
    return most - sum(sizes.values())


def _remove_unused(path: Path) -> bool:
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _IN_USE)
        path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def open_cache(
    settings: CacheSettings,
    place: Place,
    name: str,
    content: Sequence[str],
    rows: Sequence[ManifestEntry],
    channels: int,
    with_instances: bool,
) -> SampleCache | None:
    """The cache of the samples of `rows`; the ranks on one machine share it. name, content: as `kept_cache` has them."""
    kind, capacity = choose_kind(settings, rows, channels, with_instances) if place.local_rank == 0 else ("", 0)
    cache = memory_cache(len(rows), capacity) if kind == "memory" else None
    if place.world_size > 1:
        found: list[tuple[int, str, int, str]] = [(0, "", 0, "")] * place.world_size
        torch.distributed.all_gather_object(found, (place.node, kind, capacity, cache.path if cache else ""))
        _, kind, capacity, path = next(told for told in found if told[0] == place.node and told[1])
        if path and not cache:
            cache = open_shared(path)
    if kind == "memmap":
        cache = kept_cache(settings, name, content, len(rows), capacity)
    needed = decoded_size(rows, channels, with_instances)
    if cache and place.local_rank == 0 and needed > cache.capacity:
        sizes = f"{cache.capacity / 1e9:.3g} of {'about ' * with_instances}{needed / 1e9:.3g} GB"
        print(f"runtime.cache={kind}: has room for {sizes} of decoded images; the others are decoded each time", flush=True)
    return cache
