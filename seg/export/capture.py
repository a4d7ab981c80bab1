"""A model's graph as a program of torch.export (semantic) or as an ONNX model (instance), for any size of image or for one."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch

from seg.core.errors import ConfigError
from seg.core.private_torch import forget_example, onnx_sides, onnx_slice
from seg.export.graph import InstanceGraph, SemanticGraph
from seg.predict.description import OUTPUTS

OPSET = 18  # of ONNX: the first whose Resize has an antialias, and the oldest that torch's exporter writes

BATCH, SIDES = 2, (523, 419)  # of the example; large, since what a network does with few cells would pass for a limit of its size
LARGEST = 1 << 15  # a limit of the sides from here on is none

Range = tuple[int, int]


def capture(graph: SemanticGraph, channels: int, size: tuple[int, int] | None) -> tuple[torch.export.ExportedProgram, Range]:
    """The program for any size of image, or for `size`, and the least (height, width) it is right for; ConfigError if there is none."""
    dynamic = torch.export.Dim.DYNAMIC
    shapes = ({0: dynamic} if size else {0: dynamic, 2: dynamic, 3: dynamic},)
    example = torch.zeros(BATCH, channels, *(size or SIDES), dtype=torch.uint8)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(graph, (example,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # whatever a network's own code, or torch's analysis of it, raises
        raise _not_captured(size, error) from None
    (given,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == "images")
    least = []
    for side in given.meta["val"].shape[-2:]:
        limits = None if isinstance(side, int) else program.range_constraints.get(side.node.expr)
        if limits is not None and limits.upper < LARGEST:
            raise _not_captured(size, ValueError(f"sides up to {limits.upper} alone"))
        least.append(1 if limits is None or limits.lower <= 2 else int(limits.lower))
    for node in program.graph.nodes:  # where the code lies on this machine
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(key, None)
    forget_example(program)
    return program, size or (least[0], least[1])


def onnx_of_program(program: torch.export.ExportedProgram, gives: Any) -> Any:
    """An onnx.ModelProto, by the exporter that reads programs. ConfigError where ONNX lacks an operation."""
    names = list(OUTPUTS[gives])
    try:
        with quiet():
            made = torch.onnx.export(program, dynamo=True, opset_version=OPSET, input_names=["images"], output_names=names)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the first of them is a page of advice
            cause = cause.__cause__
        raise ConfigError(
            f"the network cannot be written as ONNX ({_one_line(cause)}); set format=torch_export, or another model"
        ) from None
    assert made is not None
    return made.model_proto


def onnx_of_instances(graph: InstanceGraph, channels: int, size: tuple[int, int] | None, gives: Any) -> Any:
    """An onnx.ModelProto, by the exporter that traces: torch.export gives up where the number of boxes decides what comes next."""
    import onnx

    names = list(OUTPUTS[gives])
    axes: dict[str, dict[int, str]] = {name: {0: "instances"} for name in names}
    if size is None:
        axes["images"] = {2: "height", 3: "width"}
    example, file = torch.zeros(1, channels, *(size or SIDES), dtype=torch.uint8), io.BytesIO()
    example += torch.randint(0, 256, example.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    antialiased = "aten::_upsample_bilinear2d_aa"  # the tracing exporter does not know it; ONNX does
    torch.onnx.register_custom_op_symbolic(antialiased, _resize, OPSET)
    try:
        with quiet(), torch.no_grad():
            torch.onnx.export(
                graph,
                (example,),
                file,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=OPSET,
                input_names=["images"],
                output_names=names,
                dynamic_axes=axes,
            )
    except Exception as error:
        raise _not_captured(size, error) from None
    finally:
        torch.onnx.unregister_custom_op_symbolic(antialiased, OPSET)
    return onnx.load_from_string(file.getvalue())


@contextmanager
def quiet() -> Iterator[None]:
    """Without the lines of progress and advice that exporters print."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _resize(g: Any, x: Any, size: Any, align_corners: Any, *scales: Any) -> Any:
    before = onnx_slice(g, g.op("Shape", x), 0, 2)
    whole = g.op("Concat", before, g.op("Cast", onnx_sides(g, size), to_i=7), axis_i=0)
    empty = g.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
    # torch leaves out what lies outside of the image, and has the remaining weights sum to 1
    settings = {"coordinate_transformation_mode_s": "half_pixel", "mode_s": "linear", "antialias_i": 1, "exclude_outside_i": 1}
    return g.op("Resize", x, empty, empty, whole, **settings)


def _not_captured(size: tuple[int, int] | None, error: Exception) -> ConfigError:
    reason = _one_line(error)
    if size is None:
        return ConfigError(f"the network cannot be exported for images of any size ({reason}); set size=HEIGHTxWIDTH, the only one then")
    return ConfigError(f"the network cannot be exported for images of {size[0]}x{size[1]} ({reason}); use the checkpoint, or another model")


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
