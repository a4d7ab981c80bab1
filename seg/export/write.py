"""A model's graph, captured as an ONNX model, and written with its description as one of the formats."""

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seg.core.errors import ConfigError
from seg.core.outputs import disk_full, write_whole
from seg.core.private_torch import onnx_sides, onnx_slice
from seg.export.graph import DistanceGraph, InstanceGraph, SemanticGraph
from seg.export.quantize import quantized_onnx, quantized_openvino, quiet
from seg.models.base import SegmentationModel
from seg.models.dense import DenseModel
from seg.models.detector import DetectorModel
from seg.models.distance import DistanceModel
from seg.models.instance import InstanceModel
from seg.predict.description import OUTPUTS, Description, Precision
from seg.predict.exported import library

NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}
"""The optional packages that each format takes, to be written and to be checked; an OpenVINO model is made of an ONNX model."""

OPSET = 18  # of ONNX: the first whose Resize has an antialias, and the oldest that torch's exporter writes
BATCH, SIDES = 2, (523, 419)  # of the example; large, since what a network does with few cells would pass for a limit of its size
LARGEST = 1 << 15  # a limit of the sides from here on is none
Range = tuple[int, int]


class Exporter:
    """A model in evaluation mode on the CPU, with what is captured of it, once for all formats. ConfigError where that cannot be.

    description: of the files, but for its `minimum`, which is found while capturing, and its precision."""

    def __init__(self, model: SegmentationModel, description: Description) -> None:
        self.model, self._description = model, description

    def described(self, precision: Precision = "float32") -> Description:
        """What a file of such a precision says of itself."""
        minimum = self._captured[1] if isinstance(self.model, DenseModel) else self._description.size or (1, 1)
        return replace(self._description, minimum=minimum, precision=precision)

    def write(self, path: Path, form: str, precision: Precision = "float32", calibration: Sequence[np.ndarray] = ()) -> None:
        """Write one file, or with OpenVINO the .xml and beside it the .bin. calibration: of int8, images (1, C, H, W) uint8."""
        {"onnx": self._write_onnx, "openvino": self._write_openvino}[form](path, self.described(precision).to_text(), calibration)

    @cached_property
    def _captured(self) -> tuple[torch.export.ExportedProgram, tuple[int, int]]:
        assert isinstance(self.model, DenseModel)
        own, model = self._description, self.model
        graph = DistanceGraph(model) if isinstance(model, DistanceModel) else SemanticGraph(model, own.gives == "classes")
        return capture(graph, own.facts.channels, own.size)

    @cached_property
    def _proto(self) -> Any:
        own = self._description
        if isinstance(self.model, InstanceModel | DetectorModel):
            proto = onnx_of_instances(InstanceGraph(self.model), own.facts.channels, own.size, own.gives)
        else:
            proto = onnx_of_program(self._captured[0], own.gives)
        tidy(proto)
        return proto

    def _write_onnx(self, path: Path, text: dict[str, str], calibration: Sequence[np.ndarray]) -> None:
        import onnx

        proto = quantized_onnx(self._proto, calibration) if calibration else self._proto
        onnx.helper.set_model_props(proto, text)
        write_whole(path, proto.SerializeToString())

    def _write_openvino(self, path: Path, text: dict[str, str], calibration: Sequence[np.ndarray]) -> None:
        openvino = library("openvino", "format=openvino")
        from openvino import opset11

        model = openvino.Core().read_model(self._proto.SerializeToString())
        for node in model.get_ordered_ops():
            if node.get_type_name() == "Interpolate" and (given := node.get_attributes())["antialias"]:
                # ONNX's antialiased interpolation is Pillow's, which OpenVINO has under another name; as it reads it, the CPU does without
                mode = {"linear_onnx": "bilinear_pillow", "cubic": "bicubic_pillow"}[given["mode"]]
                values = [node.input_value(index) for index in range(node.get_input_size())]
                same = {"shape_calculation_mode": given["shape_calculation_mode"], "cube_coeff": given["cube_coeff"], "antialias": True}
                resized = opset11.interpolate(values[0], values[1], mode=mode, axes=values[2] if len(values) > 2 else None, **same)
                node.output(0).replace(resized.output(0))
        if calibration:
            model = quantized_openvino(model, calibration)
        for key, value in text.items():
            model.set_rt_info(value, ["seg", key])
        try:
            openvino.save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:
            if "iostream" not in str(error):
                raise
            raise disk_full(path) from None


def tidy(proto: Any) -> None:
    """Name the dimensions, and leave out what is of the machine that exported: its paths and names of modules."""
    import onnx

    names = {}
    for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
        if given := proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param:
            names[given] = name
    graph = proto.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]
        value.ClearField("metadata_props")
    for held in (graph, *proto.functions, *(node for part in (graph, *proto.functions) for node in part.node)):
        held.ClearField("metadata_props")
        held.ClearField("doc_string")
    proto.ClearField("doc_string")
    onnx.helper.set_model_props(proto, {})
    onnx.checker.check_model(proto)


def capture(graph: SemanticGraph, channels: int, size: tuple[int, int] | None) -> tuple[torch.export.ExportedProgram, Range]:
    """The program, and the least (height, width) that it is right for. ConfigError where the network cannot be captured.

    size: the only (height, width) of images, or None: any."""
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
        raise ConfigError(f"the network cannot be written as ONNX ({_one_line(cause)}); use the checkpoint, or another model") from None
    assert made is not None
    return made.model_proto


def onnx_of_instances(graph: InstanceGraph, channels: int, size: tuple[int, int] | None, gives: Any) -> Any:
    """An onnx.ModelProto, by the exporter that traces.

    torch.export gives up where the number of boxes decides what torchvision's non-maximum suppression does."""
    import onnx

    names = list(OUTPUTS[gives])
    axes: dict[str, dict[int, str]] = {name: {0: "instances"} for name in names}
    if size is None:
        axes["images"] = {2: "height", 3: "width"}
    named: dict[str, Any] = {"input_names": ["images"], "output_names": names, "dynamic_axes": axes}
    example, file = torch.zeros(1, channels, *(size or SIDES), dtype=torch.uint8), io.BytesIO()
    example += torch.randint(0, 256, example.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    antialiased = "aten::_upsample_bilinear2d_aa"  # the tracing exporter does not know it; ONNX does
    torch.onnx.register_custom_op_symbolic(antialiased, _resize, OPSET)
    try:
        with quiet(), torch.no_grad():
            torch.onnx.export(graph, (example,), file, dynamo=False, opset_version=OPSET, **named)  # type: ignore[arg-type]
    except Exception as error:
        raise _not_captured(size, error) from None
    finally:
        torch.onnx.unregister_custom_op_symbolic(antialiased, OPSET)
    return onnx.load_from_string(file.getvalue())


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
