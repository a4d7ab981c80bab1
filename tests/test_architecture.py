"""The house: rooms are folders, imports run one way, and dvc.yaml names the folders that each stage imports and reads."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from seg.core.scratch import NO_EFFECT
from seg.settings.planned import EXAMPLES
from seg.training.settings import SECTIONS

ROOT = Path(__file__).parents[1]
DVC = {name: stage.get("do", stage) for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()}

MODULES = {"fold": ("augment", "train")}
"""The stages whose modules another one runs."""

FLOORS = (
    {"core"},
    {"settings"},
    {"data", "runtime"},
    {"raw", "loading"},
    {"augment", "metrics", "models", "sources"},
    {"storing", "evaluation", "pictures", "tiles"},
    {"configure", "prepare", "report", "training"},
    {"catalogue", "compare", "doctor", "plan", "predict", "recognise"},
    {"active", "explain", "export", "review", "serve", "sweep", "track"},
    {"stages", "commands"},
    {"cli"},
    {"__main__"},
)
"""The rooms, from the ground up: each imports from lower floors alone. A room's settings.py belongs to the room `settings`."""

TIMED = {"plan": {"augment", "core", "evaluation", "loading", "models", "tiles", "training"}}
"""Rooms whose code a stage runs only to see how long it takes."""

PLUGINS = {"prepare": {"sources"}} | {stage: {"models", "metrics"} for stage in ("train", "fold", "evaluate", "folds", "review")}
"""Rooms whose modules a stage reaches by `_target_`, which no import shows."""


@cache
def modules() -> dict[str, Path]:
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in (ROOT / "seg").rglob("*.py")}


@cache
def imports_of(name: str) -> frozenset[str]:
    """The modules of ours that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{a.name}" for a in node.names]
        found |= {n for n in names if n in modules() and n != "seg"}
    return frozenset(found)


def reach(start: str) -> set[str]:
    """All modules that importing `start` may load."""
    todo, seen = [start], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += imports_of(name)
    return seen


def room(name: str) -> str:
    return "settings" if name.endswith(".settings") else name.split(".")[1] if "." in name else name


def floor(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room(name) in rooms)


def test_imports_run_one_way() -> None:
    for name in modules().keys() - {"seg"}:
        for other in imports_of(name):
            assert room(name) == room(other) or floor(other) < floor(name), f"{name} imports {other}, which lies at its own height or above"


def test_no_module_imports_itself_by_way_of_others() -> None:
    for name in modules():
        assert not any(name in reach(other) for other in imports_of(name)), name


def test_models_of_the_tasks_do_not_know_each_other() -> None:
    own: dict[str, set[str]] = {
        "semantic": {"semantic", "masks.semantic"},
        "instance": {"instance", "distance", "prototypes", "masks.instance"},
        "detection": {"detection"},
        "panoptic": {"panoptic", "masks.panoptic"},
    }
    of_task = {f"seg.models.{name}": task for task, names in own.items() for name in names}
    for name, task in of_task.items():
        assert not [other for other in reach(name) & of_task.keys() if of_task[other] != task], name


@pytest.mark.parametrize("stage", DVC)
def test_dvc_depends_on_the_folders_of_code_of_each_stage(stage: str) -> None:
    """On no more and on no fewer; what changes no result is left out."""
    code = {d.removeprefix("seg/") for d in DVC[stage]["deps"] if d.startswith("seg/")}
    runs = MODULES.get(stage, (stage,))
    reached = {m for name in runs for m in reach(f"seg.stages.{name}") if modules()[m].name != "__init__.py"}
    paths = {modules()[m].relative_to(ROOT / "seg").as_posix() for m in reached}
    needed = {p for p in paths if p.split("/")[0] not in {"runtime", *TIMED.get(stage, ())}} | PLUGINS.get(stage, set())
    assert not [p for p in sorted(needed) if not any(p == d or p.startswith(f"{d}/") for d in code)], "these are read, and no dependency"
    assert not [d for d in sorted(code) if not any(p == d or p.startswith(f"{d}/") for p in needed)], "these are dependencies, and not read"


def test_what_changes_no_result_is_a_short_list() -> None:
    assert NO_EFFECT == ("seg.cli", "seg.__main__", "seg.commands", "seg.configure", "seg.runtime")


def test_dvc_tracks_the_settings_that_the_trainings_scratch_folder_is_named_by() -> None:
    assert sorted(tracked("train")) == sorted(SECTIONS)
    assert planned("train") <= set(SECTIONS)


def tracked(stage: str) -> list[str]:
    """Of params.yaml."""
    return [key for key in DVC[stage]["params"] if isinstance(key, str)]


def planned(stage: str) -> set[str]:
    """The sections of plan.yaml that a stage depends on."""
    return {key for entry in DVC[stage]["params"] if isinstance(entry, dict) for key in entry["plan.yaml"]}


@pytest.mark.parametrize("stage", ["augment", "train", "evaluate", "fold", "folds"])
def test_dvc_tracks_what_the_plan_may_set_in_these_sections(stage: str) -> None:
    mine = {key.split(".")[0] for key in tracked(stage)}
    of_plan = {key.split(".")[0] for key in EXAMPLES} & mine - {"plan"}
    assert planned(stage) == of_plan - ({"task"} if stage == "augment" else set())  # which reads task.instances alone


@pytest.mark.parametrize("stage", ["prepare", "augment", "train", "evaluate", "divide", "fold", "folds"])
def test_dvc_tracks_the_sections_that_a_stage_reads(stage: str) -> None:
    """All that its `Settings` name, but those that change no result."""
    from importlib import import_module

    runs = [import_module(f"seg.stages.{name}") for name in MODULES.get(stage, (stage,))]
    read = {key for module in runs for key in module.Settings.model_fields} - {"paths", "runtime", "targets", "logger"}
    assert {key.split(".")[0] for key in tracked(stage)} == read


ALONE = """
for stage in ("prepare", "doctor", "configure", "init", "divide"):
    if not (process := os.fork()):
        __import__(f"seg.stages.{stage}")
        os._exit("torch" in sys.modules)
    assert os.waitpid(process, 0)[1] == 0, stage
"""
"""Each in a process that is forked from one that has imported the sources."""


def test_stages_that_need_no_torch_do_not_import_it() -> None:
    sources = ", ".join(m for m in modules() if m.startswith("seg.sources."))
    subprocess.run([sys.executable, "-c", f"import os, sys, {sources}\n{ALONE}"], cwd=ROOT, check=True)


HELP = {"--help": ("hydra", "numpy"), "predict --help": ("numpy", "cv2", "pydantic", "hydra"), "sweep --help": ("hydra", "optuna", "torch")}


@pytest.mark.parametrize(("command", "unneeded"), HELP.items(), ids=str)
def test_help_imports_nothing_that_it_does_not_need(command: str, unneeded: tuple[str, ...]) -> None:
    code = f"import sys; sys.argv = ['seg', *{command.split()}]; from seg.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    code += f"sys.exit(str([name for name in {unneeded} if name in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""
