"""CVAT: an export 'CVAT for images'."""

from collections.abc import Iterator
from pathlib import Path

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

from seg.recognise.classes import instance_classes, void_of
from seg.recognise.files import chosen, home_of, place
from seg.recognise.guess import Guess
from seg.recognise.listing import Listing


def guesses(listing: Listing) -> Iterator[Guess]:
    known = {f: facts for f in listing.having(".xml") if (facts := _facts(listing.path(f)))}
    if not known:
        return
    first, split, doubts = chosen(list(known))
    names = known[first][0]
    labels = sorted(set().union(*(labels for _, labels in known.values()))) if split else known[first][1]
    guess = Guess("cvat", "instance", [f"{first} is an export of CVAT for images: {len(names)} images, {len(labels)} labels"])
    place(guess, listing, split, doubts, first, images=home_of(listing, names, first))
    guess.source |= void_of(labels)
    guess.classes = instance_classes(labels)
    yield guess


def _facts(path: Path) -> tuple[list[str], list[str]] | None:
    """The names of the images and the labels of their shapes, in a CVAT file; None where it is another."""
    names: list[str] = []
    labels: set[str] = set()
    root = None
    try:
        for event, node in iterparse(path, ("start", "end")):
            if root is None:
                root = node.tag
                if root != "annotations":
                    return None
            if event == "end" and node.tag == "image":
                names.append(str(node.get("name")))
                labels.update(str(shape.get("label")) for shape in node if shape.tag != "tag")
                node.clear()
    except (ParseError, DefusedXmlException, OSError):
        return None
    return (names, sorted(labels - {"None"})) if names else None
