"""The house: imports run one way, and dvc.yaml names what each stage imports and reads."""

import ast
from pathlib import Path

import pytest
import yaml

from seg.models.checkpoint import SECTIONS

ROOT = Path(__file__).parents[1]
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PLUGINS = {"seg/sources": {"prepare"}, "seg/models": {"train", "evaluate"}, "seg/metrics": {"train", "evaluate"}}
"""Folders whose modules `_target_` reaches: a stage that reaches them depends on the whole folder."""

LAYERS = (
    {"errors", "findings", "environment", "progress", "schema", "deferred", "sample", "hardware", "natural", "compilation", "machine"},
    {
        "labelmaps",
        "rle",
        "batch",
        "pixelmaps",
        "visibility",
        "copy_paste",
        "imagefile",
        "csvfile",
        "decoders",
        "tiff",
        "spool",
        "sample_cache",
        "quick_transforms",
        "geometry",
        "fused",
        "device_transforms",
        "statistics",
        "targets",
        "splits",
        "duplicates",
        "outputs",
        "scratch",
        "study",
        "config",
        "rawdata",
    },
    {"sources", "store", "storing", "transforms", "models", "metrics"},
    {"evaluation"},
    {
        "datamodule",
        "loading",
        "cached_data",
        "training",
        "report",
        "predict",
        "export",
        "sweep",
        "set_aside",
        "division",
        "preparation",
        "doctor",
        "recognise",
        "checkpoint",
    },
    {"stages"},
    {"cli"},
    {"__main__"},
)


def modules() -> dict[str, Path]:
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in (ROOT / "seg").rglob("*.py")}


def imports_of(path: Path) -> set[str]:
    """The modules of ours that a file imports, anywhere in it."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{a.name}" for a in node.names]
        found |= {n for n in names if n in known and n != "seg"}
    return found


def reach(start: str) -> set[str]:
    """All modules that importing `start` may load."""
    known, todo, seen = modules(), [start], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += imports_of(known[name])
    return seen


def layer(name: str) -> int:
    part = name.split(".")[1] if "." in name else name
    return next(i for i, names in enumerate(LAYERS) if part in names)


@pytest.mark.parametrize("name", [m for m in modules() if m != "seg"])
def test_imports_run_one_way(name: str) -> None:
    for other in imports_of(modules()[name]):
        same_room = name.split(".")[1] == other.split(".")[1]
        allowed = layer(other) <= layer(name) if same_room or layer(name) in (0, 1, 4) else layer(other) < layer(name)
        # a network is built from a data set's facts, and a stored record comes from a source
        crossing = {
            ("seg.models.build", "seg.data.store"),
            ("seg.storing.write", "seg.data.record"),
            ("seg.storing.write", "seg.data.store"),
        }
        assert allowed or (name, other) in crossing, f"{name} imports {other}, which lies at its own height or above"


def test_models_of_the_tasks_do_not_know_each_other() -> None:
    tasks = {"seg.models.semantic", "seg.models.instance"}
    for name in tasks & modules().keys():
        assert not reach(name) & (tasks - {name})


@pytest.mark.parametrize("stage", ["configure", "prepare", "augment", "train", "evaluate"])
def test_dvc_depends_on_the_code_of_each_stage(stage: str) -> None:
    code = {d for d in DVC[stage]["deps"] if d.startswith("seg/")}
    wanted = {m.replace(".", "/") + ".py" for m in reach(f"seg.stages.{stage}") if m.count(".") and not modules()[m].name.startswith("__")}
    for folder, stages in PLUGINS.items():
        inside = {w for w in wanted if w.startswith(f"{folder}/")}
        if stage in stages:
            wanted = (wanted - inside) | {folder}
    assert code == wanted


def test_dvc_tracks_the_settings_that_the_trainings_scratch_folder_is_named_by() -> None:
    assert sorted(DVC["train"]["params"]) == sorted(SECTIONS)


@pytest.mark.parametrize("stage", ["prepare", "doctor", "configure", "init"])
def test_stages_that_need_no_torch_do_not_import_it(stage: str) -> None:
    import subprocess
    import sys

    sources = ", ".join(m for m in modules() if m.startswith("seg.sources."))
    code = f"import seg.stages.{stage}, {sources}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


HELP = {"--help": ("hydra", "numpy"), "predict --help": ("numpy", "cv2", "pydantic", "hydra"), "sweep --help": ("hydra", "optuna", "torch")}


@pytest.mark.parametrize(("command", "unneeded"), HELP.items(), ids=str)
def test_help_imports_nothing_that_it_does_not_need(command: str, unneeded: tuple[str, ...]) -> None:
    import subprocess
    import sys

    code = f"import sys; sys.argv = ['seg', *{command.split()}]; from seg.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    code += f"sys.exit(str([name for name in {unneeded} if name in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""
