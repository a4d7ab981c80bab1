"""Where pretrained weights of an encoder can be had. No test asks a hub."""

import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError

from seg.plan.rules.networks import SECONDS, find, hub_file

REPOSITORY = "smp-hub/resnet18.imagenet"


class Hub:
    """In place of the hub's client: what was asked, and what it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.cached: list[tuple[str, str, Any]] = []
        self.answer: Any = None
        self.seconds: list[Any] = []
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", self.metadata)
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", self.from_cache)

    def metadata(self, url: str, timeout: float | None = None, **_: Any) -> str:
        self.asked.append(url)
        self.seconds.append(timeout)
        answer = self.answer(url) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return "metadata"

    def from_cache(self, repository: str, name: str, revision: Any = None, **_: Any) -> str | None:
        return "/cache/file" if (repository, name, revision) in self.cached else None


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(monkeypatch)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_a_file_of_the_project_comes_first(suffix: str, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / f"weights/resnet18{suffix}").touch()
    found = find("resnet18", tmp_path, True)
    assert found == (f"weights/resnet18{suffix}", f"weights/resnet18{suffix} holds weights of this encoder")
    assert find("resnet18", tmp_path, False)[0] == f"weights/resnet18{suffix}"
    assert not hub.asked
    assert find("resnet34", tmp_path, True)[0] == "imagenet"  # of another encoder


def test_who_wants_none_asks_nobody(hub: Hub, tmp_path: Path) -> None:
    found = find("resnet18", tmp_path, False)
    assert found == (None, "from scratch: plan.pretrained=false")
    assert not hub.asked


def test_a_hub_that_has_them(hub: Hub, tmp_path: Path) -> None:
    found = find("resnet18", tmp_path, True)
    assert found == ("imagenet", f"huggingface.co/{REPOSITORY} has weights that were trained on ImageNet")
    (asked,) = hub.asked
    assert REPOSITORY in asked
    assert asked.endswith("/model.safetensors")
    assert hub.seconds == [SECONDS]


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_offline_the_cache_alone_is_looked_at(value: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    found = find("resnet18", tmp_path, True)
    assert found == (None, f"from scratch: huggingface.co/{REPOSITORY} is not asked, as HF_HUB_OFFLINE is set")
    hub.cached.append((REPOSITORY, "model.safetensors", "of another revision"))
    assert find("resnet18", tmp_path, True)[0] is None
    source = hub_file("resnet18")
    assert source is not None
    hub.cached.append((REPOSITORY, "model.safetensors", source[1]))
    assert find("resnet18", tmp_path, True)[0] == "imagenet"
    assert not hub.asked


def test_a_hub_that_does_not_answer_costs_one_try(hub: Hub, tmp_path: Path) -> None:
    hub.answer = TimeoutError("a long text\nof the client")
    started = time.perf_counter()
    found = find("tu-resnet10t", tmp_path, True)
    assert time.perf_counter() - started < SECONDS
    assert found == (None, "from scratch: huggingface.co/timm/resnet10t.c3_in1k cannot be reached (TimeoutError)")
    assert len(hub.asked) == 1


def test_a_file_of_another_name_is_tried(hub: Hub, tmp_path: Path) -> None:
    missing = EntryNotFoundError.__new__(EntryNotFoundError)
    hub.answer = lambda url: missing if url.endswith(".safetensors") else None
    assert find("tu-resnet10t", tmp_path, True)[0] == "imagenet"
    assert [url.rpartition("/")[2] for url in hub.asked] == ["model.safetensors", "pytorch_model.bin"]
    hub.answer = missing
    assert find("tu-resnet10t", tmp_path, True)[1].endswith("cannot be reached (EntryNotFoundError)")


@pytest.mark.parametrize(
    ("encoder", "repository"),
    [("resnet18", REPOSITORY), ("tu-resnet10t", "timm/resnet10t.c3_in1k"), ("mit_b0", "smp-hub/mit_b0.imagenet")],
)
def test_where_the_hub_has_them(encoder: str, repository: str) -> None:
    found = hub_file(encoder)
    assert found is not None
    assert found[0] == repository
    assert found[2][0] == "model.safetensors"


@pytest.mark.parametrize("encoder", ["nothing", "tu-nothing", "tu-resnet10t.nothing"])
def test_unknown_encoders_start_from_scratch(encoder: str, hub: Hub, tmp_path: Path) -> None:
    assert hub_file(encoder) is None
    found = find(encoder, tmp_path, True)
    assert found == (None, f"from scratch: no hub has weights of {encoder} under the name imagenet")
    assert not hub.asked
