"""Of all guesses that were tried the one to take; or the question that the user has to answer."""

from collections.abc import Sequence
from pathlib import Path

from seg.core.errors import DataError
from seg.recognise.guess import Guess
from seg.recognise.trial import Trial

AS_GOOD = 0.9  # of the images of the guess that reads the most, from which on another is as good


def choose(folder: Path, trials: Sequence[Trial]) -> Trial:
    """The guess that reads the most images, of those for the same images the first; DataError where none works, or several are as good."""
    working = [trial for trial in trials if trial.error is None]
    if not working:
        raise DataError(_refusal(folder, trials))
    most = max(len(trial.items) for trial in working)
    best = [trial for trial in working if len(trial.items) >= AS_GOOD * most]
    first = min(best, key=lambda trial: trial.guess.rank)
    if first.guess.arguments:
        alike = [trial for trial in best if trial.guess.arguments and trial.guess.rank == first.guess.rank]
        if len(alike) > 1:
            raise DataError(_question(folder, alike))
    apart = [trial for trial in best if trial is not first and not trial.images & first.images]
    if apart:
        raise DataError(_sets(folder, [first, *apart]))
    return first


def _question(folder: Path, trials: Sequence[Trial]) -> str:
    told = " or ".join(f"{trial.guess.arguments} ({_short(trial.guess)}, {len(trial.items)} images)" for trial in trials)
    return f"{folder}: {len(trials)} readings fit alike, and none is written; say which is meant: {told}"


def _short(guess: Guess) -> str:
    return guess.why[-1] if guess.why else guess.option


def _sets(folder: Path, trials: Sequence[Trial]) -> str:
    told = " or ".join(f"{_option(trial)} ({len(trial.items)} images)" for trial in trials)
    return f"{folder}: holds {len(trials)} sets of images, each with labels of its own; say which is meant, or give its folder: {told}"


def _option(trial: Trial) -> str:
    if "images" in trial.guess.source and "annotations" not in trial.guess.source:
        return f"--images {trial.guess.source['images']} --labels {trial.guess.source['masks']}"
    return f"--labels {trial.guess.source.get('annotations', trial.guess.source.get('masks'))}"


def _refusal(folder: Path, trials: Sequence[Trial]) -> str:
    first = trials[0]
    told = f"{folder}: looks like {first.guess.option}, but {first.error}"
    if first.ways:
        told += f"; seg init {' or '.join(f'--set {way}' for way in first.ways)} works here"
    return told
