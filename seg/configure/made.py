"""What `prepare` and `augment` made, beside the settings that a command typed by hand was composed with: they must be the same.

In the pipeline DVC sees to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from seg.augment.policy import compile_policy
from seg.configure.compose import compose
from seg.configure.config import Config, checked
from seg.core.errors import ConfigError
from seg.core.urls import place_of
from seg.data.store import read_info
from seg.settings.planned import FILE, filled
from seg.settings.section import Params, leaves

PARAMS = "params.yaml"


def as_made(conf: Path, params: Params, sections: Sequence[str] = ("data", "augment")) -> Params:
    """`params`, which conf/ gave, where what their sections `data` and `augment` describe was made with them. Where a command asks for no
    data and the pipeline runs with others than conf/ has, which params.yaml records, these are taken; so it is with the augmentation.
    ConfigError where something else was made. What is missing is left for the stage to say."""
    config = _checked(params, sections)
    if not (wrong := {section: said for section in sections if (said := OTHER[section](config))}):
        return params
    plain, recorded = compose(conf, [])[0], _recorded(conf)
    for section, said in wrong.items():
        if recorded is None or params[section] != plain[section]:
            raise ConfigError(said)
        params = {**params, section: recorded[section]}
        if OTHER[section](_checked(params, sections)):
            raise ConfigError(said)
        print(f"{section}={params[section]['name']}: as params.yaml records it, and as it was made")
    return params


def _checked(params: Params, sections: Sequence[str]) -> Config:
    """With the values of the plan, where the sections have such values: a plan of another task is none of the others' business."""
    return checked(filled(params, Path(params["paths"]["plan"]) / FILE) if "augment" in sections else params)


def _recorded(conf: Path) -> Params | None:
    """conf/ with the overrides that params.yaml records."""
    path = conf.parent / PARAMS
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
        return compose(conf, list(content["overrides"] or []))[0]
    except Exception:  # it is missing or no file of `configure`, which says so where it is meant
        return None


def _other_data(cfg: Config) -> str | None:
    """What to say where the prepared data were made with another section `data`; None where they were not, or there are none."""
    folder = place_of(cfg.paths.prepare)
    if not (folder / "dataset.json").is_file():
        return None
    info = read_info(folder)
    a, b = leaves(cfg.data.plain()), leaves(info.settings)
    if info.name != cfg.data.name:
        said = f"data={cfg.data.name}: but {folder} holds {info.name}"
    elif info.settings and (key := next((key for key in {**a, **b} if a.get(key) != b.get(key)), None)) is not None:
        said = f"data.{key}={a.get(key)}: but {folder} was made with {b.get(key)}"
    else:
        return None
    return f"{said}; record these data with `seg configure` and run `dvc repro augment`, or set paths.prepare to a folder that holds them"


def _other_augmentation(cfg: Config) -> str | None:
    """The same of the augmentation."""
    made = Path(cfg.paths.augment) / "policy.json"
    if not made.is_file() or made.read_text(encoding="utf-8") == compile_policy(cfg.augment, cfg.targets.allow).to_json():
        return None
    fix = "record these with `seg configure` and run `dvc repro augment`, or set paths.augment to a folder that was made with them"
    return f"augment={cfg.augment.name}: but {made.parent} was made with other settings of augment; {fix}"


OTHER = {"data": _other_data, "augment": _other_augmentation}
