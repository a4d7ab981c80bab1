"""Settings of one group, read without Hydra."""

import shutil
from pathlib import Path

import pytest
from conftest import ROOT, MakeConfig

from seg.configure.read import read_group
from seg.configure.template import template
from seg.core.errors import ConfigError
from seg.predict.settings import PredictSettings


def test_a_folder_without_conf_has_the_packages_settings(tmp_path: Path, make_config: MakeConfig) -> None:
    whole = make_config()
    found = PredictSettings.of(read_group(tmp_path, "predict", [], "predict"))
    assert (found.predict, found.targets, found.runtime.progress) == (whole.predict, whole.targets, whole.runtime.progress)


def test_overrides_are_obeyed_as_hydra_obeys_them(tmp_path: Path, make_config: MakeConfig) -> None:
    given = ["predict.views=[flips, hflip]", "predict.score_threshold=1e-1", "predict.tile=512", "predict.precision=null"]
    given += ["predict.polygons.tolerance=2.0", "runtime.progress=none", "runtime.threads=3", "targets.allow=[seg, mine]"]
    found, whole = PredictSettings.of(read_group(tmp_path, "predict", given, "predict")), make_config(*given[:-1])
    assert (found.predict, found.targets.allow) == (whole.predict, ["seg", "mine"])
    assert (found.runtime.progress, found.runtime.threads) == ("none", 3)


def test_a_projects_own_settings_are_read_and_an_options_defaults_with_them(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/predict/slow.yaml").write_text("defaults: [default, _self_]\nname: slow\nviews: [d4]\n")
    text = (tmp_path / "conf/config.yaml").read_text()
    (tmp_path / "conf/config.yaml").write_text(text.replace("  allow: [seg,", "  allow: [mine, seg,"))
    found = PredictSettings.of(read_group(tmp_path, "predict", ["predict=slow", "predict.batch_size=3"], "predict"))
    assert (found.predict.name, found.predict.views, found.predict.batch_size, found.predict.merge) == ("slow", ["d4"], 3, "probabilities")
    assert found.targets.allow[:2] == ["mine", "seg"]


def test_the_conf_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "conf/predict").mkdir(parents=True)
    (tmp_path / "conf/config.yaml").write_text("db: mysql\n")
    assert read_group(tmp_path, "predict", [], "predict") == read_group(template(), "predict", [], "predict")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "data.range=[0,4095]",
            r"seg predict reads predict.\*, targets.\*, paths.\*, runtime.engine, .*, runtime.threads alone",
        ),
        ("predict.viws=[d4]", "unknown key predict.viws: did you mean 'predict.views'"),
        ("predict=quick", "predict=quick: no such option"),
    ],
)
def test_an_override_that_would_not_be_obeyed_is_refused(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_group(tmp_path, "predict", [override], "predict")


def test_an_option_that_names_itself_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/predict/round.yaml").write_text("defaults: [round]\n")
    with pytest.raises(ConfigError, match="predict=round"):
        read_group(tmp_path, "predict", ["predict=round"], "predict")
