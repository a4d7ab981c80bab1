"""Encoders by pattern, from the table of them and from the libraries."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seg.catalogue import encoders
from seg.catalogue.encoders import FILE, UNKNOWN, Description, find, is_current, read
from seg.core.errors import ConfigError

BUILDING = Path(__file__).parents[2] / "benchmarks/encoders.py"

spec = importlib.util.spec_from_file_location("building", BUILDING)
assert spec is not None
assert spec.loader is not None
building: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(building)
NAMES = ["resnet18", "resnet34", "tv-googlenet", "tu-vit_tiny_patch16_224", "tu-vit_small_patch16_224", "tu-resnet18"]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of our own, of the installed versions."""
    path = tmp_path / "encoders.csv"
    building.write(path, [Description(name, 1000 + place, (2, 4)) for place, name in enumerate(NAMES)])
    monkeypatch.setattr(encoders, "FILE", path)
    return path


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    wrote = [Description("a", 12, (4, 8, 16)), Description("b", None, (), "cannot be built: 'x', \"y\"")]
    building.write(tmp_path / "t.csv", wrote)
    assert read(tmp_path / "t.csv") == {"a": wrote[0], "b": wrote[1]}
    assert is_current(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("# timm 0.0\n")
    assert not is_current(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (None, NAMES[:3]),
        ("resnet", ["resnet18", "resnet34", "tu-resnet18"]),
        ("resnet*", ["resnet18", "resnet34"]),
        ("*vit*", NAMES[3:5]),
        ("tu-*18", ["tu-resnet18"]),
    ],
)
def test_a_pattern_matches_whole_names_and_a_word_parts(table: Path, pattern: str | None, names: list[str]) -> None:
    found, others = find(pattern)
    assert [one.name for one in found] == names
    assert others == len(NAMES) - len(names)


@pytest.mark.parametrize(
    ("pattern", "near"),
    [("resnett18", "did you mean resnet18 or"), ("*vitt*", r"did you mean '\*vit\*'\?"), ("qqqqqq", "--encoders 'tu-\\*' those of timm")],
)
def test_a_pattern_without_a_match_says_near_names(table: Path, pattern: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"no encoder's name matches; .*{near}"):
        find(pattern)


def test_with_other_versions_all_that_is_installed_is_listed_and_what_the_table_lacks_says_so(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.write_text("# timm 0.0\n" + table.read_text().partition("\n")[2])
    monkeypatch.setattr(encoders, "installed", lambda: ["resnet18", "tv-new"])
    assert find(None)[0] == [Description("resnet18", 1000, (2, 4)), Description("tv-new", None, (), UNKNOWN)]


@pytest.mark.parametrize(
    ("name", "parameters", "strides", "remark"),
    [
        ("resnet18", 11_689_512 - 513_000, (2, 4, 8, 16, 32), ""),  # He et al. 2016, without the classifier of 512 x 1000 + 1000
        ("mit_b0", None, (4, 8, 16, 32), ""),
        ("tu-vit_tiny_patch16_224", None, (16, 16, 16, 16), ""),
        ("tu-swin_s3_tiny_224", None, (4, 8, 16, 32), ""),
        ("tu-crossvit_9_240", None, (), "gives no maps of features"),
    ],
)
def test_an_encoder_is_described_and_so_it_stands_in_the_table(
    name: str, parameters: int | None, strides: tuple[int, ...], remark: str
) -> None:
    found = building.describe(name)
    assert (found.strides, found.remark) == (strides, remark)
    assert parameters in (None, found.parameters)
    if is_current(FILE):
        assert read(FILE)[name] == found


def test_an_encoder_that_cannot_be_described_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Description:
        raise IndexError("list index\nout of range" + "." * 100)

    def endless(name: str) -> Description:
        while True:
            pass

    monkeypatch.setattr(building, "_built", broken)
    found = building.describe("resnet18")
    assert found == Description("resnet18", None, (), replace(found).remark)
    assert found.remark.startswith("cannot be built: list index out of range...")
    assert len(found.remark) < 110
    monkeypatch.setattr(building, "_built", endless)
    assert building.describe("resnet18", 0.1).remark == "not built in 0 s"


@pytest.mark.skipif(not is_current(FILE), reason="encoders.csv is of other versions: write it with python benchmarks/encoders.py")
def test_a_list_of_encoders_needs_no_torch() -> None:
    code = "import sys; sys.argv = ['seg', 'models', '--encoders', '*se_*']; from seg.cli import main; main()\n"
    code += "sys.exit(str([name for name in ('torch', 'timm', 'hydra', 'numpy') if name in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert "tu-nest_base_jx" in done.stdout
    assert "cannot be built" in done.stdout
    assert "se_" in done.stdout
