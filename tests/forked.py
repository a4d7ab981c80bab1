"""`seg` as a user types it, in a process of its own that is forked from one that has imported what each command imports first."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from forkserver import SERVER

ROOT = Path(__file__).parents[1]


def seg(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `seg ARGUMENTS` to its end."""
    with tempfile.TemporaryDirectory() as folder:
        process = SERVER.Process(target=_main, args=(arguments, cwd, folder, environment))
        process.start()
        process.join(120)
        out, err = (Path(folder, name).read_text() for name in ("out", "err"))
    assert process.exitcode is not None, f"it has not ended:\n{out}\n{err}"
    return subprocess.CompletedProcess(arguments, process.exitcode, out, err)


def _main(arguments: tuple[str, ...], cwd: Path, folder: str, environment: dict[str, str]) -> None:
    for number, name in enumerate(("out", "err"), start=1):
        os.dup2(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.update(environment)
    sys.argv = ["seg", *arguments]
    from seg.cli import main

    main()
    sys.stdout.flush()
