"""`new`: a folder in which the whole pipeline runs: conf/, dvc.yaml, .dvc/, data/ and a README. It holds no code of seg's."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from seg.configure.template import FILES, for_projects, template
from seg.core.errors import InputError, UsageError
from seg.stages import configure

README = Path(__file__).with_name("readme.md")
HEAD = "# The pipeline. `params:` names the sections of params.yaml that a stage reads; code.<stage> is a digest of the package's code.\n"


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. folder: of the project."""

    folder: Path


def run(project: Path, given: Arguments) -> None:
    """Write the project. InputError where the folder holds something already."""
    folder = given.folder
    if folder.exists() and (not folder.is_dir() or any(p.name != ".git" for p in folder.iterdir())):
        raise InputError(f"{folder}: is there already, and not empty; name a folder that is new")
    _write(folder)
    committed = _commit(folder)
    print(f"{folder}: a new project; now: cd {folder} && dvc repro")
    if not committed:
        print("git has no name of yours, so nothing is committed, and `dvc exp run` needs a commit: git add -A && git commit -m start")


def _write(folder: Path) -> None:
    """All files, or none."""
    source, partial = template(), folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        for name in FILES:
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source / name, target) if (source / name).is_dir() else shutil.copy2(source / name, target)
        pipeline = for_projects(yaml.safe_load((source / "dvc.yaml").read_text(encoding="utf-8")))
        text = yaml.safe_dump(pipeline, sort_keys=False, allow_unicode=True, width=120)
        (partial / "dvc.yaml").write_text(HEAD + text, encoding="utf-8")
        (partial / "README.md").write_text(README.read_text(encoding="utf-8").format(name=folder.resolve().name), encoding="utf-8")
        configure.run(partial, configure.Arguments())
        folder.mkdir(parents=True, exist_ok=True)  # where it is there it holds at most .git
        for path in partial.iterdir():
            path.rename(folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _commit(folder: Path) -> bool:
    """Make the folder a git repository with a first commit, unless it lies in one; False where git does not know who commits."""
    if not shutil.which("git"):
        raise UsageError("new: there is no git on this machine, which DVC needs; install it, then run the command again in the folder")
    inside = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], cwd=folder, capture_output=True).returncode == 0
    if inside and not (folder / ".git").exists():
        print(f"{folder}: lies in a git repository; commit it there before the first `dvc exp run`")
        return True
    quiet = {"cwd": folder, "capture_output": True, "env": os.environ | {"LC_ALL": "C"}}
    if not inside:
        subprocess.run(["git", "init", "-q"], check=True, **quiet)  # type: ignore[call-overload]
    subprocess.run(["git", "add", "-A"], check=True, **quiet)  # type: ignore[call-overload]
    return subprocess.run(["git", "commit", "-q", "-m", "A new project"], **quiet).returncode == 0  # type: ignore[call-overload]
