"""Large real data sets as they lie beside the project, each of which is prepared once for all tests that read it."""

from pathlib import Path

import pytest
from once import once
from plans import settled

from seg.configure.config import Config, checked
from seg.stages import prepare

DATA = Path(__file__).parents[2] / "shared" / "data"
FOLDERS = {"camvid": "camvid", "dsb2018": "dsb2018_nuclei"}


def needs(option: str) -> list[pytest.MarkDecorator]:
    """The marks of tests that read the data set."""
    folder = DATA / FOLDERS[option]
    return [pytest.mark.real, pytest.mark.skipif(not folder.is_dir(), reason=f"{option} does not lie in {folder}")]


def settings(option: str) -> Config:
    return checked(settled(f"data={option}", f"data.root={DATA / FOLDERS[option]}", "runtime.progress=none"))


def prepared_once(factory: pytest.TempPathFactory, option: str) -> Path:
    return once(factory, option, lambda folder: prepare.run(settings(option), folder / "prepared")) / "prepared"
