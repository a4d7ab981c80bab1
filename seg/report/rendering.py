"""Pages from templates: what all pages share, and how figures are written for people.

A page is one file: it needs no network, follows the reader's light or dark setting, and is read by keyboard and on a phone. Its template
is `seg/<room>/templates/<name>.html.j2`, its style and script are `seg/<room>/assets/*`. All that a template is given is escaped, so a
name may hold any character."""

import base64
import math
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from seg.core.errors import plural
from seg.core.outputs import write_whole

JPEG_QUALITY = 82


def write_page(path: Path, template: str, /, **content: Any) -> None:
    """Write a page, the whole file or nothing. template: `<room>/<name>.html.j2`; content: what it reads."""
    write_whole(path, rendered(template, **content))


def rendered(template: str, /, **content: Any) -> str:
    """The page as text."""
    return _environment().get_template(template).render(content)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FunctionLoader(lambda name: _read("templates", name)),
        autoescape=lambda name: name is None or not name.endswith(".md.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "whole": whole, "plural": plural, "percent": percent, "data_uri": data_uri}
    made.filters["hex"] = lambda color: f"#{bytes(color).hex()}"
    made.globals |= {"asset": lambda name: Markup(_read("assets", name)), "band": band}
    made.tests["finite"] = math.isfinite
    return made


def _read(folder: str, name: str) -> str:
    room, _, file = name.partition("/")
    return (files("seg") / room / folder / file).read_text(encoding="utf-8")


def number(value: Any) -> str:
    """A figure for people; a dash where it is None or NaN, text as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "\N{EN DASH}"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        if 0 < abs(value) < 1e-3:
            return f"{value:.3g}"
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"
    return str(value)


def whole(value: float) -> float:
    """A whole number without its decimals."""
    return int(value) if float(value).is_integer() else value


def percent(share: float, digits: int = 2) -> str:
    """A share of 0 to 1 in percent; a dash for NaN."""
    if math.isnan(share):
        return "\N{EN DASH}"
    least = 10.0**-digits
    return (f"{100 * share:.{digits}f}" if share == 0 or 100 * share >= least else f"under {least:g}") + "\N{NO-BREAK SPACE}%"


def band(value: float, low: float, high: float, start: float, stop: float) -> dict[str, float] | None:
    """Where a value and its interval lie on a scale from `start` to `stop`, in percent; None where they do not lie on it."""
    if not all(math.isfinite(v) and start <= v <= stop for v in (value, low, high)):
        return None
    left, right, at = (100 * (v - start) / (stop - start) for v in (low, high, value))
    return {"left": left, "width": right - left, "at": at}


def jpeg(picture: np.ndarray) -> bytes:
    """The file of a picture (H, W, 3) uint8 RGB."""
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return bytes(data.tobytes())


def data_uri(file: bytes, kind: str) -> str:
    """A file of an image within the page. kind: jpeg or png."""
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"
