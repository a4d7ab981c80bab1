"""Words of the command line."""

from pathlib import Path

import pytest

from seg.commands.parser import parse, values_of
from seg.commands.table import COMMANDS
from seg.core.errors import UsageError


def test_order_does_not_matter() -> None:
    words = ["x.png", "--out=o", "b.onnx", "predict.tile=512", "scans/*.tif", "--skip", "a.ckpt"]
    values = values_of(COMMANDS["predict"], parse(COMMANDS["predict"], words))
    assert values["models"] == [Path("b.onnx"), Path("a.ckpt")]
    assert values["inputs"] == ["x.png", "scans/*.tif"]
    assert values["overrides"] == ["predict.tile=512"]
    assert (values["out"], values["force"], values["skip"]) == (Path("o"), False, True)


def test_a_file_whose_name_has_an_equals_sign_is_no_override(tmp_path: Path) -> None:
    (tmp_path / "a=b.png").touch()
    given = [str(tmp_path / "a=b.png"), "scans/epoch=1/*.png", "*_x=?.tif", "predict.tile=64"]
    values = values_of(COMMANDS["predict"], parse(COMMANDS["predict"], ["a.ckpt", *given]))
    assert (values["inputs"], values["overrides"]) == (given[:3], given[3:])


def test_after_two_dashes_nothing_is_an_option() -> None:
    values = values_of(COMMANDS["compare"], parse(COMMANDS["compare"], ["--images", "3", "--", "--out", "b"]))
    assert (values["runs"], values["images"], values["out"]) == (["--out", "b"], 3, Path("artifacts/compare"))


@pytest.mark.parametrize(
    ("words", "typed", "overrides"),
    [
        (["seed=1", "-cn", "pipeline", "trainer=ddp", "-m"], ["-cn", "pipeline", "-m"], ["seed=1", "trainer=ddp"]),
        (["--config-name=pipeline", "~seed"], ["--config-name", "pipeline"], ["~seed"]),
        (["--info", "seed=1"], ["--info", "all"], ["seed=1"]),
        (["-i", "defaults", "seed=1"], ["-i", "defaults"], ["seed=1"]),
        (["--cfg", "job", "--resolve"], ["--cfg", "job", "--resolve"], []),
    ],
)
def test_hydras_options_are_handed_on_apart_from_overrides(words: list[str], typed: list[str], overrides: list[str]) -> None:
    parsed = parse(COMMANDS["train"], words)
    assert (parsed.typed, parsed.words) == (typed, overrides)


def test_encoders_with_and_without_a_pattern() -> None:
    command = COMMANDS["models"]
    found = [values_of(command, parse(command, words))["encoders"] for words in ([], ["--encoders"], ["--encoders", "*vit*"])]
    assert found == [None, "", "*vit*"]


@pytest.mark.parametrize(
    "words", ["predict s3://bucket/best.ckpt x.png", "init s3://bucket/cells", "next best.ckpt x --out https://here/next", "new az://box/x"]
)
def test_a_url_is_refused_where_a_path_is_needed(words: str) -> None:
    name, *given = words.split()
    with pytest.raises(UsageError, match=r"://.*: is a URL, but a path of this machine is needed here; copy what lies there"):
        values_of(COMMANDS[name], parse(COMMANDS[name], given))


def test_a_url_of_this_machine_is_a_path() -> None:
    assert values_of(COMMANDS["init"], parse(COMMANDS["init"], ["file:///data/cells"]))["folder"] == Path("/data/cells")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("init", "init: expected a FOLDER: the folder that holds images and labels; see seg init --help"),
        ("init a b", "init: expected one FOLDER, got 2: a b"),
        ("init a name=x", "init: name=x: options are written with dashes, as in --name x"),
        ("init a force=true", "init: force=true: options are written with dashes, as in --force;"),
        ("init a --force=yes", "init: --force takes no value, got yes"),
        ("configure --claer", "configure: unknown option --claer: did you mean '--clear'? Settings are written without dashes"),
        ("train -S model=fcn", "train: unknown option -S: it belongs to `dvc exp run`; here overrides stand alone: model=fcn"),
        ("train --lr 0.1", "train: unknown option --lr: settings are written without dashes, as in lr=VALUE"),
        ("train --cfg", "train: --cfg needs a value: --cfg PART"),
        ("train --cfg jobs", "train: --cfg jobs: did you mean 'job'? (expected one of: all, hydra, job)"),
        ("compare a", "compare: expected 2 or more of RUN, got 1 (a): a folder that holds evaluation.json"),
        ("compare a b --images x", "compare: --images x: expected a whole number of 0 or more"),
        ("compare a b --images -1", "compare: --images needs a value: --images N"),
        ("compare a b --imgs 3", "compare: unknown option --imgs: did you mean '--images'?"),
        ("predict a.ckpt", "predict: expected an INPUT: an image, a folder"),
        ("predict a.png --skip --force", "predict: --force and --skip exclude each other; give one of them"),
        ("models convnext", "models: takes no such argument: convnext; did you mean --encoders convnext?"),
        ("models encoders", "models: takes no such argument: encoders; did you mean --encoders?"),
        ("models --encoders a b", "models: takes no such argument: b; write a pattern in quotes"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(words: str, answer: str) -> None:
    name, *given = words.split()
    with pytest.raises(UsageError) as error:
        values_of(COMMANDS[name], parse(COMMANDS[name], given))
    assert answer in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(f"; see seg {name} --help")
