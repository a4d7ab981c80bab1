"""How many processes load, by the machine's cores, memory and shared memory; none of it changes what is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import seg.core.environment as environment
import seg.loading.dataset as loading
from seg.loading.dataset import RankPlacement, auto_workers, choose_workers, fit_shared_memory

MB = 1 << 20


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 cores, and plenty of memory."""
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(environment, "num_cores", lambda: 64)
    monkeypatch.setattr(loading, "available_memory", lambda: 1 << 40)
    monkeypatch.setattr(loading, "shared_memory_left", lambda: 1 << 40)


@pytest.mark.parametrize(
    ("cores", "ranks", "workers"),
    [(64, 1, 8), (64, 8, 7), (16, 2, 7), (16, 8, 1), (8, 8, 1), (2, 8, 1), (9, 1, 8), (8, 1, 7), (1, 1, 1)],
)
def test_ranks_share_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int, ranks: int, workers: int) -> None:
    monkeypatch.setattr(environment, "num_cores", lambda: cores)
    assert auto_workers(RankPlacement(local_ranks=ranks, on_gpu=True)) == workers
    assert auto_workers(RankPlacement(local_ranks=ranks)) == 0


def test_ranks_that_are_bound_to_cores_of_their_own_have_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "num_cores", lambda: 6)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    assert auto_workers(RankPlacement(local_ranks=8, on_gpu=True)) == 1, "an allocation, whose tasks nobody started"
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    assert auto_workers(RankPlacement(local_ranks=8, on_gpu=True)) == 5


def test_processes_fit_into_a_quarter_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 GB, of which two ranks may have 1 GB each: two processes of 300 MB with two batches of 50 MB ahead."""
    monkeypatch.setattr(loading, "available_memory", lambda: 8000 * MB)
    assert auto_workers(RankPlacement(local_ranks=2, on_gpu=True), 50 * MB) == 2
    assert auto_workers(RankPlacement(local_ranks=1, on_gpu=True), 50 * MB) == 5
    assert auto_workers(RankPlacement(on_gpu=True), 10_000 * MB) == 1


@pytest.mark.parametrize(
    ("left", "ranks", "fits"),
    [
        (1000, 1, (4, 2)),  # 4 x 2 + 2 batches of 10 MB are 100 MB, of 90 % of what is left
        (112, 1, (4, 2)),
        (110, 1, (4, 1)),
        (64, 1, (3, 1)),
        (45, 1, (2, 1)),
        (34, 1, (1, 1)),
        (33, 1, (0, 2)),
        (128, 2, (3, 1)),
    ],
)
def test_batches_fit_into_shared_memory(monkeypatch: pytest.MonkeyPatch, left: int, ranks: int, fits: tuple[int, int]) -> None:
    monkeypatch.setattr(loading, "shared_memory_left", lambda: left * MB)
    assert fit_shared_memory(4, 10 * MB, ranks) == fits


def test_what_does_not_fit_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(loading, "shared_memory_left", lambda: 64_000_000)
    assert choose_workers(4, RankPlacement(), 10_000_000) == (3, 1)
    assert capsys.readouterr().out == (
        "/dev/shm has 64 MB left, 4 loading processes would need 60 MB for their batches: 3 load; "
        "give the container more (docker run --shm-size=8g, or --ipc=host), or set runtime.workers=3\n"
    )
    assert choose_workers(4, RankPlacement(local_rank=1), 10_000_000) == (3, 1)
    assert choose_workers(2, RankPlacement(), 10_000_000) == (2, 1)
    assert capsys.readouterr().out == ""
    assert choose_workers(1, RankPlacement(), 40_000_000) == (0, 2)
    assert "1 loading process would need 120 MB for their batches: no process loads beside the training" in capsys.readouterr().out


SMALL = """
import sys
from pathlib import Path
from seg.training.loading.datamodule import SegmentationData
data = SegmentationData(Path(sys.argv[1]), None, None, 4, 4, int(sys.argv[2]), 0, False)
loader = data.train_dataloader()
print("loaded", sum(len(batch) for batch in loader), "by", loader.num_workers)
"""


@pytest.mark.slow
def test_a_container_with_little_shared_memory_trains(tmp_path: Path, prepared: Path) -> None:
    """In a mount namespace of its own, with 64 kB of /dev/shm: two batches of 4 x 48 x 48 x 4 bytes are 74 kB."""
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this machine lets no user mount")
    script = tmp_path / "small.py"
    script.write_text(SMALL)
    command = f"{mount} && {sys.executable} {script} {prepared} 2"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "loaded 8 by 0" in done.stdout
    assert "give the container more (docker run --shm-size=8g" in done.stdout
