"""Scripts that tests run in processes of their own, such as the ranks of a training."""

import os
import subprocess
import sys
from pathlib import Path

import preloaded
from conftest import ROOT


def lines_of(folder: Path, script: str, *arguments: str, fresh: bool = False) -> list[str]:
    """The lines that a script prints. It has to end well, is written into `folder`, and finds the package and what tests share.

    fresh: whether it has an interpreter of its own, which has imported nothing.
    """
    path = folder / "script.py"
    path.write_text(script)
    found = os.pathsep.join(str(ROOT / part) for part in (".", "tests", "tests/training/step"))
    command = [sys.executable if fresh else str(preloaded.python()), str(path), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": found}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
