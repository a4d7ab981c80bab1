"""A guess, tried on the data by the source that it names; and of all that were tried the one to take, or a question to the user."""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seg.core.errors import ConfigError, DataError, InputError
from seg.data.sample import IGNORE
from seg.prepare.assignment import Assignment, planned
from seg.raw.record import Finding, Item, Source
from seg.recognise.guess import Guess

READ = 48  # images of a guess that are read, evenly chosen
BYTES = 80_000_000  # of files that are read for it
FEW = 3  # images that a split needs
ALLOWED = 0.2  # share of those read that may be refused: files that are wrong, not the guess
AS_GOOD = 0.9  # of the images of the guess that reads the most, from which on another is as good
PROPOSAL = re.compile(r"data\.(source\.\w+)=(\[[^\]]*\]|[^\s;,()]+)")

# A guess -> its source, how its images are divided, and the folder; raises InputError for settings that fit no source
Build = Callable[[Guess], tuple[Source, Assignment, Path | None]]


@dataclass(frozen=True, slots=True)
class Trial:
    """guess: with what the trial added. items: the images that it reads. error: why it is not taken; None where it is. ways: settings
    that a message proposed, each as KEY=VALUE, with which it would be taken. odd: what was refused of single images."""

    guess: Guess
    items: list[Item]
    error: InputError | None = None
    ways: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def images(self) -> set[str]:
        return {os.path.normpath(item.files[0]) for item in self.items}


def tried(guess: Guess, build: Build) -> Trial:
    """The guess tried, and where it fails, what messages propose tried as well."""
    found = _tried(guess, build)
    if found.error is None:
        return found
    ways = []
    for key, value in dict.fromkeys(PROPOSAL.findall(str(found.error))):
        way = f"{key}={value.rstrip('.')}"
        if "image_suffix" not in key and "mask_suffix" not in key and "others" not in key and "threshold" not in key:
            with suppress(InputError):
                if _tried(with_setting(guess, way), build).error is None:
                    ways.append(way)
    return replace(found, ways=tuple(ways))


def with_setting(guess: Guess, setting: str) -> Guess:
    """The guess with KEY=VALUE set, KEY as source.boxes or split.by."""
    key, found, value = setting.partition("=")
    section, _, name = key.removeprefix("data.").partition(".")
    if not found or section not in ("source", "split") or not name:
        raise ConfigError(f"--set {setting}: expected a key of data.source or data.split and its value, as source.boxes=true")
    try:
        parsed: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {setting}: the value is not YAML; put text in quotes") from None
    return replace(guess, **{section: getattr(guess, section) | {name: parsed}})


def _tried(guess: Guess, build: Build) -> Trial:
    try:
        source, division, root = build(guess)
        items = planned(source, division, root).items
    except InputError as error:
        return Trial(guess, [], error)
    missing = [finding for finding in source.findings if finding.kind == "image-without-label" and finding.severity == "error"]
    if missing and "skip_unlabelled" not in guess.source:
        kept = replace(guess, source=guess.source | {"skip_unlabelled": True}, doubts=list(guess.doubts))
        kept.doubts.append(f"{len(missing)} image files there have no labels and are left out (source.skip_unlabelled)")
        return _tried(kept, build)
    if not items:
        return Trial(guess, [], ConfigError("no image of it has labels"))
    errors, count, empty = _read(source, items)
    if len(errors) > ALLOWED * count or (errors and PROPOSAL.search(str(errors[0]))):
        return Trial(guess, items, errors[0])
    if empty:
        crowds = [finding for finding in source.findings if finding.fix and "=" in finding.fix]
        what = str(crowds[0]) if crowds else f"{count} of its images were read, and none holds {empty}"
        return Trial(guess, items, DataError(what, kind="no-instance"))
    return Trial(guess, items, None, (), tuple(map(str, errors)), tuple(source.findings))


def _read(source: Source, items: list[Item]) -> tuple[list[InputError], int, str]:
    """What is refused of some images, how many were read, and what none of them holds."""
    errors, size, count, instances, present = list[InputError](), 0, 0, 0, set[int]()
    for item in items[:: max(1, len(items) // READ)]:
        if size > BYTES and count >= FEW:
            break
        try:
            record = source.read(item)
            size += record.sample.image.nbytes
            instances += int((~record.sample.crowd).sum())
            present |= set(np.flatnonzero(np.bincount(record.sample.semantic.ravel())).tolist()) - {IGNORE}
            errors += [DataError(str(f), kind=f.kind) for f in record.findings if f.severity == "error"][:1]
        except InputError as error:
            errors.append(error)
        count += 1
    empty = "an object" if source.with_instances and not instances else "" if present else "a class"
    return errors, count, empty if len(errors) < count else ""


def choose(folder: Path, trials: Sequence[Trial]) -> Trial:
    """The guess that reads the most images, of those for the same images the first; DataError where none works, or several are as good."""
    if not (working := [trial for trial in trials if trial.error is None]):
        guess, ways = trials[0].guess, " or ".join(f"--set {way}" for way in trials[0].ways)
        raise DataError(f"{folder}: looks like {guess.option}, but {trials[0].error}{f'; seg init {ways} works here' if ways else ''}")
    most = max(len(trial.items) for trial in working)
    best = [trial for trial in working if len(trial.items) >= AS_GOOD * most]
    first = min(best, key=lambda trial: trial.guess.rank)
    if first.guess.arguments:
        alike = [trial for trial in best if trial.guess.arguments and trial.guess.rank == first.guess.rank]
        if len(alike) > 1:
            told = " or ".join(f"{t.guess.arguments} ({[t.guess.option, *t.guess.why][-1]}, {len(t.items)} images)" for t in alike)
            raise DataError(f"{folder}: {len(alike)} readings fit alike, and none is written; say which is meant: {told}")
    if apart := [trial for trial in best if trial is not first and not trial.images & first.images]:
        told = " or ".join(f"{_option(trial)} ({len(trial.items)} images)" for trial in [first, *apart])
        sets = f"holds {len(apart) + 1} sets of images, each with labels of its own"
        raise DataError(f"{folder}: {sets}; say which is meant, or give its folder: {told}")
    return first


def _option(trial: Trial) -> str:
    if "images" in trial.guess.source and "annotations" not in trial.guess.source:
        return f"--images {trial.guess.source['images']} --labels {trial.guess.source['masks']}"
    return f"--labels {trial.guess.source.get('annotations', trial.guess.source.get('masks'))}"
