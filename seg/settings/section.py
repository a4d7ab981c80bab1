"""What the sections of a configuration are made of, and what is said of a mistake in one. Each room declares its own sections.

No value has its default here: conf/ is the one place for those."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from seg.core.errors import ConfigError, did_you_mean

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Channel = Annotated[int, Field(ge=0, le=255)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|gpu|gpu:[0-9]+)$")]
SplitName = Literal["train", "val", "test"]

Params = dict[str, Any]  # a composed and resolved configuration, as plain dicts, lists and values
forbid_others = ConfigDict(extra="forbid", strict=True, frozen=True)


class Section(BaseModel):
    """A part of the configuration with fixed keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Target(BaseModel):
    """A call: `_target_` names a class or function (see `seg.settings.targets`), the other keys are its arguments."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    target: Annotated[str, Field(alias="_target_")]

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class NamedTarget(Target):
    """A call that is a whole option of a group, with the option's name."""

    name: str


class Named(Section):
    name: str


class Targets(Section):
    """allow: the modules below which a `_target_` may lie."""

    allow: list[str]


class Sections(BaseModel):
    """Sections of a composed configuration that some code reads. Those of other code are left aside."""

    MADE: ClassVar[tuple[str, ...]] = ()  # those that must be the ones that earlier stages ran with
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    _composed: Params = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, params: Params) -> Self:
        """The sections of `params`; ConfigError names the first key whose value does not fit."""
        try:
            found = cls.model_validate(params)
        except ValidationError as error:
            raise ConfigError(explain(error, cls)) from None
        found._composed = params
        return found

    def dump(self) -> Params:
        """The whole configuration that these sections were composed with, as plain values."""
        return self._composed | self.model_dump(mode="json", by_alias=True)


def explain(error: ValidationError, model: Any, key: str = "") -> str:
    """One line on the first mistake that was found in the value of `key`, whose type is `model`."""
    errors = error.errors()
    place = _path(errors[0]["loc"])
    # of a union's members the one that got furthest tells most
    first = max((e for e in errors if _path(e["loc"])[: len(place)] == place), key=lambda e: len(e["loc"]))
    if first["type"] == "missing":  # for a slip in its name, perhaps
        beside = (e for e in errors if e["type"] == "extra_forbidden" and e["loc"][:-1] == first["loc"][:-1])
        first = next(beside, first)
    parts = _path(first["loc"])
    path = ".".join([key, *parts] if key else parts)
    if first["type"] == "extra_forbidden":
        siblings = _fields_at(first["loc"][:-1], model)
        parent = path.rpartition(".")[0] or "the top level"
        return f"unknown key {path}: {did_you_mean(parts[-1], siblings, f'keys of {parent}')}"
    if first["type"] == "missing":
        return f"{path} is missing: {'set it' if key else 'every option of a group must give it'}"
    named = [e for e in errors if e["type"] == "literal_error" and e is not first and _path(e["loc"]) == parts]  # another of the union's
    expected = " or ".join(dict.fromkeys(_expected(e["msg"]) for e in (first, *named)))
    value = first["input"]
    return f"{path}={value!r}: expected {expected}, got {type(value).__name__}"


def _expected(message: str) -> str:
    for start in ("Input should be ", "a valid ", "valid ", "Value error, "):
        message = message.removeprefix(start)
    return message.partition(", unable to parse")[0]


def _path(loc: tuple[int | str, ...]) -> list[str]:
    """Without the members of unions that pydantic tried, which it names; a user has no such key."""
    branches = {"int", "str", "bool", "float", "constrained-int", "constrained-float", "Column"}
    return [part for part in map(str, loc) if part not in branches and "[" not in part]


def _fields_at(loc: tuple[int | str, ...], model: Any) -> list[str]:
    """The keys of the part of `model` that lies at `loc`; items of lists and dicts have the type of their container's elements."""
    for part in loc:
        fields = getattr(model, "model_fields", {})
        kind = fields[str(part)].annotation if part in fields else model
        model = next((inner for inner in getattr(kind, "__args__", ()) if hasattr(inner, "model_fields")), kind)
    return [f.alias or name for name, f in getattr(model, "model_fields", {}).items()]


def value_at(node: Any, key: str) -> Any:
    """The value of a dotted key in nested dicts; None where there is none."""
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """{"a.b": value} of nested dicts; lists are values, and so is an empty dict."""
    if isinstance(node, dict) and node:
        inner = [leaves(child, f"{prefix}.{key}" if prefix else str(key)) for key, child in node.items()]
        return {path: value for found in inner for path, value in found.items()}
    return {prefix: node}
