"""`seg serve` as a user types it: mistakes in a line, several processes, their end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
from project import ROOT
from serving import form
from tiny import encoded, picture
from typed import typed
from untrained import CONVOLUTION, untrained

from seg.core.errors import ConfigError, DataError
from seg.serve.settings import ServeSettings
from seg.stages import serve


def refused(model: Path, *words: str) -> str:
    with pytest.raises(ConfigError) as error:
        typed("serve", ROOT, [str(model), *words])
    return str(error.value)


def test_mistakes_are_told_before_anything_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEG_MAX_PIXELS", "1")
    untrained(model := tmp_path / "best.ckpt", network=CONVOLUTION)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(model, f"serve.port={port}") == (
            f"serve.host=127.0.0.1 serve.port={port}: cannot be listened at (Address already in use); "
            "set serve.port to another one, or to 0 for any that is free"
        )
    assert "serve.port=70000: expected" in refused(model, "serve.port=70000")
    assert "unknown key serve.prt: did you mean 'serve.port'?" in refused(model, "serve.prt=1")
    assert "unknown key predict.tle" in refused(model, "predict.tle=64")
    assert "trainer.max_epochs=1: seg serve reads" in refused(model, "trainer.max_epochs=1")
    with pytest.raises(DataError):
        typed("serve", ROOT, [str(tmp_path / "none.ckpt")])
    monkeypatch.setattr(serve, "find_spec", lambda name: name != "python_multipart")
    assert refused(model) == "serve: needs the package python-multipart; pip install -e '.[serve]'"


def test_a_token_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[str | None] = []
    monkeypatch.setattr(serve, "_serve", lambda models, cfg, settings, prepared: seen.append(settings.token))
    monkeypatch.setenv("SEG_SERVE_TOKEN", "of the environment")
    typed("serve", ROOT, ["a.ckpt"])
    typed("serve", ROOT, ["a.ckpt", "serve.token=of.the.line"])
    monkeypatch.delenv("SEG_SERVE_TOKEN")
    typed("serve", ROOT, ["a.ckpt"])
    assert seen == ["of the environment", "of.the.line", None]


def test_every_key_has_its_default_in_conf() -> None:
    from seg.configure.read import read_group

    assert ServeSettings.of(read_group(ROOT, "serve", [], "serve")).serve.host == "127.0.0.1"


def ask(port: int, way: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(way, path, body, {"Content-Type": "multipart/form-data; boundary=x"} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.slow
def test_two_processes_answer_and_one_that_dies_is_started_again(tmp_path: Path) -> None:
    untrained(tmp_path / "best.ckpt", network=CONVOLUTION)
    words = [sys.executable, "-m", "seg", "serve", str(tmp_path / "best.ckpt"), "serve.port=0", "serve.workers=2"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        port = int(line.partition("127.0.0.1:")[2].partition(",")[0])
        body = form(encoded(picture(0), ".png"))[0]
        try:
            answers = {ask(port, "POST", "/predict", body) for _ in range(8)}
            assert {status for status, _ in answers} == {200}
            assert len(answers) == 1
            workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
            assert len(workers) == 2
            counted = ask(port, "GET", "/metrics")[1].decode()
            assert 'seg_answers_total{status="200"} 8.0' in counted
            workers[0].kill()
            end = time.monotonic() + 120
            while len({child.pid for child in psutil.Process(process.pid).children() if child.is_running()} - {workers[0].pid}) < 2:
                assert time.monotonic() < end
                time.sleep(0.5)
            assert json.loads(ask(port, "GET", "/health")[1]) == {"status": "ok"}
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            assert psutil.wait_procs(children, 20)[1] == []
        finally:
            process.kill()
