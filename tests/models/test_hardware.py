"""How float32 is multiplied."""

from collections.abc import Iterator

import pytest
import torch

from seg.models.hardware import set_float32_matmul

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def float32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize(("setting", "tf32"), [("highest", False), ("high", True), ("medium", True)])
def test_float32_is_multiplied_as_set_in_convolutions_too(setting: str, tf32: bool, float32: None) -> None:
    set_float32_matmul(setting, CUDA)
    assert torch.get_float32_matmul_precision() == setting
    assert torch.backends.cudnn.allow_tf32 is tf32


def test_a_cpu_stays_exact(float32: None) -> None:
    torch.set_float32_matmul_precision("highest")
    set_float32_matmul("medium", CPU)
    assert torch.get_float32_matmul_precision() == "highest"
