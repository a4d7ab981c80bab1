"""The files that every project starts from: those of the checkout, or the copies of them that the installed package holds. And digests of
the code that each stage runs, for projects that hold no code of their own.

In a checkout dvc.yaml names the folders of code that a stage depends on. A project that `seg new` wrote has no such folders: there
`configure` writes a digest of each stage's folders into params.yaml, and the stage depends on its own digest. So an upgrade of the
package reruns the stages whose code it changed, and no others."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

PACKAGE = Path(__file__).parents[1]
COPIES = PACKAGE / "configure" / "files"  # where setup.py puts the files of a wheel; a checkout has none: its own are the originals
FILES = (
    "conf",
    "dvc.yaml",
    "data/corrections/README.md",
    "data/marks/README.md",
    ".dvcignore",
    ".gitignore",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvc/plots",
)
"""What a project has from the start, as paths below the checkout; setup.py copies the same into a wheel."""
SECTION = "code"  # of params.yaml; dvc.yaml of such a project names code.<stage> among each stage's params


def template() -> Path:
    """The folder that holds FILES."""
    return COPIES if COPIES.is_dir() else PACKAGE.parent


def conf_of(project: Path, group: str) -> Path:
    """The conf/ of the project, or, in a folder that is none of seg's, the package's own. group: an option group of seg's, which another
    program's conf/ does not have."""
    own = project / "conf"
    ours = (own / "config.yaml").is_file() and (own / group).is_dir() and (own / "task").is_dir()
    return (own if ours else template() / "conf").resolve()


def own_version() -> str:
    """The version of the package; `unknown` where it runs without being installed."""
    try:
        return version("seg")
    except PackageNotFoundError:
        return "unknown"


def tracks_code(project: Path) -> bool:
    """Whether the stages of the project's dvc.yaml depend on digests of the package's code."""
    try:
        stages = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return False
    named = (str(key) for stage in stages.values() if isinstance(stage, dict) for key in body(stage).get("params") or ())
    return any(key.startswith(f"{SECTION}.") for key in named)


def body(stage: dict[str, Any]) -> dict[str, Any]:
    """What a stage of dvc.yaml does: of one that is made for each entry of a list, what all of them do."""
    return stage.get("do", stage)


def digests() -> dict[str, str]:
    """{stage: digest of the files and folders of code that it depends on}, with the version of the package."""
    stages = yaml.safe_load((template() / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    found = {name: _digest([d.removeprefix("seg/") for d in body(stage)["deps"] if d.startswith("seg/")]) for name, stage in stages.items()}
    return {"version": own_version()} | found


def _digest(paths: list[str]) -> str:
    content = hashlib.sha256()
    for path in paths:
        root = PACKAGE / path
        for file in sorted(root.rglob("*") if root.is_dir() else [root]):
            if file.is_file() and "__pycache__" not in file.parts:  # where Python and numba keep what they compiled
                content.update(file.relative_to(PACKAGE).as_posix().encode() + hashlib.sha256(file.read_bytes()).digest())
    return content.hexdigest()[:16]


def for_projects(pipeline: dict[str, Any]) -> dict[str, Any]:
    """dvc.yaml of a checkout -> that of a project without code. `configure` always runs there: it looks at the installed package."""
    stages = {}
    for name, stage in pipeline["stages"].items():
        made = body(stage)
        more = {"always_changed": True} if name == "configure" else {"params": [*made.get("params", ()), f"{SECTION}.{name}"]}
        made = made | {"deps": [d for d in made.get("deps", ()) if not d.startswith("seg/")]} | more
        stages[name] = stage | {"do": made} if "do" in stage else made
    return pipeline | {"stages": stages}
