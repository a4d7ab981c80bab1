"""What Hydra, its grammar and YAML do not take is one line that names the file and line, or the key and how to quote its value."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from seg.configure.compose import compose
from seg.configure.read import read_group
from seg.core.errors import ConfigError


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"name: bad\n\tlr: 1\n", "line 2: is not YAML: found character '\\t' that cannot start any token; indent with spaces"),
        (b"name: bad\nlr: 1\nlr: 2\n", "line 3: is not YAML: found duplicate key lr"),
        (b"name: bad\n# gr\xfc\xdfe\n", "line 2: is not UTF-8; save the file with this encoding"),
        (b"name: a: b\n", "line 1: is not YAML: mapping values are not allowed here"),
    ],
    ids=["tab", "twice", "Latin-1", "colon"],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, content: bytes, answer: str) -> None:
    conf = shutil.copytree(ROOT / "conf", tmp_path / "conf")
    for group in ("optimizer", "predict"):
        (conf / group / "bad.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        compose(conf, ["optimizer=bad"])
    assert str(caught.value) == f"{conf}/optimizer/bad.yaml, {answer}"
    with pytest.raises(ConfigError) as caught:
        read_group(tmp_path, "predict", ["predict=bad"], "predict")
    assert answer in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("model.weights", "weights/epoch=1-step=3.ckpt"), ("data.root", "~/x"), ("data.split.group", r"^(p\d+)_"), ("data.root", "/a(1)")],
)
def test_a_value_that_hydra_does_not_take_is_quoted_as_the_answer_says(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{key}: its value {value} holds a character')}") as caught:
        compose(ROOT / "conf", [f"{key}={value}"])
    advised = str(caught.value).rpartition("put it into quotes: '")[2].removesuffix("'")
    found = compose(ROOT / "conf", [advised])[0]
    for part in key.split("."):
        found = found[part]
    assert found == value


def test_somebody_elses_hydra_stays_as_it_is() -> None:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        before = GlobalHydra.instance().hydra
        assert compose(ROOT / "conf", ["seed=4"])[0]["seed"] == 4
        assert GlobalHydra.instance().hydra is before


def test_a_projects_conf_of_a_former_version_takes_new_keys_from_the_packages(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(ROOT / "conf", conf)
    for name, line in (("predict/default.yaml", "devices:"), ("config.yaml", "  threads:")):
        lines = (conf / name).read_text().splitlines(keepends=True)
        kept = [text for text in lines if not text.startswith(line)]
        assert len(kept) == len(lines) - 1
        (conf / name).write_text("".join(kept))
    (conf / "predict/mine.yaml").write_text((conf / "predict/default.yaml").read_text().replace("batch_size: 8", "batch_size: 3"))
    whole = compose(ROOT / "conf", [])[0]
    assert compose(conf, [])[0] == whole
    own = compose(conf, ["predict=mine", "runtime.workers=1"])[0]
    assert own["predict"] == whole["predict"] | {"batch_size": 3}
    assert own["runtime"] == whole["runtime"] | {"workers": 1}
    assert read_group(tmp_path, "predict", ["predict=mine", "predict.devices=2"], "predict") == read_group(
        ROOT, "predict", ["predict.batch_size=3", "predict.devices=2"], "predict"
    )
