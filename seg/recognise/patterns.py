"""Folders of images and labels in many places -> the two patterns that stand for them all, with {split} and {folder}."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from seg.recognise.listing import SPLIT_WORDS, is_division, split_of


@dataclass(frozen=True, slots=True)
class Places:
    """images, masks: patterns below the root. words: of each split, what {split} stands for; empty where folders say no split. folders:
    what {folder} stands for, where it is in the patterns."""

    images: str
    masks: str
    words: dict[str, list[str]] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


def places_of(contexts: Iterable[tuple[str, str]], images: Iterable[str], masks: Iterable[str]) -> Places:
    """contexts: what stands before and after the differing part of the folders' paths. images, masks: those parts, as /images."""
    known = sorted(set(contexts))
    words: dict[str, list[str]] = {}
    for side in (0, 1):
        said = [split_of(context[side]) for context in known]
        if all(split for split, _ in said) and is_division({str(split) for split, _ in said}):
            for (split, pattern), context in zip(said, known, strict=True):
                start = pattern.index("{split}")
                word = context[side][start : len(context[side]) - (len(pattern) - start - len("{split}"))]
                words.setdefault(str(split), []).append(word)
            known = sorted({(p, c[1]) if side == 0 else (c[0], p) for (_, p), c in zip(said, known, strict=True)})
            break
    words = {split: sorted(set(words[split])) for split in SPLIT_WORDS if split in words}
    image, mask = _glob(images), _glob(masks)
    befores, afters = sorted({b for b, _ in known}), sorted({a for _, a in known})
    before, after, folders = befores[0], afters[0], tuple[str, ...]()
    if len(befores) > 1:
        common = _common_folder(befores)
        if image == mask == "" and afters == [""] and (not words or "{split}" in common):
            before = common
        else:
            before, folders = _generalised(befores)
    if len(afters) > 1:
        below = _common_folder(afters) if all(a == "" or a.startswith("/") for a in afters) else None
        if below is None or (words and "{split}" not in before + below):
            after, folders = _generalised(afters) if not folders else (_glob(afters), folders)
        else:
            after = below
    image, mask = ((before + part + after).strip("/") or "." for part in (image, mask))
    return Places(image, mask, words, folders)


def alike(sequences: Sequence[Sequence[str]]) -> int:
    """How many of their first elements all have in common."""
    return sum(1 for _ in takewhile(lambda each: len(set(each)) == 1, zip(*sequences, strict=False)))


def _common_folder(paths: Sequence[str]) -> str:
    parts = [path.split("/") for path in paths]
    return "/".join(parts[0][: alike(parts)])


def _glob(texts: Iterable[str]) -> str:
    """One text for all, with * for what differs."""
    known = sorted(set(texts))
    if len(known) == 1:
        return known[0]
    start = alike(known)
    end = alike([text[start:][::-1] for text in known])
    return f"{known[0][:start]}*{known[0][len(known[0]) - end :]}"


def _generalised(paths: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """One path for all, with {folder} for what differs, in whole words; and what that is in each."""
    start = alike(paths)
    while start and not all(border(path, start) for path in paths):
        start -= 1
    rests = [path[start:] for path in paths]
    end = alike([rest[::-1] for rest in rests])
    while end and not all(border(rest, len(rest) - end) for rest in rests):
        end -= 1
    varying = tuple(rest[: len(rest) - end].strip("/") for rest in rests)
    return f"{paths[0][:start]}{{folder}}{paths[0][len(paths[0]) - end :] if end else ''}", varying


def border(text: str, place: int) -> bool:
    """Whether a word begins or ends at a place of a text."""
    return place in (0, len(text)) or not (text[place - 1].isalnum() and text[place].isalnum())
