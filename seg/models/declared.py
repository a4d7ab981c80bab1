"""What a file may declare of a model and of the data that it saw, each with its bounds: nothing is believed before it is compared."""

from typing import Annotated, Any, Literal, TypeVar, overload

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from seg.core.errors import DataError
from seg.data.sample import MAX_CLASSES, ClassInfo

Whole = Annotated[int, Field(strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=1000)]
Stride = Annotated[Whole, Field(ge=1, le=4096)]
Channels = Annotated[Whole, Field(ge=1, le=1024)]
Side = Annotated[Whole, Field(ge=1, le=2**20)]
Part = Annotated[Whole, Field(ge=0, le=255)]
DataRange = Annotated[list[Finite], Field(min_length=2, max_length=2)] | Literal["image"] | None
_T = TypeVar("_T")


class DeclaredClass(BaseModel):
    name: Text
    color: tuple[Part, Part, Part]


Classes = Annotated[list[DeclaredClass], Field(min_length=1, max_length=MAX_CLASSES)]


class DeclaredData(BaseModel):
    """Facts of the data that a network was trained on."""

    name: Text
    task: Text
    classes: Classes
    channels: Channels
    mean: list[Finite]
    std: list[Finite]
    splits: dict[Text, dict[Text, Any]]
    digest: Text
    statistics: dict[Text, Any] = {}
    settings: dict[Text, Any] | None = None


class DeclaredTraining(BaseModel):
    """The rest of a checkpoint, which is none of the network's."""

    model_config = ConfigDict(strict=True)
    epoch: Annotated[int, Field(ge=0, lt=2**53)]
    figures: dict[Text, float]


class DeclaredExport(BaseModel):
    """What an exported file says of itself, its JSON read."""

    task: Literal["semantic", "instance", "detection"]
    gives: Literal["scores", "classes", "instances", "maps", "boxes"]
    classes: Classes
    channels: Channels
    stride: Stride
    data_range: DataRange
    size: tuple[Side, Side] | None
    minimum_size: tuple[Stride, Stride]
    window: Side | None = None  # files of earlier versions have none
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    peak: Annotated[float, Field(gt=0, lt=1)] | None = None
    model: Text
    data: Text
    data_digest: Text
    seg_version: Text


@overload
def declared(kind: type[_T], content: Any, said: str, fix: str) -> _T: ...
@overload
def declared(kind: object, content: Any, said: str, fix: str) -> Any: ...
def declared(kind: Any, content: Any, said: str, fix: str) -> Any:
    """The content as its kind has it; DataError, which starts with `said` and ends with `fix`, for the first value that does not fit."""
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:50] for part in first["loc"]) or "its content"
        raise DataError(f"{said}: {place}: {first['msg'][:1].lower()}{first['msg'][1:200]}; {fix}") from None


def classes_of(classes: Classes) -> list[ClassInfo]:
    return [ClassInfo(c.name, c.color) for c in classes]
