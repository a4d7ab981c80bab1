"""What is taken for a lack of memory."""

import pytest
import torch

from seg.models.hardware import is_out_of_memory, summary


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB, other allocations: 5.00 MB, max allowed: 9.07 GB)"),
        RuntimeError("HIP out of memory. Tried to allocate 64.00 MiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
    ids=lambda error: str(error)[:30] or "MemoryError",
)
def test_devices_and_libraries_say_it_in_many_ways(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), KeyboardInterrupt()], ids=repr
)
def test_other_errors_are_left_alone(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_allocating_too_much_on_a_cpu_is_one() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_a_summary_is_one_line_without_what_every_message_repeats() -> None:
    assert summary(torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate 2.00 GiB. More")) == "CUDA out of memory"
    assert summary(MemoryError()) == "MemoryError"
