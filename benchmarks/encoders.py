"""Every encoder that the installed libraries have, built -> seg/catalogue/encoders.csv, which `seg models --encoders` shows.

    python benchmarks/encoders.py

Each is built on the meta device where it can be built there, without its initial values, and its features are looked at. It takes minutes.
"""

import csv
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from seg.catalogue.encoders import FILE, Description, installed, versions
from seg.models.encoders import register

LIMIT = 120.0  # seconds for one encoder
FILLING = ("normal_", "uniform_", "erfinv_", "clamp_", "fill_", "zero_")  # methods of a tensor by which networks draw their first weights


def write(path: Path, descriptions: Iterable[Description]) -> None:
    """The file that `seg.catalogue.encoders.read` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(versions() + "\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "parameters", "strides", "remark"])
        for one in descriptions:
            writer.writerow([one.name, "" if one.parameters is None else one.parameters, " ".join(map(str, one.strides)), one.remark])


def describe(name: str, seconds: float = LIMIT) -> Description:
    """Build an encoder, on the meta device where it can be built there, and look at its features.

    An encoder for images of one size is given that size. Whatever goes wrong becomes the remark: the libraries raise errors of every kind.
    """
    try:
        with warnings.catch_warnings(), _limited(seconds):
            warnings.simplefilter("ignore")
            return _built(name)
    except TimeoutError:
        return Description(name, None, (), f"not built in {seconds:.0f} s")
    except Exception as error:
        return Description(name, None, (), f"cannot be built: {_short(error)}")


def _built(name: str) -> Description:
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
    write(FILE, (describe(name) for name in installed()))
