"""Nearly the same picture twice: a perceptual hash finds candidates, the correlation of two thumbnails confirms them.

The hash is the DCT hash of Zauner 2010 (Implementation and Benchmarking of Perceptual Image Hash Functions, section 3.2.1): the
64 lowest frequencies of the gray image, but for the constant ones, each a bit that says whether it lies above their median.
Rescaling, recompression and a change of brightness or contrast move few bits. Mirrored, turned or cropped copies are not found."""

from dataclasses import dataclass

import cv2
import numba
import numpy as np

SIDE = 48  # pixels of a thumbnail's side: enough to tell pictures apart that share their coarse shape, 2.3 kB an image
# bits of 64 in which the hashes of a copy may differ. Rescaled, recompressed and brightened copies of street scenes, cells and tissue
# were 0 to 8 apart (nearly always 4 or less), images of different scenes 10 or more, 32 on average.
MAX_DISTANCE = 8
MIN_CORRELATION = 0.95  # of two thumbnails (Pearson): of those copies 0.975 or more, of different scenes 0.94 or less
FLAT = 2.0  # standard deviation of a thumbnail, in gray levels, below which noise alone decides its hash: blank images are not compared
NEAREST = 4  # candidates that are compared an image: those with the nearest hashes. A film may hold more, but one is enough to tell of it.
# images of a bucket that one is compared with. Buckets are smaller, unless a camera never moved; then there are near ones among these.
WINDOW = 2000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images, by their places in the list, that are nearly the same. distance: bits of 64. correlation: of the thumbnails."""

    first: int
    second: int
    distance: int
    correlation: float


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (48, 48) uint8 gray, areas averaged; of other types than uint8 the range is stretched to 0..255."""
    if image.shape[2] == 3:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    else:
        gray = image[..., 0] if image.shape[2] == 1 else image.mean(axis=2, dtype=np.float32)
    while min(gray.shape) >= 4 * SIDE:  # OpenCV averages 2 x 2 pixels far faster than any other area
        height, width = gray.shape[0] // 2, gray.shape[1] // 2
        if min(gray.shape) >= 16 * SIDE:  # an odd row is less than a tenth of a thumbnail's pixel
            gray = gray[: 2 * height, : 2 * width]
        gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if image.dtype != np.uint8:
        low, high = float(small.min()), float(small.max())
        small = (small.astype(np.float64) - low) * (255 / (high - low) if high > low else 0)
    return np.round(small).astype(np.uint8)


def perceptual_hash(small: np.ndarray) -> int:
    """The 64 bits of a thumbnail (48, 48) uint8."""
    low = cv2.dct(small.astype(np.float32))[1:9, 1:9].ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes())


def near_pairs(hashes: list[int], thumbnails: np.ndarray, parts: list[int], contents: list[int]) -> tuple[list[Pair], list[Pair]]:
    """Of each image the nearest one that is nearly equal: in another part (a split, say), and in its own.

    hashes: N numbers of 64 bits. thumbnails: (N, 48, 48) uint8. parts: N numbers. contents: N numbers, the same for images that
    are the same to the pixel, which are no pair. Each pair is given once, `first` before `second`; flat images are in none.

    Hashes are sorted into buckets by each of MAX_DISTANCE + 1 groups of bits: of any two that differ in at most MAX_DISTANCE
    bits, one group is equal."""
    if not len(thumbnails):
        return [], []
    flat = thumbnails.reshape(len(thumbnails), -1)
    contrast = [flat[start : start + 1024].std(axis=1) for start in range(0, len(flat), 1024)]  # eight bytes a pixel, for a while
    kept = np.flatnonzero(np.concatenate(contrast) >= FLAT)
    codes = np.array(hashes, np.uint64)[kept]
    labels = np.stack([np.array(parts, np.int64)[kept], np.array(contents, np.int64)[kept]])
    near = np.full((2, len(kept), NEAREST), -1, np.int64)
    far = np.full((2, len(kept), NEAREST), MAX_DISTANCE + 1, np.int64)
    groups = np.array([sum(1 << bit for bit in range(group, 64, MAX_DISTANCE + 1)) for group in range(MAX_DISTANCE + 1)], np.uint64)
    for number, group in enumerate(groups):
        order = np.lexsort((codes, codes & group))
        _collect(codes, labels, codes[order] & group, order, groups[:number], near, far)
    return _confirmed(kept, near[1], far[1], flat), _confirmed(kept, near[0], far[0], flat)


def nearly_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two thumbnails (48, 48) uint8 show nearly the same, by the rules of `near_pairs`; flat ones, if they are as gray."""
    if min(one.std(), other.std()) < FLAT:
        return bool(max(one.std(), other.std()) < FLAT and abs(one.mean() - other.mean()) < FLAT)
    apart = (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()
    return apart <= MAX_DISTANCE and bool(np.corrcoef(one.ravel(), other.ravel())[0, 1] >= MIN_CORRELATION)


def _confirmed(kept: np.ndarray, near: np.ndarray, far: np.ndarray, flat: np.ndarray) -> list[Pair]:
    """Of each image the candidate whose thumbnail is most like its own, where it is like enough."""
    found: dict[tuple[int, int], Pair] = {}
    for row, (candidates, distances) in enumerate(zip(near, far, strict=True)):
        there = candidates >= 0
        if not there.any():
            continue
        like = np.corrcoef(flat[kept[row]], flat[kept[candidates[there]]])[0, 1:]
        best = int(like.argmax())
        if like[best] >= MIN_CORRELATION:
            first, second = sorted((int(kept[row]), int(kept[candidates[there][best]])))
            found[first, second] = Pair(first, second, int(distances[there][best]), float(like[best]))
    return [found[key] for key in sorted(found)]


@numba.njit(nogil=True, cache=True)
def _collect(
    codes: np.ndarray, labels: np.ndarray, keys: np.ndarray, order: np.ndarray, before: np.ndarray, near: np.ndarray, far: np.ndarray
) -> None:
    """Into near and far (2, N, NEAREST), of each image the nearest of its own part [0] and of others [1] among those of its bucket."""
    one = np.uint64(1)
    for i in range(len(keys)):
        a = order[i]
        for j in range(i + 1, min(len(keys), i + WINDOW)):
            if keys[j] != keys[i]:
                break
            b = order[j]
            differing = codes[a] ^ codes[b]
            seen = labels[1, a] == labels[1, b]
            for group in before:  # then an earlier group of bits brought the two together
                seen = seen or differing & group == np.uint64(0)
            distance = 0
            while not seen and differing != np.uint64(0) and distance <= MAX_DISTANCE:
                differing &= differing - one
                distance += 1
            if not seen and distance <= MAX_DISTANCE:
                which = np.int64(labels[0, a] != labels[0, b])
                _insert(near[which, a], far[which, a], b, distance)
                _insert(near[which, b], far[which, b], a, distance)


@numba.njit(nogil=True, cache=True)
def _insert(near: np.ndarray, far: np.ndarray, candidate: int, distance: int) -> None:
    """Into lists that are sorted by distance, then by place, if there is room."""
    place = len(far)
    while place > 0 and (distance < far[place - 1] or (distance == far[place - 1] and candidate < near[place - 1])):
        place -= 1
    for k in range(len(far) - 1, place, -1):
        near[k], far[k] = near[k - 1], far[k - 1]
    if place < len(far):
        near[place], far[place] = candidate, distance
