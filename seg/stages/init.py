"""`init`: looks at a folder, says what format it takes it for and why, and writes conf/data/<name>.yaml. Never imports torch."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from seg.configure.compose import compose
from seg.configure.config import checked
from seg.core.environment import conf_folder
from seg.core.errors import ConfigError, DataError, did_you_mean
from seg.recognise.formats import formats_of, image_facts
from seg.recognise.guess import Guess
from seg.recognise.listing import list_folder
from seg.recognise.write import as_yaml

OTHERS = 4  # further guesses that are named


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. name: of conf/data/<name>.yaml. format: the option of conf/data to take the folder for. force: replace."""

    folder: Path
    name: str | None = None
    format: str | None = None
    force: bool = False


def run(project: Path, given: Arguments) -> None:
    """Write the configuration."""
    conf = conf_folder(project)
    name = _name(given.name, given.folder)
    path = conf / "data" / f"{name}.yaml"
    if path.exists() and not given.force:
        raise ConfigError(f"{path}: is there already; give another name, as in --name my_{name}, or replace it with --force")
    listing = list_folder(given.folder)
    guess, others = _chosen(formats_of(listing), given.format, given.folder)
    channels, data_range = image_facts(listing, guess)
    text = as_yaml(guess, conf / "data" / f"{guess.option}.yaml", name, _root(project, given.folder), channels, data_range)
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.write_text(text, encoding="utf-8")
    try:
        checked(compose(conf, [f"data={name}"])[0])
    except BaseException:
        path.unlink() if before is None else path.write_text(before, encoding="utf-8")
        raise
    print(f"{given.folder}: taken for {guess.option}")
    for why in guess.why:
        print(f"  because {why}")
    for doubt in guess.doubts:
        print(f"  look at: {doubt}")
    for other in others[:OTHERS]:
        print(f"  or else --as {other.option}: {other.why[0]}")
    instance = " -S task=instance" if guess.task == "instance" else ""
    print(f"wrote {os.path.relpath(path, project)}; edit it, then\n  seg doctor data={name}\n  dvc exp run -S data={name}{instance}")


def _name(given: str | None, folder: Path) -> str:
    """The option's name: letters, digits and underscores."""
    if given is not None and not re.fullmatch(r"\w+", given, re.ASCII):
        raise ConfigError(f"--name {given}: expected letters, digits and underscores")
    return given or re.sub(r"\W+", "_", folder.resolve().name, flags=re.ASCII).strip("_").lower() or "mydata"


def _chosen(guesses: list[Guess], option: str | None, folder: Path) -> tuple[Guess, list[Guess]]:
    """The guess that is meant, and those of other options."""
    options = list(dict.fromkeys(guess.option for guess in guesses))
    if option is not None and option not in options:
        raise DataError(f"{folder}: does not look like {option}; {did_you_mean(option, options, 'it may be')}")
    chosen = next(guess for guess in guesses if option in (None, guess.option))
    return chosen, [next(g for g in guesses if g.option == other) for other in options if other != chosen.option]


def _root(project: Path, folder: Path) -> str:
    """The folder as data.root has it: relative to the project where it lies inside, else absolute."""
    absolute = Path(os.path.abspath(folder))
    inside = absolute.is_relative_to(Path(os.path.abspath(project)))
    return os.path.relpath(absolute, project) if inside else str(absolute)
