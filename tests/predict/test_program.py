"""A .pt2 is opened only where it holds what `seg export` writes: no expression, operator or name of it is run as Python."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typed import typed
from untrained import CONVOLUTION, ROOT, untrained

from seg.core.errors import DataError
from seg.predict.pt2 import check_expression, load_program


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    untrained(folder / "a.ckpt", "model.stride=8", network=CONVOLUTION)
    path: Path = typed("export", ROOT, [str(folder / "a.ckpt"), "format=torch_export", "paths.prepare=none"]).path
    return path


EVIL = "__import__('pathlib').Path('proof').touch() or 3"


def expression(program: dict[str, Any]) -> dict[str, Any]:
    sizes = next(v["sizes"] for v in program["graph_module"]["graph"]["tensor_values"].values() if "as_expr" in v["sizes"][0])
    found: dict[str, Any] = sizes[0]["as_expr"]
    return found


def nodes(program: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = program["graph_module"]["graph"]["nodes"]
    return found


CHANGES: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("value", lambda p: expression(p).update(expr_str=EVIL), "has the expression"),
    ("symbol", lambda p: expression(p).update(expr_str=f"Symbol('s1', positive={EVIL})"), "has the expression"),
    ("hint", lambda p: expression(p).update(hint={"as_expr": {"expr_str": EVIL}}), "has the expression"),
    (
        "range",
        lambda p: p["range_constraints"].update({EVIL: {"min_val": 1, "max_val": 2}}),
        "has ranges of what is no symbol|has the text",
    ),
    ("range-number", lambda p: p["range_constraints"].update(s1={"min_val": EVIL, "max_val": 2}), "has the text"),
    ("operator", lambda p: nodes(p)[0].update(target="torch.hub.load"), "calls torch.hub.load"),
    ("from-file", lambda p: nodes(p)[0].update(target="torch.ops.aten.from_file.default"), "calls torch.ops.aten.from_file"),
    ("library", lambda p: nodes(p)[0].update(target="torch.ops.load_library"), "calls torch.ops.load_library"),
    ("attribute", lambda p: nodes(p)[0].update(target="_operator.attrgetter"), "calls _operator.attrgetter"),
    ("name", lambda p: nodes(p)[0].update(name=f"a\n{EVIL}"), "has the text"),
    (
        "tree",
        lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(in_spec=tree("collections.defaultdict")),
        "arguments of",
    ),
    ("object", lambda p: nodes(p)[0]["inputs"][0].update(arg={"as_custom_obj": {"name": "x", "class_fqn": "y"}}), "value of the kind"),
    (
        "condition",
        lambda p: nodes(p)[0]["inputs"][0].update(arg={"as_sym_bool": {"as_expr": {"expr_str": EVIL, "hint": None}}}),
        "has the expr",
    ),
    ("place", lambda p: p["graph_module"]["module_call_graph"][0].update(fqn=f"a.{EVIL}"), "has the text"),
    ("stored", lambda p: p["graph_module"]["signature"]["input_specs"][0].update(arg={"name": EVIL}), "has the text"),
    ("nested graph", lambda p: nodes(p)[0]["inputs"][0].update(arg={"as_graph": {"name": "x"}}), "value of the kind"),
    ("higher order", lambda p: nodes(p)[0].update(target="torch.ops.higher_order.wrap_with_set_grad_enabled"), "calls torch.ops.higher"),
    ("printing", lambda p: nodes(p)[0].update(target="torch.ops.aten._print.default"), "calls torch.ops.aten._print"),
    ("import", lambda p: nodes(p)[0].update(target="os.system"), "calls os.system"),
    ("dunder", lambda p: nodes(p)[0].update(target="torch.ops.aten.__class__.default"), "calls torch.ops.aten.__class__"),
    ("trace", lambda p: nodes(p)[0].update(metadata={"nn_module_stack": f"x,y,{EVIL}"}), "has metadata of its nodes"),
    ("number", lambda p: expression(p).update(hint={"as_int": 10**400}), "number out of range"),
]


def tree(kind: str) -> str:
    return json.dumps([1, {"type": kind, "context": "null", "children_spec": []}])


@pytest.mark.parametrize(("change", "said"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_a_program_with_anything_else_is_refused(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = rewritten(good, tmp_path / "x.pt2", change)
    with pytest.raises(DataError, match=said) as error:
        load_program(path)
    assert not (tmp_path / "proof").exists()
    assert "\n" not in str(error.value)


def rewritten(good: Path, path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    with zipfile.ZipFile(good) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name.endswith("models/model.json"):
                content = json.loads(data)
                change(content)
                data = json.dumps(content).encode()
            after.writestr(name, data)
    return path


def test_conditions_in_python_are_not_kept(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program, _ = load_program(rewritten(good, tmp_path / "x.pt2", lambda p: p.update(guards_code=[EVIL])))
    program.module()
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "print('x')",
            "Symbol('s1').__class__",
            "[1]",
            "lambda: 1",
            "s1 if s1 else 2",
            "Integer(1)(2)",
            "Symbol(Symbol('s1'))",
            "Add(*s1)",
        ),
        *("Pow(Integer(9), Integer(999999999))", "Pow(Pow(Integer(9), Integer(8)), Integer(8))", "Integer(" + "9" * 400 + ")", "9**9**9"),
        *(
            "Add(" * 90 + "s1" + ")" * 90,
            "(" * 5000,
            "Symbol('a b')",
            "Symbol('exec')",
            "",
            "eval('1')",
            "Function('f')(s1)",
            "Lambda(s1, s1)",
        ),
    ],
)
def test_other_expressions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has the expression"):
        check_expression(text)


def test_expressions_of_sizes_are_taken() -> None:
    symbol = "Symbol('s14', positive=True, integer=True)"
    for text in (symbol, f"Mul(Integer(-3), {symbol})", f"Max(Integer(1), FloorDiv(Add({symbol}, Integer(15)), Integer(16)))", "s34"):
        check_expression(text)
    check_expression(f"Pow({symbol}, Integer(-1))")
    check_expression(f"GreaterThan({symbol}, Integer(2))")
