"""Patterns of folders and names: where the files of a layout lie in many folders, and are named after more than a common ending."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from seg.core.errors import DataError
from seg.core.textfile import composed
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.sources.listing import by_stem, files_below

FOLDER, IMAGE = "{folder}", "{image}"


@dataclass(frozen=True, slots=True)
class Place:
    """Files below `base`. rest: the pattern of their folders there, "" for all of them.

    {folder} stands for any text, also for none, which becomes part of the files' names; * for any text within one name, which does not.
    {image} in the last part is where the names of an image and of its mask are the same, and folders below are then not looked into;
    it may stand there several times, where the names of the masks have something more within.
    """

    base: Path
    rest: str

    @classmethod
    def fixed(cls, pattern: str) -> tuple[str, str]:
        """The part of a pattern that is a folder's name as it stands, and the rest."""
        if not any(mark in pattern for mark in (FOLDER, IMAGE, "*")):
            return pattern, ""
        cut = min(pattern.index(mark) for mark in (FOLDER, IMAGE, "*") if mark in pattern)
        folder, _, _ = pattern[:cut].rpartition("/")
        return folder or ".", pattern[len(folder) :].lstrip("/")

    def files(self, ending: str = "", suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> dict[str, Path]:
        """The files with these suffixes by the part of their names that images and labels share. DataError for two of one name.

        ending: * stands for any text; where it ends as image files do (.png), it is of the whole name, else of the name without suffix.
        """
        whole = ending.lower().endswith(IMAGE_SUFFIXES)
        if not self.rest and not whole and "*" not in ending:
            return by_stem(self.base, suffixes, ending)
        rule, found = self._rule(composed(ending)), dict[str, Path]()
        for file in files_below(self.base, suffixes):
            path = composed(file.replace(os.sep, "/"))
            if match := rule.fullmatch(path if whole else os.path.splitext(path)[0]):
                name = "/".join(part for part in (text.strip("/") for text in match.groups() if text) if part)
                if name in found:
                    raise DataError(f"{self.base / file}: has the same name as {found[name]}; rename one of them", kind="name-collision")
                found[name] = self.base / file
        return found

    def _rule(self, ending: str) -> re.Pattern[str]:
        """The groups of a match are the parts of the name."""
        folders, _, name = self.rest.rpartition("/") if IMAGE in self.rest else (self.rest, "", "")
        parts = {FOLDER: "(.*?)", "*": "[^/]*", IMAGE: "([^/]*)"}
        parts |= {f"{FOLDER}/": "(?:(.*?)/)?"}
        place = "".join(parts.get(p, re.escape(p)) for p in re.split(r"(^\{folder\}/|\{folder\}|\*)", folders) if p)
        last = "".join(parts.get(p, re.escape(p)) for p in re.split(r"(\{image\}|\*)", name) if p) or "((?:.*/)?[^/]*)"
        end = "[^/]*".join(map(re.escape, ending.split("*")))
        return re.compile(f"{place}{'/' if place else ''}{last}{end}", re.S)
