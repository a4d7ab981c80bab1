"""A copy of the project in a folder of its own, as a user has it after `git clone`, small enough to run in seconds."""

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import preloaded
import pytest
from guarded import of_a_new_user
from once import once
from plans import pin

ROOT = Path(__file__).parents[1]
STAGES = ["configure", "prepare", "plan", "augment", "train", "evaluate"]


@dataclass
class Project:
    """Runs commands in `folder`; `small` makes experiment=smoke the default, so that a plain `dvc repro` is quick.

    Its processes have imported the libraries beforehand: see preloaded.py.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def clone(cls, folder: Path, small: bool = True) -> "Project":
        tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in tracked.stdout.splitlines():
            source, target = ROOT / name, folder / name
            if source.is_symlink() or source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        for source in (path for suffix in ("pyc", "nbi", "nbc") for path in ROOT.glob(f"seg/**/__pycache__/*.{suffix}")):
            target = folder / source.relative_to(ROOT)  # files of the same bytes and times need not be compiled again
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        project = cls(folder)
        project.run("git", "init", "-q")
        if small:
            pin(folder)
            project.edit("conf/config.yaml", "experiment: none", "experiment: smoke")
            project.seg("configure", "--clear")
        project.commit("start")
        return project

    @classmethod
    def ran(cls, factory: pytest.TempPathFactory, folder: Path) -> "Project":
        """A copy of a small clone whose pipeline has run, and is committed; first_run.txt beside the clone is what was printed."""
        return cls(ran_once(factory)).copy(folder)

    def copy(self, folder: Path) -> "Project":
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Project(folder)

    @property
    def python(self) -> Path:
        return preloaded.python()

    def stub(self, *stages: str) -> None:
        """Let tests/stub_stage.py stand for these stages: where it is told what DVC runs, and the stages' own work is not."""
        for stage in stages:
            self.edit("dvc.yaml", f"python -m seg {stage} -cn pipeline", f"python tests/stub_stage.py {stage}")

    def run(self, *command: str, ok: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `ok` says whether it must succeed."""
        done = subprocess.run(command, cwd=self.folder, env=self.env(**environment), capture_output=True, text=True, timeout=600)
        if ok:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        else:
            assert done.returncode != 0, f"{' '.join(command)} should have failed\n{done.stdout}"
        return done

    def env(self, **more: str) -> dict[str, str]:
        """As a user's shell has it, with this Python first and no identity but the test's own."""
        names = {"GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"}
        mails = {"GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"}
        env = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "SEG_", "GIT_")) and k != "PYTHONDONTWRITEBYTECODE"}
        env["PATH"] = f"{self.python.parent}{os.pathsep}{env['PATH']}"
        return env | dict.fromkeys(names, "tester") | dict.fromkeys(mails, "tester@example.org") | self.environment | more

    def dvc(self, *arguments: str, ok: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.python), "-m", "dvc", *arguments, ok=ok, **environment)

    def seg(self, *arguments: str, ok: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.python), "-m", "seg", *arguments, ok=ok, **environment)

    def repro(self, *targets: str, **environment: str) -> list[str]:
        """`dvc repro`, of some stages or of all: the stages that ran, in order."""
        return stages_run(self.dvc("repro", *targets, **environment).stdout)

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1))

    def bytes_of(self, *files: str) -> dict[str, bytes]:
        return {file: (self.folder / file).read_bytes() for file in files}


def ran_once(factory: pytest.TempPathFactory) -> Path:
    """The project that has run, in processes that speak to nobody."""

    def make(folder: Path) -> None:
        project = Project.clone(folder)
        project.environment = of_a_new_user(folder.parent / "guarded")
        done = project.dvc("repro")
        assert stages_run(done.stdout) == STAGES
        project.commit("first run")
        (folder.parent / "first_run.txt").write_text(done.stdout + done.stderr)

    return once(factory, "ran", make)


def stages_run(output: str) -> list[str]:
    """The stages whose commands DVC says it ran."""
    return re.findall(r"Running stage '([\w@]+)'", output)


class Running:
    """A command in a session of its own, whose output is waited for."""

    def __init__(self, project: Project, *command: str) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=project.folder,
            env=project.env(PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.text = ""

    def wait_for(self, text: str) -> None:
        """Read up to the line that holds the text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line
            if text in line:
                return
        raise AssertionError(f"{text!r} was never printed:\n{self.text}")

    def kill_all(self) -> None:
        """Kill the command and what it started, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
