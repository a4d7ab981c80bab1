"""Values that say `auto`, and the file plan.yaml that has a value for each: which keys those are, how they are filled in."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seg.core.errors import ConfigError
from seg.core.outputs import write_whole
from seg.settings.section import Params, value_at

AUTO = "auto"
FILE = "plan.yaml"
HEADER = "# Written by `seg plan`: a value for each setting that conf/ leaves open (auto). Set one yourself in conf/ or by an override.\n"

SECTIONS = ("plan", "task", "model", "loss", "optimizer", "scheduler", "trainer", "augment", "evaluate")
"""Sections of plan.yaml; each is there, if only empty, since dvc.yaml names them."""

READ = ("plan", "task", "model", "finetune", "loss", "optimizer", "scheduler", "trainer", "augment")
"""Sections of the configuration on which a plan depends, beside evaluate.batch_size."""

EXAMPLES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("examples.yaml").read_text(encoding="utf-8"))
"""Each key that may say `auto`, with a value that it may have: a configuration is checked with these before it is planned."""

ALWAYS = ("plan.minutes", "plan.pretrained", "task.monitor", "model.window", "trainer.epoch_steps", "augment.crop", "evaluate.batch_size")
"""Keys whose example does where there is no plan: images are seen whole, and evaluated one by one."""

_ARGUMENTS = ("anchor_sizes", "aspect_ratios", "box_detections_per_img", "rpn_pre_nms_top_n", "rpn_post_nms_top_n")
OF_NETWORK = tuple(f"model.network.{name}" for name in _ARGUMENTS)
"""Arguments of a network that may say `auto`; all of them are open where the whole network is."""


@dataclass(frozen=True, slots=True)
class PlanFile:
    """plan.yaml. made_for: digests of the data and the settings, and the task. values: sections. reasons: by key, in order."""

    made_for: Mapping[str, str]
    values: Params
    reasons: Mapping[str, str]


def open_keys(params: Params) -> list[str]:
    """The keys that are to be planned, in the order of EXAMPLES; nested ones after those that they lie in."""
    found = [key for key in EXAMPLES if _is_auto(params, key)]
    if "trainer.batch_size" in found:
        if value_at(params, "trainer.effective_batch_size") is not None:
            found.remove("trainer.batch_size")  # the training tries how many images fit into a part of its steps
        else:
            found.append("trainer.effective_batch_size")
    if "trainer.precision" in found and not {"model.network", "trainer.max_epochs"} & set(found):
        found.remove("trainer.precision")  # nothing is timed; the training decides by the device
    if all(key.startswith("plan.") for key in found):
        return []  # nothing is planned by them
    whole = "model.network" in found
    return found + [key for key in OF_NETWORK if whole or value_at(params, key) == AUTO]


def _is_auto(params: Params, key: str) -> bool:
    value = value_at(params, key)
    return value == AUTO or (isinstance(value, dict) and isinstance(EXAMPLES.get(key), dict) and value.get("_target_") == AUTO)


def with_examples(params: Params) -> Params:
    """`params` with an example in place of each `auto` that a plan will replace."""
    params = {name: section for name, section in params.items() if name != "planned"}
    for key in open_keys(params):
        if key == "loss" and params["task"]["instances"]:
            weights = dict.fromkeys(("objectness", "rpn_box", "classifier", "box", "mask"), 1.0)
            weights["semantic"] = float(bool(params["task"].get("stuff")))
            params = {**params, "loss": {"name": "any", "_target_": "seg.models.instance.TermWeights", **weights}}
            continue
        before = value_at(params, key)
        if key in EXAMPLES and _is_auto(params, key):
            params = with_value(params, key, merged(before, EXAMPLES[key]))
        elif key in OF_NETWORK and before == AUTO:
            params = with_value(params, key, [])
    return params


def filled(params: Params, path: Path) -> Params:
    """`params` with the values of the plan in a file, and `planned`: the reason of each. What has no value there still says `auto`."""
    wanted = open_keys(params)
    if not path.is_file():
        for key in (key for key in wanted if key in ALWAYS and not (key == "trainer.epoch_steps" and "trainer.max_epochs" in wanted)):
            params = with_value(params, key, EXAMPLES[key])
        return params
    if not wanted:
        return params
    plan = read_plan(path)
    if (made_for := plan.made_for.get("task")) != (task := params["task"]["name"]):
        fix = f"run `dvc exp run -S task={task}`, or `seg plan task={task}` and set paths.plan to its folder"
        raise ConfigError(f"{path}: was made for task={made_for}, but task={task}; {fix}")
    return params_of(params, wanted, plan)


def params_of(params: Params, wanted: Sequence[str], plan: PlanFile) -> Params:
    """`params` in which each of the wanted keys that the plan knows has its value."""
    reasons = {}
    if "trainer.max_epochs" not in wanted and "trainer.epoch_steps" in wanted:  # who sets the epochs means passes over the images
        params = with_value(params, "trainer.epoch_steps", None)
        wanted = [key for key in wanted if key != "trainer.epoch_steps"]
    for key in (key for key in plan.reasons if key in wanted):
        params = with_value(params, key, merged(value_at(params, key), value_at(plan.values, key)))
        reasons[key] = plan.reasons[key]
    return {**params, "planned": reasons}


def refuse_open(params: Params, sections: Sequence[str], path: Path) -> None:
    """Raise ConfigError for a value in these sections that still says `auto`."""
    if left := [key for key in open_keys(params) if key.split(".")[0] in sections and _is_auto(params, key)]:
        why = f"{path} has no value for it" if path.is_file() else f"there is no {path}"
        raise ConfigError(f"{left[0]}=auto: {why}; run `dvc repro plan`, or set {left[0]} yourself")


def read_plan(path: Path) -> PlanFile:
    """plan.yaml; ConfigError where it is not what `write_plan` writes."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        made_for, reasons = content.pop("made_for"), content.pop("reasons")
        if not all(isinstance(part, dict) for part in (made_for, reasons, *content.values())):
            raise TypeError("its sections are not keys and values")
        return PlanFile(made_for, content, reasons)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is not a plan ({' '.join(str(error).split())[:100]}); delete it, then run `dvc repro plan`") from None


def write_plan(path: Path, plan: PlanFile) -> None:
    content = {"made_for": dict(plan.made_for), **{name: plan.values.get(name, {}) for name in SECTIONS}, "reasons": dict(plan.reasons)}
    write_whole(path, HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=140))


def settings_digest(params: Params) -> str:
    """Of all that a plan depends on in the configuration."""
    read = {name: params.get(name) for name in READ} | {"evaluate.batch_size": value_at(params, "evaluate.batch_size")}
    if isinstance(read["plan"], dict):
        read["plan"] = {key: value for key, value in read["plan"].items() if key != "keep"}
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:16]


def with_value(params: Params, key: str, value: Any) -> Params:
    """A copy of `params` in which the dotted key has the value."""
    first, _, rest = key.partition(".")
    inner = params.get(first)
    return {**params, first: with_value(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


def merged(before: Any, value: Any) -> Any:
    """A section that says `auto`, replaced: further keys that a person set in it stay."""
    if not isinstance(before, dict) or not isinstance(value, dict):
        return value
    return value | {key: old for key, old in before.items() if key not in ("name", "_target_") and (old != AUTO or key not in value)}


def shown(value: Any) -> str:
    """A value in one line; of a call its name alone."""
    if isinstance(value, dict) and isinstance(value.get("terms"), dict):
        return " + ".join(shown(term.get("loss")) for term in value["terms"].values())
    if isinstance(value, dict) and "_target_" in value:
        encoder = value.get("encoder_name")
        return str(value["_target_"]).rpartition(".")[2] + (f" on {encoder}" if encoder else "")
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(inner)}" for key, inner in value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(shown(inner) for inner in value)
    return "none" if value is None else "[" + ", ".join(map(shown, value)) + "]" if isinstance(value, list) else str(value)
