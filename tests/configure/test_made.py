"""Commands typed by hand use what was made with their settings, and refuse what was made with others."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from seg.augment.policy import compile_policy
from seg.configure.compose import compose
from seg.configure.config import checked
from seg.configure.made import as_made
from seg.core.errors import ConfigError
from seg.data.store import read_info
from seg.settings.planned import PlanFile, write_plan


def with_datab(folder: Path) -> Path:
    """conf/ with a second data configuration, datab; no data yet."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    text = (folder / "conf/data/shapes.yaml").read_text()
    (folder / "conf/data/datab.yaml").write_text(text.replace("name: shapes", "name: datab\nrange: [0, 4095]"))
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(with_datab(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def with_shapes(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """A project whose data are made; tests only read it."""
    folder = with_datab(tmp_path_factory.mktemp("made"))
    make(folder, prepared)
    return folder


def make(project: Path, prepared: Path, *overrides: str) -> None:
    """dataset.json and policy.json that say they were made with these settings."""
    config = checked(compose(project / "conf", list(overrides))[0])
    made = json.loads((prepared / "dataset.json").read_text()) | {"name": config.data.name, "settings": config.data.plain()}
    for file, text in (
        ("prepared/dataset.json", json.dumps(made)),
        ("augmented/policy.json", compile_policy(config.augment, config.targets.allow).to_json()),
    ):
        (project / "data" / file).parent.mkdir(parents=True)
        (project / "data" / file).write_text(text)


def asked(project: Path, *overrides: str) -> dict:
    return as_made(project / "conf", compose(project / "conf", list(overrides))[0])


def test_dataset_json_records_what_it_was_made_with(prepared: Path) -> None:
    content = json.loads((prepared / "dataset.json").read_text())
    assert content["settings"]["source"] == {"_target_": "seg.sources.shapes.Shapes", "num_images": 1500, "size": 128, "seed": 0}
    assert content["settings"]["range"] is read_info(prepared).range is None


@pytest.mark.parametrize(
    ("overrides", "answer"),
    [
        (["data=datab"], "data=datab: but data/prepared holds shapes; record these data with `seg configure` and run"),
        (["data.range=[0,4095]"], "data.range=[0.0, 4095.0]: but data/prepared was made with None"),
        (["data.source.seed=3"], "data.source.seed=3: but data/prepared was made with 0"),
        (["data.fold=1"], "data.fold=1: but data/prepared was made with None"),
        (["+data.source.more=1"], "data.source.more=1: but data/prepared was made with None"),
        (["augment=heavy"], "augment=heavy: but data/augmented was made with other settings of augment"),
        (["augment.instances.min_area=3"], "augment=auto: but data/augmented was made with other settings of augment"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_settings_are_refused(with_shapes: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], answer: str) -> None:
    monkeypatch.chdir(with_shapes)
    with pytest.raises(ConfigError, match=f"^{re.escape(answer)}"):
        asked(with_shapes, *overrides)


def test_the_same_settings_and_folders_that_are_missing_pass(project: Path, prepared: Path) -> None:
    assert asked(project, "data=datab")["data"]["name"] == "datab"
    make(project, prepared, "data=datab", "augment=heavy")
    assert asked(project, "data=datab", "augment=heavy", "seed=3", "data.obtain=elsewhere")["seed"] == 3


def test_who_asks_for_no_data_gets_those_of_the_pipeline(project: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(project, prepared, "data=datab", "augment=heavy")
    (project / "params.yaml").write_text("overrides: [data=datab, augment=heavy]\n")
    params = asked(project, "trainer.max_epochs=1")
    assert (params["data"]["range"], params["augment"]["name"], params["trainer"]["max_epochs"]) == ([0, 4095], "heavy", 1)
    assert capsys.readouterr().out.startswith("data=datab: as params.yaml records it, and as it was made\n")
    with pytest.raises(ConfigError, match=r"data\.fold=1: but|data=shapes: but"):
        asked(project, "data.fold=1")


def test_a_default_that_was_edited_since_is_no_request_for_the_former_data(project: Path, prepared: Path) -> None:
    make(project, prepared)
    (project / "params.yaml").write_text("overrides: []\n")
    path = project / "conf/config.yaml"
    path.write_text(path.read_text().replace("data: shapes", "data: datab"))
    with pytest.raises(ConfigError, match="data=datab: but data/prepared holds shapes"):
        asked(project)


def test_a_plan_of_another_task_is_in_nobodys_way_but_of_those_who_read_it(project: Path, prepared: Path) -> None:
    make(project, prepared)
    write_plan(project / "plan.yaml", PlanFile({"task": "instance"}, {}, {}))
    params = compose(project / "conf", [])[0]
    assert as_made(project / "conf", params, ("data",)) == params
    with pytest.raises(ConfigError, match="was made for task=instance, but task=semantic"):
        as_made(project / "conf", params, ("data", "augment"))
