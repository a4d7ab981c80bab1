"""Images that belong together by their folders or names, as those of a patient do: what keeps them in one split."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from seg.recognise.guess import Guess
from seg.recognise.listing import split_of

FEW = 3  # groups, of which a split needs one each
KEPT = 4  # groups from which on they are kept together without being asked for
NUMBER = re.compile(r"(\d+)\D*$")


def group_of_names(guess: Guess, images: Sequence[PurePosixPath], varying: Sequence[str] = ()) -> None:
    """Set split.group where folders stand for patients and the like; else say which names may belong together.

    varying: what {folder} stands for in the pattern of the images.
    """
    if guess.split:
        return
    folders = list(varying) or sorted({image.parent.name for image in images})
    depth = {len(image.parts) for image in images}
    if len(folders) >= KEPT and len(folders) * 2 <= len(images) and len(depth) == 1 and sum(map(_numbered, folders)) * 2 > len(folders):
        guess.split = {"group": "^(.+)/"}
        guess.why.append(f"the images lie in {len(folders)} folders, such as {folders[0]}: split.group keeps each one's together")
    elif len(folders) > 1:
        guess.doubts.append(f"the images lie in {len(folders)} folders: where those belong together, split.group: '^(.+)/' keeps them so")
    elif hint := _by_name(images):
        guess.doubts.append(hint)
    elif numbered := _in_a_row(images):
        guess.doubts.append(f"{numbered}: slices or frames? split.by: blocks keeps neighbours in one split")


def _numbered(name: str) -> bool:
    return bool(re.search(r"\d", name))


def _by_name(images: Sequence[PurePosixPath]) -> str | None:
    """Names that differ by what stands before a number, as front_7 and side_7, or by a number behind one, as patient3_12."""
    stems = [image.stem for image in images]
    for pattern in (r"^(.*\d)[-_. ][A-Za-z]*\d+$", r"([^\W_]*\d+)$"):
        found = [match.group(1) for stem in stems if (match := re.search(pattern, stem))]
        groups = Counter(found)
        if len(found) == len(stems) and FEW <= len(groups) <= len(stems) / 1.5:
            examples = [stem for stem in stems if re.search(pattern, stem).group(1) == groups.most_common(1)[0][0]][:2]  # type: ignore[union-attr]
            if any(split_of(example)[0] for example in examples):
                return None
            return f"names such as {' and '.join(sorted(examples))} may belong together: split.group: '{pattern}' keeps them in one split"
    return None


def _in_a_row(images: Sequence[PurePosixPath]) -> str | None:
    """What to say where the files' names are numbers without gaps."""
    found = sorted({int(match.group(1)) for image in images if (match := NUMBER.search(image.stem))})
    if len(found) == len(images) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"the names are numbered {found[0]} to {found[-1]} without a gap"
    return None
