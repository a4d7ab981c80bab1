"""Puts the files that a project starts from into the wheel: seg/configure/template.py lists them. All else stands in pyproject.toml."""

import ast
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def template_files() -> list[str]:
    """FILES of seg/configure/template.py, without importing it."""
    tree = ast.parse((ROOT / "seg/configure/template.py").read_text(encoding="utf-8"))
    return next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "FILES")  # type: ignore[attr-defined]


class BuildWithTemplate(build_py):
    """Copies the files beside the package's modules; an editable install finds the originals."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in template_files():
            source, target = ROOT / name, Path(self.build_lib) / "seg/configure/files" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy2(source, target)


setup(cmdclass={"build_py": BuildWithTemplate})
