"""A checkpoint that predicts on a device with too little memory: fewer images at once, the same predictions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from limited import MESSAGE
from torch import Tensor
from untrained import CONVOLUTION, untrained

from seg.core.errors import ConfigError
from seg.models.dense import DenseModel
from seg.models.hardware import device_of, hints
from seg.tiles.checkpoint import CheckpointNetwork

Short = Callable[[int], None]


@pytest.fixture
def network(tmp_path: Path) -> CheckpointNetwork:
    return CheckpointNetwork(untrained(tmp_path / "a.ckpt", network=CONVOLUTION), "cpu", "32-true")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Short:
    """Have the device take so many images at once at most."""
    real = DenseModel.full_logits
    monkeypatch.setattr("seg.models.hardware.gc.collect", int)  # slow beside all that tests import

    def limit(most: int) -> None:
        def full_logits(self: DenseModel, images: Tensor) -> Tensor:
            if len(images) > most:
                raise torch.OutOfMemoryError(MESSAGE)
            return real(self, images)

        monkeypatch.setattr(DenseModel, "full_logits", full_logits)

    return limit


def test_fewer_images_at_once_give_the_same(network: CheckpointNetwork, short: Short, capsys: pytest.CaptureFixture[str]) -> None:
    images = torch.randint(0, 256, (7, 3, 20, 30), dtype=torch.uint8)
    logits, predicted = network.logits(images), network.predict(images)
    short(2)
    torch.testing.assert_close(network.logits(images), logits, rtol=0, atol=2e-6)  # some CPUs add up in another order for another number
    line = "out of memory: {} images at once from now on, not {} (CUDA out of memory)\n"
    assert capsys.readouterr().out == line.format(3, 7) + line.format(1, 3)
    again = network.predict(images)
    assert capsys.readouterr().out == "", "it keeps what it found"
    for a, b in zip(predicted, again, strict=True):
        assert np.array_equal(a.semantic, b.semantic)  # type: ignore[arg-type]
        assert np.abs(a.confidence.astype(int) - b.confidence.astype(int)).max() <= 1  # type: ignore[union-attr]


def test_a_single_image_that_does_not_fit_is_told_with_what_helps(network: CheckpointNetwork, short: Short) -> None:
    short(0)
    with pytest.raises(
        ConfigError, match=r"^out of memory with a single image at once \(CUDA out of memory\); set predict\.tile to .*bf16"
    ):
        network.predict(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def test_other_errors_are_no_lack_of_memory(network: CheckpointNetwork) -> None:
    with pytest.raises(RuntimeError, match="size of tensor"):
        network.predict(torch.zeros(2, 4, 8, 8, dtype=torch.uint8).expand(2, 4, 8, 8)[:, :2])


@pytest.mark.parametrize(("gpus", "said"), [(0, "this machine has no CUDA GPU; expected auto or cpu"), (2, "expected gpu:0 to gpu:1")])
def test_a_gpu_is_chosen_by_its_number(gpus: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ConfigError, match=f"^accelerator gpu:2: {said}"):
        device_of("gpu:2")
    if gpus:
        assert device_of("gpu:1") == torch.device("cuda", 1)
    assert device_of("cpu") == torch.device("cpu")


def test_what_a_training_leaves_unused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    idle = "3 of 4 GPUs idle; trainer=ddp trainer.devices=4 trains on all of them"
    half = "Tesla T4 multiplies float16 in hardware, but not bf16; trainer.precision=16-mixed takes less time than 32-true"
    cuda = torch.device("cuda")
    assert hints("auto", cuda, 1) == [idle, half]
    assert hints("16-mixed", cuda, 4) == []
    assert hints("auto", torch.device("cpu"), 1) == []
