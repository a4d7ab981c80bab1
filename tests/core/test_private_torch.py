"""What is used of torch beyond its documentation still does what it is used for; and nothing of the kind is used elsewhere.

Compilation is tested in tests/models/test_compilation.py, activation checkpointing in tests/training/step/test_recomputation.py, and
the graphs of ONNX in tests/export.
"""

import ast
import multiprocessing
from pathlib import Path

import torch
from conftest import ROOT

from seg.core import private_torch as private


def test_tensors_are_copied_whatever_their_types() -> None:
    sources = [torch.tensor([1.5, 2.5]), torch.tensor([7.0]), torch.tensor(3), torch.tensor([True, False])]
    targets = [torch.zeros_like(t) for t in sources]
    private.copy_all(sources, targets)
    assert [t.tolist() for t in targets] == [[1.5, 2.5], [7.0], 3, [True, False]]
    private.copy_all([], [])


def test_shared_storage_is_seen_by_other_processes() -> None:
    shared = torch.empty(0, dtype=torch.uint8).set_(private.shared_storage(6)).view(2, 3)
    assert shared.is_shared()
    shared.zero_()
    process = multiprocessing.get_context("fork").Process(target=shared.fill_, args=(7,))
    process.start()
    process.join()
    assert shared.tolist() == [[7, 7, 7], [7, 7, 7]]


def test_changes_in_place_are_counted() -> None:
    tensor = torch.zeros(3)
    assert private.changes_in_place(tensor) == 0
    tensor[1:].add_(1)
    assert private.changes_in_place(tensor) == 1


def test_bf16_is_what_the_system_says_of_the_processor() -> None:
    flags = next((line.split() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), [])
    assert private.has_bf16_instructions() == bool({"avx512_bf16", "amx_tile"} & set(flags))
    assert hasattr(torch.cpu, "_is_avx512_bf16_supported")
    assert hasattr(torch.cpu, "_is_amx_tile_supported")


def uses(path: Path) -> list[str]:
    """What a module of ours takes from torch, torchvision or Lightning by a name with an underscore before it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("torch", "torchvision", "lightning"):
            names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            found += [f"{path.name}:{node.lineno} {name}" for name in names if name.startswith("_")]
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls", "super()", "os") and f"{owner}.{node.attr}" not in OTHERS:
                found.append(f"{path.name}:{node.lineno} {owner}.{node.attr}")
    return found


OTHERS = {"transform._key2func", "live._inside_dvc_exp", "found._trial_id", "found._composed"}
OTHERS |= {f"{name}.{attribute}" for name in ("CacheSlot", "slot", "entry", "Entry") for attribute in ("_fields", "_replace")}
"""Of albumentations and optuna, of our own settings, and of named tuples, where Python documents it."""


def test_nothing_private_is_used_elsewhere() -> None:
    own = ("private_torch.py", "private_lightning.py")
    assert [use for path in sorted((ROOT / "seg").rglob("*.py")) if path.name not in own for use in uses(path)] == []
