"""What ranks send each other in a step and around a validation: nothing beside the gradients waits for a device."""

from pathlib import Path

from gloo import in_ranks
from rank_cases import trained


def test_a_step_sends_gradients_and_two_flags_between_hosts(tmp_path: Path) -> None:
    """(call, the tensor's device, type and size, whether it is of all ranks, whether the program goes on meanwhile)"""
    first, second = in_ranks(trained, tmp_path)
    assert first == second
    steps = [n for n, call in enumerate(first) if call == ("step",)]
    validation, end = first.index(("validation",)), first.index(("end",))
    step = [
        ("all_reduce", "cpu", "float32", 267, True, True),  # all gradients: 3 * 9 * 8 + 8 + 16 + 8 * 3 + 3 numbers
        ("all_reduce", "cpu", "uint8", 1 + 6 + 2, True, False),  # did it fail, which parameters have a gradient, which buffers changed
        ("all_reduce", "cpu", "int64", 2, True, False),  # is a checkpoint due, did a signal come
    ]
    assert [first[start + 1 : stop] for start, stop in zip(steps, [*steps[1:], validation], strict=True)] == [step, step]
    buffers = [("broadcast", "cpu", "float32", 22, True, False), ("broadcast", "cpu", "int64", 1, True, False)]
    figures = [("all_gather", "cpu", "int64", 1, False, False), ("all_gather", "cpu", "int64", 9, False, False)]
    assert first[validation + 1 : end] == [*buffers, *figures]
    assert first.count(("broadcast", "cpu", "float32", 267, True, False)) == 1, "the weights of rank 0, before the first step"
