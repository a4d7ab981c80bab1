"""torch.compile of a network in place: the same numbers and names, and what is done where it cannot be compiled."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch.nn import functional as F
from untrained import CONVOLUTION, untrained

import seg
from seg.core.errors import ConfigError
from seg.models.hardware import compile_in_place

pytestmark = pytest.mark.slow


class Halves(nn.Module):
    """An encoder and a decoder with a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.Sequential(nn.Conv2d(11, 4, 3, padding=1), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(torch.cat([x, F.interpolate(self.down(x), x.shape[-2:], mode="bilinear")], dim=1))


class Looking(Halves):
    """TorchDynamo does not take code that looks at values."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if float(x.mean()) > 100 else 1)


class Refusing(Halves):
    def forward(self, x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return super().forward(x)


def pair(kind: type[nn.Module] = Halves) -> tuple[nn.Module, nn.Module]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    network = kind().to(memory_format=torch.channels_last)
    return network, copy.deepcopy(network)


def images(side: int = 16, count: int = 2) -> Tensor:
    made = torch.randn(count, 3, side, side + 8, generator=torch.Generator().manual_seed(side))
    return made.to(memory_format=torch.channels_last)


def check_step(network: nn.Module, reference: nn.Module, x: Tensor, **tolerance: float) -> None:
    """Output, gradients and statistics of one more step."""
    for each in (network, reference):
        each.zero_grad()
    given, expected = network(x), reference(x)
    torch.testing.assert_close(given, expected, **tolerance)
    given.float().square().mean().backward()
    expected.float().square().mean().backward()
    found = dict(network.named_parameters())
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(found[name].grad, parameter.grad, **tolerance)
    state = network.state_dict()
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(state[name], value, **tolerance)


def test_names_stay_and_copies_are_not_compiled() -> None:
    network, reference = pair()
    compile_in_place(network, "here", backend="aot_eager")
    assert network.state_dict().keys() == reference.state_dict().keys()
    assert network._compiled_call_impl is not None
    assert copy.deepcopy(network)._compiled_call_impl is None


@pytest.mark.parametrize("amp", [False, True])
def test_sizes_modes_and_frozen_parts_may_change(amp: bool) -> None:
    said: list[str] = []
    tolerance = {"rtol": 0.05, "atol": 0.005} if amp else {}
    network, reference = pair()
    compile_in_place(network, "here", said.append, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        for side in (16, 24, 40, 32):
            check_step(network, reference, images(side), **tolerance)
        for part in (network, reference):
            part.down.requires_grad_(False).eval()
        check_step(network, reference, images(), **tolerance)
        with torch.inference_mode():
            for side in (16, 24):
                torch.testing.assert_close(network.eval()(images(side)), reference.eval()(images(side)))
    assert said == []


@pytest.mark.parametrize("kind", [Looking, Refusing])
def test_a_network_that_cannot_be_captured_whole_runs_uncompiled_and_says_so_once(kind: type[nn.Module]) -> None:
    said: list[str] = []
    network, reference = pair(kind)
    compile_in_place(network, "trainer.compile", said.append, backend="aot_eager")
    for side in (16, 24):
        check_step(network, reference, images(side), rtol=0, atol=0)
    assert len(said) == 1, said
    assert said[0].startswith("trainer.compile: the network cannot be compiled and runs uncompiled (")
    assert "\n" not in said[0]


@pytest.mark.parametrize("backward", [False, True])
def test_a_backend_that_fails_is_done_without(backward: bool) -> None:
    """Also for the backward pass, which is compiled before the forward pass has run: no batch norm has seen the batch twice."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    def works(graph: Any, _: Any) -> Any:
        return make_boxed_func(graph.forward)

    def fails(graph: Any, _: Any) -> Any:
        raise NotImplementedError("no such operation\nin many lines")

    said: list[str] = []
    network, reference = pair()
    backend = aot_autograd(fw_compiler=works if backward else fails, bw_compiler=fails)
    compile_in_place(network, "here", said.append, backend=backend)
    check_step(network, reference, images(), rtol=0, atol=0)
    check_step(network, reference, images(24), rtol=0, atol=0)
    assert said == ["here: the network cannot be compiled and runs uncompiled (NotImplementedError: no such operation)"]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_lack_of_memory_is_no_reason_to_try_again(error: Exception) -> None:
    def fails(*_: Any) -> Any:
        raise error

    said: list[str] = []
    network, _ = pair()
    compile_in_place(network, "here", said.append, backend=fails)
    with pytest.raises(RuntimeError, match="memory"):
        network(images())
    assert said == []


def test_a_mistake_of_the_network_is_raised_as_ever() -> None:
    network, _ = pair()
    said: list[str] = []
    compile_in_place(network, "here", said.append, backend="aot_eager")
    with pytest.raises(RuntimeError, match="to have 3 channels, but got 4"):
        network(torch.zeros(1, 4, 8, 8))
    assert said == []


def test_cases_without_end_are_not_compiled_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    compiled = 0

    def backend(graph: Any, _: Any) -> Any:
        nonlocal compiled
        compiled += 1
        return graph.forward

    network, reference = pair()
    compile_in_place(network, "here", said.append, backend=backend)
    with torch._dynamo.config.patch(recompile_limit=2), torch.no_grad():
        for number in range(5):
            network.down[2].threshold = network.down[0].stride = reference.down[0].stride = (number + 1, number + 1)
            torch.testing.assert_close(network(images()), reference(images()))
        assert compiled == 2
        assert said == ["here: the network was compiled for as many cases as torch allows; others run uncompiled"]
        network.down[0].stride = (1, 1)
        network(images())
        assert compiled == 2


def test_predictions_of_exported_files_are_not_compiled() -> None:
    with pytest.raises(ConfigError, match=r"model\.onnx: is an exported file; predict\.compile=true is for checkpoints"):
        seg.load("model.onnx", compile=True)


def test_compiled_predictions_are_those_of_the_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    untrained(tmp_path / "model.ckpt", "trainer.precision=32-true", network=CONVOLUTION)
    image = torch.randint(0, 256, (33, 40, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    plain, compiled = (seg.load(tmp_path / "model.ckpt", compile=value, accelerator="cpu") for value in (False, True))
    one, other = plain.predict(image), compiled.predict(image)
    assert (one.semantic == other.semantic).mean() > 0.999
    torch.testing.assert_close(one.confidence.astype("int32"), other.confidence.astype("int32"), rtol=0, atol=20)
    assert compiled.network.model.body._compiled_call_impl.compiled is not None  # type: ignore[attr-defined]
    assert capsys.readouterr().out == ""


def test_without_a_compiler_predictions_are_made_all_the_same(tmp_path: Path) -> None:
    untrained(tmp_path / "model.ckpt", "trainer.precision=bf16-mixed", network=CONVOLUTION)  # whose casts need a compiler
    code = "import numpy, seg, sys; seg.load(sys.argv[1], compile=True).predict(numpy.zeros((8, 8, 3), numpy.uint8))"
    env = os.environ | {"CXX": "/nonexistent", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.ckpt")], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("predict.compile: the network cannot be compiled and runs uncompiled (InvalidCxxCompiler: ")
    assert done.stdout.count("\n") == 1
