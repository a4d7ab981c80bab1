"""evaluation.json: what is written is read, and what is no evaluation is named."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import MakeConfig

from seg.core.errors import DataError
from seg.evaluation.record import SCHEMA_VERSION, Run, read_run, write_run


@pytest.fixture(scope="module")
def made(make_config: MakeConfig) -> Run:
    settings = make_config().model_dump(mode="json", by_alias=True) | {"experiment": {"name": "Färbung"}}
    return Run("semantic", "miou", "shapes", "0" * 64, "test", ["background", "Zelle, groß"], 7, settings)


def test_what_is_written_is_read(tmp_path: Path, made: Run) -> None:
    write_run(tmp_path / "evaluation.json", made)
    assert read_run(tmp_path / "evaluation.json") == made
    assert read_run(tmp_path / "evaluation.json").settings["optimizer"]["_target_"] == made.settings["optimizer"]["_target_"]


def test_the_same_run_has_the_same_bytes_and_another_one_others(tmp_path: Path, made: Run) -> None:
    for name, run in {"a": made, "b": made, "c": replace(made, epoch=8)}.items():
        write_run(tmp_path / name, run)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
    assert json.loads(a)["schema_version"] == SCHEMA_VERSION


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: there is no evaluation; run `dvc repro` or `seg evaluate`"):
        read_run(path)


WHOLE = {"schema_version": SCHEMA_VERSION, "task": "semantic", "monitor": "miou", "data": "shapes", "digest": "0", "split": "test"}
WHOLE |= {"classes": ["a"], "epoch": 7, "settings": {}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b'{"schema_version": 1', "is not JSON"),
        (b"\xff\xfe\xfa", "is not JSON"),
        (b"[1]", "is of another version than 1"),
        (json.dumps(WHOLE | {"schema_version": 0}).encode(), "is of another version than 1"),
        (json.dumps({k: v for k, v in WHOLE.items() if k != "schema_version"}).encode(), "is of another version than 1"),
        (json.dumps({k: v for k, v in WHOLE.items() if k != "epoch"}).encode(), "epoch: Field required"),
        (json.dumps(WHOLE | {"classes": "a"}).encode(), "classes: Input should be a valid list"),
        (json.dumps(WHOLE | {"classes": ["a", 1]}).encode(), "classes.1: Input should be a valid string"),
    ],
    ids=["empty", "cut", "bytes", "list", "older", "no-version", "no-epoch", "no-list", "no-name"],
)
def test_a_file_that_is_something_else_is_named_and_what_to_do(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "evaluation.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^{re.escape(f'{path}: {message}')}.*; evaluate again$"):
        read_run(path)
