"""What `seg init` takes a folder for, without Hydra: guesses are built from the files of conf/data as they stand."""

from pathlib import Path

import yaml

from seg.data.sample import ClassInfo
from seg.prepare.assignment import Assignment, planned
from seg.prepare.run import examine
from seg.raw.record import Source
from seg.recognise.formats import image_facts, trials_of
from seg.recognise.guess import Guess, Wanted, as_yaml
from seg.recognise.listing import list_folder
from seg.recognise.splits import with_lists
from seg.recognise.trial import Build, Trial, choose, tried
from seg.settings.section import Target
from seg.settings.targets import build
from seg.sources.images import ImageReader
from seg.sources.settings import Split

CONF = Path(__file__).parents[1] / "conf/data"
SPLIT = yaml.safe_load((CONF / "folders.yaml").read_text())["split"] | {"folds": 5}


def built(root: Path) -> Build:
    """What makes a source of a guess on a folder."""

    def made(guess: Guess) -> tuple[Source, Assignment, Path | None]:
        first = _source(guess, root, 3, None)[0]
        source, split = _source(guess, root, *image_facts([Path(item.files[0]) for item in first.items()]))
        return source, Assignment(split, None), root

    return made


def _source(guess: Guess, root: Path, channels: int, data_range: object) -> tuple[Source, Split]:
    data = yaml.safe_load(
        as_yaml(guess, CONF / f"{guess.option}.yaml", "it", str(root), channels, data_range).replace(
            "${oc.select:task.boxes,false}", "false"
        )
    )
    split = Split.model_validate(SPLIT | data.get("split", {}))
    labels = [[tuple(label) if isinstance(label, list) else label for label in c.get("labels", ())] for c in data["classes"]]
    classes = [ClassInfo(c["name"], tuple(c["color"]), tuple(own)) for c, own in zip(data["classes"], labels, strict=True)]
    target = Target.model_validate(data["source"])
    given = {"root": str(root), "classes": classes, "reader": ImageReader(channels, data_range), "split": split}  # type: ignore[arg-type]
    source: Source = build(target, ["seg"], "data.source", given)
    return source, split


def taken(
    root: Path, images: str | None = None, labels: str | None = None, option: str | None = None, settings: tuple[str, ...] = ()
) -> Trial:
    """The guess that is taken; DataError where there is none, or a question. The arguments are those of `seg init`."""
    listing = list_folder(root)
    _, trials = trials_of(listing, Wanted(images, labels, option), settings, built(root), lambda guess: None)
    return with_lists(listing, choose(root, trials), lambda guess: tried(guess, built(root)))


def splits(trial: Trial, root: Path) -> dict[str, list[str]]:
    """The names of the images of each split that folders or lists say."""
    plan = planned(*built(root)(trial.guess))
    found: dict[str, list[str]] = {}
    for item, place in zip(plan.items, plan.places, strict=True):
        found.setdefault(place, []).append(item.image_id)
    return found


def faults(trial: Trial, root: Path) -> list[str]:
    """What the doctor refuses, of the configuration that `seg init` writes."""
    source, division, _ = built(root)(trial.guess)
    made = examine(source, source.classes, division, root, 0, "none", None)  # type: ignore[attr-defined]
    return [str(finding) for finding in made.diagnosis.errors]


def names(trial: Trial) -> list[str]:
    """The classes, in order."""
    return [entry["name"] for entry in trial.guess.classes or ()]
