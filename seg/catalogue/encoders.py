"""Encoders by pattern: their parameters, the strides at which they give features, and what stands against one.

Building all that match a pattern takes minutes, and importing the libraries takes seconds. encoders.csv holds what they gave when they were
built, with the libraries' versions in its first line; with other versions, encoders that it lacks are built within a limit of time.
`python -m seg.catalogue.encoders` writes the file anew.
"""

import csv
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seg.core.errors import ConfigError, nearest

FILE = Path(__file__).with_name("encoders.csv")
LIBRARIES = ("timm", "segmentation-models-pytorch", "torchvision")
LIMIT = 20.0  # seconds for one encoder
TOGETHER = 2.0  # seconds, after which no further one is built
FILLING = ("normal_", "uniform_", "erfinv_", "clamp_", "fill_", "zero_")  # methods of a tensor by which networks draw their first weights
NO_TIME = "not looked at, to answer in time; ask for it by its whole name"


@dataclass(frozen=True, slots=True)
class Description:
    """An encoder. parameters: None where they are not known. strides: empty where there are none. remark: what stands against its use."""

    name: str
    parameters: int | None
    strides: tuple[int, ...]
    remark: str = ""


def find(pattern: str | None) -> tuple[list[Description], int]:
    """The encoders whose name holds the pattern, or matches it where it has wildcards, and the number of the others that there are.

    None: all but timm's. ConfigError, with near names, where nothing matches.
    """
    known = read(FILE)
    names = list(known) if is_current(FILE) else installed()
    wanted = pattern if pattern is not None and any(c in pattern for c in "*?[") else f"*{pattern}*"
    chosen = [name for name in names if (fnmatch(name, wanted) if pattern else not name.startswith("tu-"))]
    if not chosen:
        raise ConfigError(f"models --encoders {pattern}: no encoder's name matches; {_near(str(pattern), names)}")
    return list(_described(chosen, known)), len(names) - len(chosen)


def _described(names: Sequence[str], known: dict[str, Description]) -> Iterator[Description]:
    until = time.monotonic() + TOGETHER
    started = False
    for name in names:
        if name in known and (known[name].remark != NO_TIME or len(names) > 1):
            yield known[name]
        elif started and time.monotonic() > until:
            yield Description(name, None, (), NO_TIME)
        else:
            yield describe(name, max(1.0, until - time.monotonic()) if started else LIMIT)
            started = True


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
    return path.is_file() and path.read_text(encoding="utf-8").partition("\n")[0] == _versions()


def _versions() -> str:
    return "# " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)


def read(path: Path) -> dict[str, Description]:
    """The descriptions in a file, by name; none where there is no file."""
    if not path.is_file():
        return {}
    found = {}
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()[1:]):
        strides = tuple(map(int, row["strides"].split()))
        found[row["name"]] = Description(row["name"], int(row["parameters"] or 0) or None, strides, row["remark"])
    return found


def write(path: Path, descriptions: Iterable[Description]) -> None:
    """The file that `read` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_versions() + "\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "parameters", "strides", "remark"])
        for one in descriptions:
            writer.writerow([one.name, "" if one.parameters is None else one.parameters, " ".join(map(str, one.strides)), one.remark])


def describe(name: str, seconds: float = LIMIT) -> Description:
    """Build an encoder, on the meta device where it can be built there, and look at its features.

    An encoder for images of one size is given that size. Whatever goes wrong becomes the remark: the libraries raise errors of every kind.
    """
    import warnings

    try:
        with warnings.catch_warnings(), _limited(seconds):
            warnings.simplefilter("ignore")
            return _built(name)
    except TimeoutError:
        return Description(name, None, (), f"not built in {seconds:.0f} s")
    except Exception as error:
        return Description(name, None, (), f"cannot be built: {_short(error)}")


def _built(name: str) -> Description:
    import torch
    from torch.overrides import TorchFunctionMode

    from seg.models.encoders import register

    class Unfilled(TorchFunctionMode):
        """Leaves out the initial values, which take most of the time."""

        def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
            given = kwargs or {}
            return next(iter((*args, *given.values()))) if getattr(func, "__name__", "") in FILLING else func(*args, **given)

    register()
    try:
        with torch.device("meta"), Unfilled():  # nothing is allocated or computed
            return _looked_at(name)
    except (RuntimeError, NotImplementedError):  # some look at values while they are built
        return _looked_at(name)


def _looked_at(name: str) -> Description:
    import timm
    import torch

    try:
        encoder = _deepest(name)
    except (ValueError, AttributeError, NotImplementedError, AssertionError, TypeError):
        if not name.startswith("tu-"):
            raise
        count = sum(p.numel() for p in timm.create_model(name[3:]).parameters())
        return Description(name, count, (), "gives no maps of features")
    count, remark = sum(p.numel() for p in encoder.parameters()), ""
    sides = [224]
    if name.startswith("tu-") and (config := timm.get_pretrained_cfg(name[3:])):
        sides.append(config.input_size[-1])
    for side in dict.fromkeys(sides):
        try:
            with torch.no_grad():
                given: Any = encoder.eval()(torch.zeros(1, 3, side, side))
        except Exception as error:
            remark = remark or f"does not take an image: {_short(error)}"
            continue
        features = given[0] if isinstance(given, tuple) else given[1:]  # a vision transformer also gives its class tokens
        fixed = f"takes images of {side} x {side} alone" if remark else ""
        return Description(name, count, tuple(side // f.shape[-1] for f in features if f.numel()), fixed)
    return Description(name, count, (), remark)


def _deepest(name: str) -> Any:
    import segmentation_models_pytorch.encoders as smp

    for depth in (5, 4, 3, 2):
        try:
            return smp.get_encoder(name, depth=depth, weights=None)
        except ValueError as error:
            if name.startswith("tu-") and "downsampling pattern" in str(error):
                return smp.TimmViTEncoder(name[3:], pretrained=False, dynamic_img_size=True)
            if "stages" not in str(error):
                raise
    raise ValueError(name)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """TimeoutError after so many seconds (in the main thread of a system with signals)."""

    def ring(*_: Any) -> None:
        raise TimeoutError

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    write(FILE, (describe(name, 120.0) for name in installed()))
