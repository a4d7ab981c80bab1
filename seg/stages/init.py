"""`init`: looks at a folder, says what format it takes it for and why, and writes conf/data/<name>.yaml. Never imports torch."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from seg.configure.compose import compose
from seg.configure.config import Config, checked
from seg.core.environment import conf_folder
from seg.core.errors import ConfigError, DataError, InputError, did_you_mean
from seg.prepare.assignment import Assignment
from seg.raw.record import Source
from seg.recognise.formats import formats_of, image_facts, trials_of
from seg.recognise.guess import Guess, Wanted, as_yaml
from seg.recognise.listing import list_folder
from seg.recognise.splits import with_lists
from seg.recognise.table import nothing_found, table
from seg.recognise.trial import Trial, choose, tried
from seg.settings.section import Params
from seg.stages.prepare import Settings, source_of


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. name: of conf/data/<name>.yaml. format: the option of conf/data to take the folder for. images, labels: places
    below the folder. settings: KEY=VALUE, of data.source or data.split. force: replace."""

    folder: Path
    name: str | None = None
    format: str | None = None
    images: str | None = None
    labels: str | None = None
    settings: Sequence[str] = ()
    force: bool = False


def run(project: Path, given: Arguments) -> None:
    conf = conf_folder(project)
    name = _name(given.name, given.folder)
    path = conf / "data" / f"{name}.yaml"
    if path.exists() and not given.force:
        raise ConfigError(f"{path}: is there already; give another name, as in --name my_{name}, or replace it with --force")
    listing = list_folder(given.folder)
    there = f"{len(listing.files)} files, {len(listing.pictures)} of them images, in {len(listing.folders)} folders"
    print(f"looking at {given.folder}: {there}")
    wanted = Wanted(given.images, given.labels, given.format)
    builder = _Builder(conf, name, _root(project, given.folder))
    guesses, trials = trials_of(
        listing, wanted, given.settings, builder.build, lambda guess: print(f"  trying {guess.option}: {guess.why[0]}", flush=True)
    )
    if not guesses:
        raise _none(given.folder, nothing_found(listing), wanted, formats_of(listing, Wanted()) if wanted != Wanted() else [])
    chosen = with_lists(listing, choose(given.folder, trials), lambda made: tried(made, builder.build))
    text = builder.text(chosen.guess)
    with _taken_back(path):
        path.write_text(text, encoding="utf-8")
        checked(compose(conf, [f"data={name}"])[0])
    _tell(project, given.folder, path, chosen, [trial for trial in trials if trial.guess.option != chosen.guess.option and not trial.error])
    known = {file for guess in guesses for file in guess.labels | guess.beside}
    print("\n".join(table(listing, chosen, [trial for trial in trials if trial.guess.labels != chosen.guess.labels], known)))
    task = "" if chosen.guess.task == "semantic" else f" -S task={chosen.guess.task}"
    print(f"wrote {os.path.relpath(path, project)}; edit it, then\n  seg doctor data={name}\n  dvc exp run -S data={name}{task}")


def _tell(project: Path, folder: Path, path: Path, chosen: Trial, others: list[Trial]) -> None:
    guess = chosen.guess
    print(f"{folder}: taken for {guess.option}")
    for why in guess.why:
        print(f"  because {why}")
    for doubt in guess.doubts:
        print(f"  look at: {doubt}")
    if chosen.odd:
        print(f"  look at: {len(chosen.odd)} of the images that were tried are refused, such as {chosen.odd[0]}")
    kinds = {finding.kind: finding for finding in chosen.findings if finding.kind not in ("image-without-label", "label-without-image")}
    for finding in kinds.values():
        print(f"  look at: {finding}")
    for option in dict.fromkeys(trial.guess.option for trial in others):
        other = next(trial for trial in others if trial.guess.option == option)
        print(f"  or else --as {option}: {other.guess.why[0]}")


def _none(folder: Path, why: str, wanted: Wanted, guesses: list[Guess]) -> InputError:
    options = list(dict.fromkeys(guess.option for guess in guesses))
    if wanted.option is not None and wanted.option not in options and options:
        return DataError(f"{folder}: does not look like {wanted.option}; {did_you_mean(wanted.option, options, 'it may be')}")
    if guesses:
        places = list(dict.fromkeys(seen.place for guess in guesses for seen in guess.seen))
        fix = f"labels seen: {', '.join(places)}"
        return DataError(f"{folder}: nothing there fits --images {wanted.images} --labels {wanted.labels}; {fix}")
    return DataError(f"{folder}: {why}")


@contextmanager
def _taken_back(path: Path) -> Iterator[None]:
    """Where it fails, what stood in a file before is there again, or nothing, if there was none."""
    before = path.read_text(encoding="utf-8") if path.exists() else None
    try:
        yield
    except BaseException:
        path.unlink() if before is None else path.write_text(before, encoding="utf-8")
        raise


@dataclass
class _Builder:
    """Makes of guesses what reads them, without writing: each on what its option is composed to."""

    conf: Path
    name: str
    root: str
    bases: dict[str, Params] = field(default_factory=dict)
    facts: dict[str, tuple[int, object]] = field(default_factory=dict)

    def build(self, guess: Guess) -> tuple[Source, Assignment, Path | None]:
        """What reads a guess. Raises InputError for settings that fit no source, and for folders that are not as it says."""
        cfg = self._config(self.text(guess))
        source, _, root = source_of(Settings.of(cfg.dump()))
        return source, Assignment.of(cfg.data), root

    def text(self, guess: Guess) -> str:
        """The configuration of a guess, with the channels and the range that its images have."""
        key = repr((guess.option, guess.source.get("images"), guess.source.get("image_suffix"), guess.split))
        if key not in self.facts:
            items = source_of(Settings.of(self._config(self._as_yaml(guess, 3, None)).dump()))[0].items()
            self.facts[key] = image_facts([Path(item.files[0]) for item in items])
        return self._as_yaml(guess, *self.facts[key])

    def _as_yaml(self, guess: Guess, channels: int, data_range: object) -> str:
        if guess.option not in self.bases:
            self.bases[guess.option] = compose(self.conf, [f"data={guess.option}"])[0]
        self.option = guess.option
        return as_yaml(guess, self.conf / "data" / f"{guess.option}.yaml", self.name, self.root, channels, data_range)

    def _config(self, text: str) -> Config:
        params = deepcopy(self.bases[self.option])
        given = yaml.safe_load(text)
        for section in ("source", "split"):
            found = given.pop(section, {}).items()  # what follows another section stays as it was composed
            params["data"][section] |= {key: value for key, value in found if not str(value).startswith("${")}
        params["data"] |= given
        return checked(params)


def _name(given: str | None, folder: Path) -> str:
    """The option's name: letters, digits and underscores."""
    if given is not None and not re.fullmatch(r"\w+", given, re.ASCII):
        raise ConfigError(f"--name {given}: expected letters, digits and underscores")
    return given or re.sub(r"\W+", "_", folder.resolve().name, flags=re.ASCII).strip("_").lower() or "mydata"


def _root(project: Path, folder: Path) -> str:
    """The folder as data.root has it: relative to the project where it lies inside, else absolute."""
    absolute = Path(os.path.abspath(folder))
    inside = absolute.is_relative_to(Path(os.path.abspath(project)))
    return os.path.relpath(absolute, project) if inside else str(absolute)
