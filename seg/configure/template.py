"""The files that every project starts from: those of the checkout, or the copies of them that the installed package holds."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
COPIES = PACKAGE / "configure" / "files"
"""Where setup.py puts the files of a wheel. A checkout has none: its own are the originals."""

FILES = ("conf", "data/corrections/README.md", "dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots")
"""What a project has from the start, as paths below the checkout; setup.py copies the same into a wheel."""


def template() -> Path:
    """The folder that holds FILES."""
    return COPIES if COPIES.is_dir() else PACKAGE.parent


def conf_of(project: Path, group: str) -> Path:
    """The conf/ of the project, or, in a folder that is none of seg's, the package's own.

    group: an option group of seg's, which another program's conf/ does not have.
    """
    own = project / "conf"
    ours = (own / "config.yaml").is_file() and (own / group).is_dir() and (own / "task").is_dir()
    return (own if ours else template() / "conf").resolve()
