"""A file of torch.export, read only where it holds a graph of torch's own operators and plain tensors, and nothing else.

torch.export.load unpickles whatever the file marks as pickled, runs compiled code that a file may hold, calls what a node names in
`torch` or `operator`, and has sympy evaluate the expressions of sizes as Python. What `seg.export` writes needs nothing of that beyond
operators and sums of sizes, so a file with anything else is refused before torch sees it: every operator,
name and expression of the graph is compared with what pt2.yaml allows. The layout is that of PyTorch's PT2 archive
(https://docs.pytorch.org/docs/stable/export/pt2_archive.html).
"""

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import yaml

from seg.core.errors import DataError
from seg.core.private_torch import argument_kinds, forget_guards
from seg.models.tensor_file import refuse_bombs

EXTRA = "seg.json"  # the extra file that holds the description

KNOWN = re.compile(
    r"((\.data/(version|serialization_id)|byteorder|archive_format|archive_version|models/model\.json|extra/seg\.json)\Z|"
    r"data/(weights/(weight_\d+|model_weights_config\.json)|constants/(tensor_\d+|model_constants_config\.json)|sample_inputs/model\.pt)\Z)"
)
"""The records of an archive of one program, whose tensors are stored as bytes."""

STORED = re.compile(r"(weight|tensor)_\d+\Z")  # the record of a tensor, as a table of tensors names it

_ALLOWED = yaml.safe_load(Path(__file__).with_name("pt2.yaml").read_text(encoding="utf-8"))
OPERATORS = {f"{module}.{name}" for module, names in _ALLOWED["operators"].items() for name in names}
VALUES = {f"as_{kind}" for kind in _ALLOWED["values"]}
PRIVATE, TEXTS, CALLS = (set(_ALLOWED[part]) for part in ("private", "texts", "calls"))  # what pt2.yaml says

ATEN = re.compile(r"torch\.ops\.aten\.([A-Za-z_]\w*)\.([A-Za-z_]\w*)\Z")
NAME = re.compile(r"[\w.]{0,500}\Z", re.ASCII)
TEXT = re.compile(r"[\w.,:+ ><=-]{0,500}\Z", re.ASCII)
SYMBOL = re.compile(r"[a-z]{1,4}\d{1,9}\Z", re.ASCII)
FREE = {"as_string", "torch_version"}
UNREAD = {"guards_code", "metadata", "stack_trace"}  # keys whose text is not used
LARGEST = 2**63
DEEPEST, LONGEST = 60, 20_000  # levels and characters of an expression


def load_program(path: Path) -> tuple[torch.export.ExportedProgram, dict[str, str]]:
    """The program and its description. DataError where the file is none, or holds what would have to be unpickled or run."""
    text = {EXTRA: ""}
    try:
        check_archive(path)
        program = torch.export.load(path, extra_files=text)
        forget_guards(program)
        return program, dict(json.loads(text[EXTRA] or "{}"))
    except DataError:
        raise
    except Exception as error:  # zip, JSON, schema and assertion errors alike; JSON that is nested too deep
        raise DataError(f"{path}: cannot be loaded ({' '.join(str(error).split())[:200]}); export the checkpoint again") from None


def check_archive(path: Path) -> None:
    """Raise DataError where an archive has records beyond a program of known operators and plain tensors."""
    refuse_bombs(path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        inner = [name.partition("/")[2] for name in names]
        strange = [name for name in inner if not KNOWN.match(name)]
        if strange or len(set(inner)) < len(names):
            raise DataError(f"{path}: holds {strange[0] if strange else 'two records of one name'}, which `seg export` does not write")
        if f"extra/{EXTRA}" not in inner:
            raise DataError(f"{path}: is not a file that `seg export` of this version wrote; export the checkpoint again")
        for name, record in zip(names, inner, strict=True):
            if record == "models/model.json":
                check_program(json.loads(archive.read(name)), path)
            if record.endswith("_config.json"):
                _check_table(json.loads(archive.read(name))["config"], path)
            if record.endswith(".pt") and (data := archive.read(name)):
                try:
                    torch.load(BytesIO(data), weights_only=True)
                except Exception:
                    raise DataError(f"{path}: its sample inputs are pickled, and nothing is unpickled here") from None


def _check_table(entries: dict[str, dict[str, Any]], path: Path) -> None:
    for key, entry in entries.items():
        if entry["use_pickle"] is not False:
            raise DataError(f"{path}: {key[:100]} is pickled, and nothing is unpickled here")
        if not STORED.match(entry["path_name"]):
            raise DataError(f"{path}: {key[:100]} lies in {entry['path_name'][:100]!r}, which is no tensor of the file")


def check_program(content: Any, path: Path) -> None:
    """Raise DataError for the first thing in a program's JSON that `seg export` does not write."""
    try:
        for part in _parts(content, ""):
            _check(*part)
    except ValueError as error:
        raise DataError(f"{path}: {error}, which `seg export` does not write; the file is not opened") from None


def _parts(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every value with the key under which it lies; keys of dicts are values under the key "key"."""
    yield key, value
    if key in UNREAD:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield "key", name
            yield from _parts(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _parts(inner, key)


def _check(key: str, value: Any) -> None:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        if not -LARGEST <= value < LARGEST:  # nor a NaN
            raise ValueError(f"has a number out of range under {key[:50]!r}")
    elif key == "as_float" and value in ("Infinity", "-Infinity"):
        return
    elif key == "key" and value.startswith("as_") and value not in VALUES:
        raise ValueError(f"has a value of the kind {value[:50]!r}")
    elif key == "range_constraints":
        if not (isinstance(value, dict) and all(SYMBOL.match(name) for name in value)):
            raise ValueError("has ranges of what is no symbol")
    elif key == "metadata":
        if value:
            raise ValueError("has metadata of its nodes")
    elif key == "expr_str":
        check_expression(value)
    elif key in ("in_spec", "out_spec"):
        _check_tree(json.loads(value)[1])
    elif key == "target" and isinstance(value, str):
        _check_operator(value)
    elif isinstance(value, str) and key not in UNREAD and not (TEXT if key in FREE else NAME).match(value):
        raise ValueError(f"has the text {value[:50]!r} under {key[:50]!r}")


def _check_operator(name: str) -> None:
    if name in OPERATORS:
        return
    found = ATEN.match(name)
    operator = getattr(getattr(torch.ops.aten, found[1], None), found[2], None) if found else None
    kinds = argument_kinds(operator)
    if not found or kinds is None or (found[1].startswith("_") and found[1] not in PRIVATE):
        raise ValueError(f"calls {name[:100]}")
    if any(("str" in kind and argument not in TEXTS) or "Any" in kind for argument, kind in kinds.items()):
        raise ValueError(f"calls {name[:100]}")


def _check_tree(spec: Any) -> None:
    """Of arguments and results: tuples, lists and dicts of tensors."""
    if spec["type"] not in (None, "builtins.tuple", "builtins.list", "builtins.dict"):
        raise ValueError(f"has arguments of the kind {str(spec['type'])[:100]}")
    if spec["context"] not in (None, "null") and not all(
        isinstance(name, str) and NAME.match(name) for name in json.loads(spec["context"])
    ):
        raise ValueError("has arguments without plain names")
    for child in spec["children_spec"]:
        _check_tree(child)


def check_expression(text: Any) -> None:
    """Raise ValueError where text is no expression of symbols, whole numbers and CALLS. sympy would evaluate it as Python."""
    said = f"has the expression {str(text)[:80]!r}"
    if not isinstance(text, str) or len(text) > LONGEST or not re.fullmatch(r"[\w(),=' +*/-]*", text, re.ASCII):
        raise ValueError(said)
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(said) from None
    if not _is_expression(tree, DEEPEST):
        raise ValueError(said)


def _is_expression(node: ast.AST, depth: int) -> bool:
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_number(node.operand)
    if isinstance(node, ast.Constant):
        return _is_number(node) or isinstance(node.value, bool)
    if isinstance(node, ast.Name):
        return node.id in ("true", "false") or bool(SYMBOL.match(node.id))
    if depth == 0 or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in CALLS:
        return False
    name, given = node.func.id, node.args
    if name == "Symbol":
        flags = all(k.arg and isinstance(k.value, ast.Constant) and isinstance(k.value.value, bool) for k in node.keywords)
        return flags and len(given) == 1 and isinstance(given[0], ast.Constant) and bool(SYMBOL.match(str(given[0].value)))
    if node.keywords or not all(_is_expression(argument, depth - 1) for argument in given):
        return False
    return name != "Pow" or _is_small_power(given)


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value < LARGEST


def _is_small_power(given: list[ast.expr]) -> bool:
    """x to the power of a whole number up to 8, x without a power in it: sympy computes powers of numbers at once."""
    if len(given) != 2 or any(isinstance(node, ast.Name) and node.id == "Pow" for node in ast.walk(given[0])):
        return False
    exponent = given[1]
    if isinstance(exponent, ast.Call):
        if not (isinstance(exponent.func, ast.Name) and exponent.func.id == "Integer" and len(exponent.args) == 1):
            return False
        exponent = exponent.args[0]
    if isinstance(exponent, ast.UnaryOp):
        exponent = exponent.operand
    return isinstance(exponent, ast.Constant) and type(exponent.value) is int and exponent.value <= 8
