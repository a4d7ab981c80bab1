"""What all tests share: the environment of a run, no network, and small data that is made here."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from seg.core.environment import prepare_environment
from seg.data.sample import ClassInfo

if TYPE_CHECKING:
    from seg.configure.config import Config
    from seg.data.store import DatasetInfo

prepare_environment()  # before torch, OpenCV and albumentations
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # it doubles every heavy import of the processes that tests start
sys.dont_write_bytecode = False

ROOT = Path(__file__).parents[1]

MakeConfig = Callable[..., "Config"]
MakeInfo = Callable[..., "DatasetInfo"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run the project's pipeline, or kill trainings, come first, then others with long tests: none of them is the last."""
    long = {item.path for item in items if any(item.get_closest_marker(name) for name in ("slow", "real", "browser"))}
    runs = {item.path for item in items if any(hasattr(getattr(item, "module", None), name) for name in ("Project", "Moment"))}
    items.sort(key=lambda item: (item.path not in runs, item.path not in long))


@pytest.fixture(scope="session")
def make_config() -> MakeConfig:
    """(*overrides, network=None) -> the checked configuration of conf/, with nothing to plan; `network`: in place of model.network."""
    from plans import settled

    from seg.configure.config import checked

    def make(*overrides: str, network: dict[str, Any] | None = None) -> "Config":
        params = settled(*overrides)
        if network is not None:
            params["model"]["network"] = network
        return checked(params)

    return make


@pytest.fixture(scope="session")
def make_info() -> MakeInfo:
    """(classes=3, channels=3, background=False) -> the facts of a data set that is not on disk; class k has 100 (k + 1) pixels."""
    from seg.data.store import DatasetInfo

    def make(classes: int = 3, channels: int = 3, background: bool = False) -> "DatasetInfo":
        names = [f"class{k}" for k in range(classes)]
        if background:
            names[0] = "background"
        return DatasetInfo(
            name="by hand",
            task="semantic",
            classes=[ClassInfo(name, (20 * k, 10, 255 - 20 * k)) for k, name in enumerate(names)],
            channels=channels,
            mean=[100.0, 110.0, 120.0, 130.0, 140.0][:channels],
            std=[50.0, 55.0, 60.0, 65.0, 70.0][:channels],
            splits={"train": {"class_pixels": [100 * (k + 1) for k in range(classes)]}},
            digest="0" * 64,
            statistics={"instances": {name: {} for name in names if name != "background"}},
        )

    return make


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig) -> Path:
    """The prepared data set of twelve drawn scenes of 48 x 48 pixels. Tests only read it."""
    from seg.prepare.assignment import Assignment
    from seg.prepare.run import prepare
    from seg.sources.shapes import Shapes

    data = make_config().data
    classes = [ClassInfo(c.name, tuple(c.color)) for c in data.classes]  # type: ignore[arg-type]
    out = tmp_path_factory.mktemp("data") / "prepared"
    prepare(Shapes(12, 48, 0, classes), "shapes", classes, Assignment.of(data), None, out, 1, "none", data.plain())
    return out
