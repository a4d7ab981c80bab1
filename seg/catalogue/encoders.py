"""Encoders by pattern: their parameters, the strides at which they give features, and what stands against one.

Building all of them takes minutes, and importing the libraries takes seconds. encoders.csv holds what they gave when they were built, with
the libraries' versions in its first line; `python benchmarks/encoders.py` writes it."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

from seg.core.errors import ConfigError, nearest

FILE = Path(__file__).with_name("encoders.csv")
LIBRARIES = ("timm", "segmentation-models-pytorch", "torchvision")
UNKNOWN = "not in the table of encoders"


@dataclass(frozen=True, slots=True)
class Description:
    """An encoder. parameters: None where they are not known. strides: empty where there are none. remark: what stands against its use."""

    name: str
    parameters: int | None
    strides: tuple[int, ...]
    remark: str = ""


def find(pattern: str | None) -> tuple[list[Description], int]:
    """The encoders whose name holds the pattern, or matches it where it has wildcards, and the number of the others that there are.

    None: all but timm's. ConfigError, with near names, where nothing matches."""
    known = read(FILE)
    names = list(known) if is_current(FILE) else installed()
    wanted = pattern if pattern is not None and any(c in pattern for c in "*?[") else f"*{pattern}*"
    chosen = [name for name in names if (fnmatch(name, wanted) if pattern else not name.startswith("tu-"))]
    if not chosen:
        raise ConfigError(f"models --encoders {pattern}: no encoder's name matches; {_near(str(pattern), names)}")
    return [known.get(name, Description(name, None, (), UNKNOWN)) for name in chosen], len(names) - len(chosen)


def _near(pattern: str, names: Iterable[str]) -> str:
    """Names like the pattern, or the pattern with the word that a slip in it was meant for."""
    names, fixed = list(names), max(re.split(r"[*?\[\]]", pattern), key=len)
    if close := get_close_matches(fixed, names, n=3, cutoff=0.7):
        return f"did you mean {' or '.join(close)}?"
    words = {word for name in names for word in re.split(r"[-_.]", name)}
    if fixed and (word := nearest(fixed, words)):
        return f"did you mean '{pattern.replace(fixed, word)}'?"
    return "seg models --encoders lists those of smp and torchvision, seg models --encoders 'tu-*' those of timm"


def installed() -> list[str]:
    """The names that the installed libraries have."""
    from seg.models.encoders import encoder_names

    return encoder_names()


def is_current(path: Path) -> bool:
    """Whether a file is of the installed versions."""
    return path.is_file() and path.read_text(encoding="utf-8").partition("\n")[0] == versions()


def versions() -> str:
    """The first line of a file. Releases of torchvision that differ in their third number alone have the same encoders."""
    exact = {name: version(name) for name in LIBRARIES}
    return "# " + ", ".join(f"{name} {v.rpartition('.')[0] if name == 'torchvision' else v}" for name, v in exact.items())


def read(path: Path) -> dict[str, Description]:
    """The descriptions in a file, by name; none where there is no file."""
    if not path.is_file():
        return {}
    found = {}
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()[1:]):
        strides = tuple(map(int, row["strides"].split()))
        found[row["name"]] = Description(row["name"], int(row["parameters"] or 0) or None, strides, row["remark"])
    return found
