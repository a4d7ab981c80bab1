"""Work on a Ray cluster: the bytes of one process, whoever dies; mistakes are said in a line."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from shared_tasks import Deadly, arrays, doubled, dying, dying_behind, refusing
from tiny import Blobs, picture, prepare_tiny, split, tree, write
from typed import typed
from untrained import untrained

from seg.core.errors import ConfigError, DataError
from seg.predict.devices import devices_in
from seg.runtime.cluster import Cluster, engine_of
from seg.runtime.engine import Engine

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
ROOT = Path(__file__).parents[2]
ON_CPU = ["predict.accelerator=cpu", "predict.batch_size=2", "runtime.progress=none", "runtime.threads=1"]
ON_RAY = [*ON_CPU, "predict.devices=2", "runtime.engine=ray"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"^runtime\.engine=ray: needs the package ray; pip install ray$"), engine_of("ray", None):
        pass


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_answers_is_named(scheme: str) -> None:
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))  # and does not listen
        address, start = f"{scheme}127.0.0.1:{mine.getsockname()[1]}", time.monotonic()
        said = rf"^runtime\.address={address}: no Ray cluster answers; .*refused"
        with pytest.raises(ConfigError, match=said), engine_of("ray", address):
            pass
    assert time.monotonic() - start < 20


@pytest.fixture(scope="module")
def ray() -> Iterator[Engine]:
    """Started once: the commands within the block share it."""
    with engine_of("ray", None) as engine:
        yield engine


@pytest.mark.slow
def test_answers_are_in_order_and_own_their_memory_and_an_error_is_what_it_was(ray: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    assert list(ray.results(doubled, range(40), ["cpu", "cpu"])) == list(range(0, 80, 2))
    (array,) = ray.results(arrays, [7], ["cpu"])
    assert (array == 7).all()
    assert array.flags.writeable
    assert array.flags.f_contiguous
    with closing(ray.results(refusing, range(1000), ["cpu"])) as answers, pytest.raises(DataError, match=r"^three\.png: is refused$"):
        list(answers)
    said = r"^runtime\.engine=ray: 3 workers died one after another .*; take fewer$"
    with closing(ray.results(dying, range(1000), ["cpu"], "take fewer")) as answers, pytest.raises(DataError, match=said):
        list(answers)
    assert capfd.readouterr().err.count("its tasks are done again") >= 2  # Ray may lose more on a busy machine


@pytest.mark.slow
@pytest.mark.parametrize("store", ["files", "shards"])
def test_prepared_bytes_are_those_of_one_process_though_a_worker_dies(
    store: str, ray: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = (split(stratify=True), None, 2)
    alone = prepare_tiny(Blobs(40), tmp_path / "alone", *given, store=store)
    together = prepare_tiny(Deadly(40, marker=tmp_path / "died"), tmp_path / "ray", *given, store=store, engine=ray)
    assert (tmp_path / "died").exists()
    assert capfd.readouterr().err.startswith("runtime.engine=ray: a worker died, ")
    assert alone == together
    assert tree(tmp_path / "alone") == tree(tmp_path / "ray")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty of two sizes, and one that is none."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(40):
        write(folder / f"{number}.png", picture(number, (32, 40 if number % 5 else 32)))
    (folder / "7b.png").write_bytes(b"no image")
    return folder


@pytest.mark.slow
def test_predicted_bytes_are_those_of_one_process_though_a_worker_dies(
    ray: Engine, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    untrained(tmp_path / "best.ckpt")
    words, results, said = [str(tmp_path / "best.ckpt"), str(images), "predict.outputs=[classes,coco]", "--out"], Cluster.results, {}

    def deadly(cluster: Cluster, make: Callable[..., Any], *given: Any) -> Any:
        return results(cluster, partial(dying_behind, make, tmp_path / "died"), *given)

    monkeypatch.setattr(Cluster, "results", deadly)
    for name, options in (("alone", ON_CPU), ("ray", ON_RAY)):
        with pytest.raises(DataError, match="1 of 41 images could not be predicted"):
            typed("predict", tmp_path, [*words, str(tmp_path / name), *options])
        said[name] = capfd.readouterr()
    assert "2 workers of Ray predict side by side, on cpu, cpu" in said["ray"].out
    lines = said["ray"].err.splitlines()
    died = [line for line in lines if line.startswith("runtime.engine=ray: a worker died, ")]
    assert died
    assert [line for line in lines if line not in died] == said["alone"].err.splitlines()
    assert "7b.png" in said["alone"].err
    assert tree(tmp_path / "alone") == tree(tmp_path / "ray")
    gone = sorted((tmp_path / "ray/classes").iterdir())[10:]
    for path in gone:
        path.unlink()
    again = [*words[:2], "predict.outputs=[classes]", "--out", str(tmp_path / "ray"), "--skip", *ON_RAY, "predict.devices=1"]
    with pytest.raises(DataError, match="1 of 31 images could not be predicted"):
        typed("predict", tmp_path, again)
    assert tree(tmp_path / "alone") == tree(tmp_path / "ray")


@pytest.mark.slow
def test_the_images_to_label_next_are_those_of_one_process(ray: Engine, images: Path, tmp_path: Path) -> None:
    untrained(tmp_path / "best.ckpt")
    words = [str(tmp_path / "best.ckpt"), str(images), "--count", "5", "--out"]
    for name, options in (("alone", ON_CPU), ("two", [*ON_CPU, "predict.devices=2"]), ("ray", ON_RAY)):
        with pytest.raises(DataError, match="1 of 41 images could not be read"):
            typed("next", tmp_path, [*words, str(tmp_path / name), *options])
    assert tree(tmp_path / "alone") == tree(tmp_path / "ray")
    assert tree(tmp_path / "alone") == tree(tmp_path / "two")


INTERRUPTED = """
import sys, time
from seg.runtime.cluster import engine_of
from shared_tasks import sleepy
with engine_of("ray", None) as engine:
    for pid in engine.results(sleepy, range(1000), ["cpu"]):
        print(pid, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=str)
def test_ray_ends_with_the_command_that_started_it(how: signal.Signals, tmp_path: Path) -> None:
    command, pipes = [sys.executable, "-c", INTERRUPTED], {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp", ignore_cleanup_errors=True) as short:  # Ray's sockets lie in it
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "HOME": str(tmp_path), "TMPDIR": short}
        with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
            assert process.stdout is not None
            worker = int(process.stdout.readline())
            started = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(worker)]
            assert not [p for p in started if "dashboard.py" in " ".join(p.cmdline())], "it asks the network for the cloud that it runs in"
            os.killpg(process.pid, how)
            said = process.communicate(timeout=60)[1]
        assert psutil.wait_procs(started, timeout=30)[1] == []
        if how == signal.SIGINT:
            assert said.endswith("KeyboardInterrupt\n")
            assert os.listdir(short) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("count", "accelerator", "gpus", "wanted"),
    [
        ("auto", None, 4, ["gpu"] * 4),
        ("auto", "cpu", 4, ["cpu"] * 6),
        ("auto", None, 0, ["cpu"] * 6),
        (2, "auto", 4, ["gpu"] * 2),
        (3, None, 0, ["cpu"] * 3),
        (5, None, 4, r"predict\.devices=5: the Ray cluster has 4 GPUs"),
        ("auto", "gpu", 0, r"predict\.devices=auto: the Ray cluster has 0 GPUs"),
        (1, "gpu:1", 4, r"predict\.accelerator=gpu:1: runtime\.engine=ray chooses the GPUs itself"),
    ],
    ids=str,
)
def test_devices_of_a_cluster(count: int | str, accelerator: str | None, gpus: int, wanted: list[str] | str) -> None:
    class Six(Cluster):
        def __init__(self) -> None: ...

        def cores(self) -> int:
            return 6

        def gpus(self) -> int:
            return gpus

    if isinstance(wanted, list):
        assert devices_in(Six(), count, accelerator) == wanted
        return
    with pytest.raises(ConfigError, match=wanted):
        devices_in(Six(), count, accelerator)
