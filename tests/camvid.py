"""CamVid as it lies beside the project, which is prepared once for all tests that read it."""

from pathlib import Path

import pytest
from once import once
from plans import settled

from seg.configure.config import Config, checked
from seg.stages import prepare

CAMVID = Path(__file__).parents[2] / "shared" / "data" / "camvid"
NEEDED = [pytest.mark.real, pytest.mark.skipif(not CAMVID.is_dir(), reason=f"CamVid does not lie in {CAMVID}")]


def settings(*overrides: str) -> Config:
    return checked(settled("data=camvid", f"data.root={CAMVID}", "runtime.progress=none", *overrides))


def prepared_camvid(factory: pytest.TempPathFactory) -> Path:
    return once(factory, "camvid", lambda folder: prepare.run(settings(), folder / "prepared")) / "prepared"
