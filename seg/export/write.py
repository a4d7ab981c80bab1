"""A model's graph and its description, written as one of the formats."""

import json
from dataclasses import replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from seg.core.outputs import disk_full, write_whole
from seg.export.capture import capture, onnx_of_instances, onnx_of_program, quiet
from seg.export.graph import DistanceGraph, InstanceGraph, SemanticGraph
from seg.models.base import SegmentationModel
from seg.models.dense import DenseModel
from seg.models.detection import DetectionModel
from seg.models.distance import DistanceModel
from seg.models.instance import InstanceModel
from seg.predict.description import Description
from seg.predict.exported import library
from seg.predict.pt2 import EXTRA

NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": (), "openvino": ("onnx", "onnxscript", "openvino")}
"""The optional packages that each format takes, to be written and to be checked; an OpenVINO model is made of an ONNX model."""


class Exporter:
    """A model in evaluation mode on the CPU, captured once for all formats, or ConfigError. description: its `minimum` is found then."""

    def __init__(self, model: SegmentationModel, description: Description) -> None:
        self.model, self._description = model, description

    @property
    def description(self) -> Description:
        size = self._description.size
        return replace(self._description, minimum=self._captured[1] if isinstance(self.model, DenseModel) else size or (1, 1))

    def write(self, path: Path, form: str) -> None:
        """Write one file, or with OpenVINO the .xml and beside it the .bin."""
        {"onnx": self._write_onnx, "torch_export": self._write_program, "openvino": self._write_openvino}[form](path)

    @cached_property
    def _captured(self) -> tuple[torch.export.ExportedProgram, tuple[int, int]]:
        assert isinstance(self.model, DenseModel)
        own, model = self._description, self.model
        graph = DistanceGraph(model) if isinstance(model, DistanceModel) else SemanticGraph(model, own.gives == "classes")
        return capture(graph, own.facts.channels, own.size)

    @cached_property
    def _proto(self) -> Any:
        own = self._description
        if isinstance(self.model, InstanceModel | DetectionModel):
            proto = onnx_of_instances(InstanceGraph(self.model), own.facts.channels, own.size, own.gives)
        else:
            proto = onnx_of_program(self._captured[0], own.gives)
        tidy(proto)
        return proto

    def _write_program(self, path: Path) -> None:
        whole = BytesIO()  # without a name, which would be written into the archive; on a full disk torch's writer would end the process
        with quiet():
            torch.export.save(self._captured[0], whole, extra_files={EXTRA: json.dumps(self.description.to_text())})
        write_whole(path, whole.getvalue())

    def _write_onnx(self, path: Path) -> None:
        import onnx

        onnx.helper.set_model_props(self._proto, self.description.to_text())
        write_whole(path, self._proto.SerializeToString())

    def _write_openvino(self, path: Path) -> None:
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
        for key, value in self.description.to_text().items():
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
    for node in (*graph.node, *(node for function in proto.functions for node in function.node)):
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for held in (graph, *proto.functions):
        held.ClearField("metadata_props")
        held.ClearField("doc_string")
    proto.ClearField("doc_string")
    onnx.helper.set_model_props(proto, {})
    onnx.checker.check_model(proto)
