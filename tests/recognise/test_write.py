"""The file that is written: the option's comments are kept, and every text comes back as text."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from seg.recognise.guess import Guess, as_yaml, instance_classes

ROOT = Path(__file__).parents[2]
DATA = ROOT / "conf/data"
OPTIONS = sorted(p.stem for p in DATA.glob("*.yaml"))


def written(guess: Guess, root: str = "/data/raw", channels: int = 3, data_range: object = None) -> str:
    return as_yaml(guess, DATA / f"{guess.option}.yaml", "mine", root, channels, data_range)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_guess_without_settings_is_the_option_with_its_comments(option: str) -> None:
    text, own = written(Guess(option, "semantic", ["it looks so"])), (DATA / f"{option}.yaml").read_text()
    changed = {"name": "mine", "root": "/data/raw", "obtain": None, "channels": 3}
    before, after = (OmegaConf.to_container(OmegaConf.create(t)) for t in (own, text))
    assert isinstance(before, dict)
    assert after == before | {key: value for key, value in changed.items() if key in before}
    comments = [line.partition(" #")[2] for line in own.splitlines() if " #" in line]
    assert [line.partition(" #")[2] for line in text.splitlines() if " #" in line] == comments
    assert text.startswith(f"# Taken for `{option}`: it looks so.\nname: mine\n")


def test_settings_and_doubts() -> None:
    classes = instance_classes(["cat", "dog"])
    source = {"images": "{split}/images", "ignore": [[1, 2, 3]], "mask_suffix": "", "others": "ignore"}
    split = {"by": "folders", "ratios": None, "folders": {"train": "training", "val": "val", "test": "test"}}
    guess = Guess("folders", "semantic", ["one", "two"], source, classes, split, ["this", "that"])
    text = written(guess, channels=1, data_range="image")
    assert text.startswith("# Taken for `folders`: one; two.\n# To look at: this.\n# To look at: that.\nname: mine\n")
    content = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(content, dict)
    assert {key: content["source"][key] for key in source} == source
    assert (content["classes"], content["channels"], content["range"]) == (classes, 1, "image")
    assert {key: content["split"][key] for key in split} == split
    assert content["split"]["seed"] == 0, "what is not set stays"
    assert "\n  - {name: cat, color: [128, 0, 0]}\n" in text
    assert "classes: # a class's value is its place here" in text


def test_a_range_stands_beside_the_channels() -> None:
    lines = written(Guess("coco", "instance", [""]), data_range="image").splitlines()
    assert lines[[line.startswith("channels") for line in lines].index(True) + 1] == "range: image"
    assert "\nrange:" not in written(Guess("coco", "instance", [""]))


NAMES = ["on", "No", "y", "null", "~", "7", "1e3", "1_000", "0x1F", "12:30", "a: b", "#", "###", "- x", "é", "it's", 'a "b"', "{x}", "a, b"]


@pytest.mark.parametrize("name", [*NAMES, "x ", "tv/monitor"])
def test_names_come_back_as_they_are(name: str) -> None:
    """YAML of version 1.1, which OmegaConf reads, takes more words for other things than version 1.2."""
    guess = Guess("via", "instance", [""], {"attribute": name, "ignore": [name]}, instance_classes([name]))
    content = OmegaConf.create(written(guess, root=f"/data/{name}"))
    assert content.classes[1].name == content.source.attribute == content.source.ignore[0] == name
    assert content.root == f"/data/{name}"
