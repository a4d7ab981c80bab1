"""What every page of a report is made of: the document, tables, pictures within the page, and the style they share.

A page is one file: it needs no network, follows the reader's light or dark setting, and is read by keyboard and on a phone.
"""

import base64
import math
from collections.abc import Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

JPEG_QUALITY = 82


def document(title: str, style: str, skip: tuple[str, str], content: str, script: str = "") -> str:
    """A whole page. skip: the id of what the keyboard's first link jumps to, and the link's words; style: rules beyond STYLE."""
    target, words = skip
    code = f"<script>{script}</script>\n" if script else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}{style}</style>\n</head>\n<body>\n'
        f'<a class="skip" href="#{target}">{escape(words)}</a>\n<main>\n{content}\n</main>\n{code}</body>\n</html>\n'
    )


def table(head: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    """A table that scrolls sideways where it is wider than the page. rows: the cells of each, as HTML; kind: its class in the style."""
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return scrolling(
        f"<table{of_class(kind)}><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>", "a table that scrolls sideways"
    )


def of_class(kind: str) -> str:
    """The attribute that gives an element its class; none for an empty name."""
    return f' class="{kind}"' if kind else ""


def scrolling(content: str, label: str, kind: str = "wide") -> str:
    """A region that scrolls, by keyboard too."""
    return f'<div class="{kind}" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def class_name(name: str, color: Sequence[int]) -> str:
    """A class's colour and its name."""
    return f'<i class="swatch" style="background:#{bytes(color).hex()}"></i>{escape(name)}'


def bar(share: float) -> str:
    """A bar, filled by `share` of 0 to 1."""
    return f'<span class="bar"><span style="width:{100 * share:.2f}%"></span></span>'


def number(value: Any) -> str:
    """A figure for people; a dash where it is None or NaN, text as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "&ndash;"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        if 0 < abs(value) < 1e-3:
            return f"{value:.3g}"
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"
    return escape(str(value))


def whole(value: float) -> float:
    """A whole number without its decimals."""
    return int(value) if float(value).is_integer() else value


def jpeg(picture: np.ndarray) -> bytes:
    """The file of a picture (H, W, 3) uint8 RGB."""
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return bytes(data.tobytes())


def data_uri(file: bytes, kind: str) -> str:
    """A file of an image within the page. kind: jpeg or png."""
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


STYLE = """
:root {
  color-scheme: light dark; --ink: #1b1b1f; --soft: #55565e; --paper: #fff;
  --card: #f3f4f6; --line: #c5c8cf; --bar: #0072b2; --link: #00558a;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf1; --soft: #b3b5be; --paper: #17181c; --card: #23252b; --line: #474a54; --bar: #56b4e9; --link: #8cc8f0; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; font-size: 1.25rem; }
h2 small { color: var(--soft); font-weight: normal; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--bar); outline-offset: 2px; }
.skip { position: absolute; left: -100rem; background: var(--paper); padding: .5rem; }
.skip:focus { left: 0; top: 0; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; }
code { overflow-wrap: anywhere; }
figure { margin: 0; max-width: 100%; }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); }
figcaption { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; max-width: 27rem; }
details { margin-top: .8rem; }
summary { cursor: pointer; padding: .3rem 0; }
details li { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.wide:has(tbody tr:nth-child(41)) { max-height: 75vh; overflow: auto; border: 1px solid var(--line); }
.wide:has(tbody tr:nth-child(41)) thead th { position: sticky; top: 0; z-index: 2; background: var(--paper); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
.swatch { display: inline-block; width: 1rem; height: 1rem; border: 1px solid var(--soft); margin-right: .5rem; vertical-align: -.15rem; }
.bar { display: inline-block; width: 6rem; height: .8rem; background: var(--card); border: 1px solid var(--line); margin-right: .5rem; }
.bar span { display: block; height: 100%; background: var(--bar); }
.class { white-space: nowrap; }
.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
"""
