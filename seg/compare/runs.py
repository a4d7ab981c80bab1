"""Evaluations by name: a folder that holds one, or a revision of the project whose evaluation DVC's cache keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seg.core.errors import DataError, did_you_mean
from seg.evaluation.record import Run, read_run

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.scm import Git

WORKSPACE = "workspace"  # DVC's name of the project as it lies there

EVALUATION = Path("artifacts/evaluate")  # where the pipeline's evaluation lies within a project

RECORD, PREDICTIONS = "evaluation.json", "predictions"


@dataclass(frozen=True, slots=True)
class FoundRun:
    """An evaluation that was found. name: as the user wrote it. folder: holds RECORD and PREDICTIONS."""

    name: str
    folder: Path
    run: Run


def find_run(name: str, project: Path, scratch: Path) -> FoundRun:
    """The evaluation that `name` means: `workspace`, a folder, or else a git revision or DVC experiment of `project`.

    That of a revision is copied into `scratch`, an empty folder. A revision, or `workspace`, may be followed by a colon and the folder of
    another evaluation than the pipeline's, as in `main:artifacts/out_of_fold`. DataError where there is none."""
    revision, _, place = name.partition(":")
    places = [project / (place or EVALUATION)] if revision == WORKSPACE else [project / name, project / name / EVALUATION]
    folder = next((folder for folder in places if revision == WORKSPACE or (folder / RECORD).is_file()), None)
    if folder is None:
        folder = scratch
        _fetch(name, project, folder)
    run = read_run(folder / RECORD)
    if not (folder / PREDICTIONS).is_dir():
        raise DataError(f"{folder / PREDICTIONS}: there are no predictions to compare; evaluate again")
    return FoundRun(name, folder, run)


def _fetch(named: str, project: Path, folder: Path) -> None:
    """Copy the evaluation of a revision into a folder."""
    from dvc.fs import DVCFileSystem

    name, _, place = named.partition(":")
    revision, inside = _resolved(name, project)
    kept = Path(place or EVALUATION)
    files, there = DVCFileSystem(url=str(project), rev=revision, subrepos=True), (inside / kept).as_posix()
    if not files.exists(f"{there}/{RECORD}"):
        raise DataError(f"{named}: this revision keeps no {kept}/{RECORD}; evaluate it again: dvc exp apply {name}, dvc repro")
    try:
        files.get(f"{there}/{RECORD}", str(folder / RECORD))
        files.get(f"{there}/{PREDICTIONS}", str(folder / PREDICTIONS), recursive=True)
    except Exception as error:  # of DVC's own kinds, or of whatever library reaches the remote storage
        reason = " ".join(str(error).split())[:300]
        fix = f"fetch it with `dvc fetch` or `dvc exp pull`, or make it again: dvc exp apply {name}, dvc repro"
        raise DataError(f"{named}: its {kept} is not in DVC's cache ({reason}); {fix}") from None


def _resolved(name: str, project: Path) -> tuple[str, Path]:
    """The commit that a name means, and where the project lies in the git repository."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import NoSCM, RevError, resolve_rev

    beside = f"; the folder {name} holds no {RECORD}" if (project / name).is_dir() else ""
    try:
        repo = Repo(str(project))
    except NotDvcRepoError:
        raise DataError(f"{name}: no folder with {RECORD}, and {project} is no DVC project whose revisions could be looked up") from None
    with repo:
        if isinstance(repo.scm, NoSCM):
            raise DataError(f"{name}: no folder with {RECORD}, and {project} is not kept in git, so there are no revisions") from None
        try:
            return str(resolve_rev(repo.scm, name)), project.resolve().relative_to(Path(repo.scm.root_dir).resolve())
        except RevError as error:
            if "ambiguous" in str(error):
                raise DataError(f"{name}: several experiments have this name; give the revision that `dvc exp show` prints") from None
            fix = did_you_mean(name, _names(repo), "there are")
            raise DataError(f"{name}: no folder with {RECORD}, no revision and no experiment{beside}; {fix}") from None


def _names(repo: "Repo") -> set[str]:
    from dvc.repo.experiments.utils import exp_refs

    scm: Git = repo.scm
    return {WORKSPACE, *(ref.name for ref in exp_refs(scm)), *scm.list_branches(), *scm.list_tags()}
