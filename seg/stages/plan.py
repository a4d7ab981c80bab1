"""`plan`: the prepared data, this machine and the time there is -> plan.yaml, a value with its reason for each setting that is left open.

A plan that was made for the same data and settings stays, on another machine too: so the same things are trained everywhere."""

import hashlib
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seg.core.scratch import scratch_root
from seg.core.urls import place_of
from seg.data.store import read_info
from seg.plan.settings import PlanSettings
from seg.runtime.settings import Paths
from seg.settings.planned import FILE, SECTIONS, PlanFile, open_keys, read_plan, settings_digest, shown, with_value, write_plan
from seg.settings.section import Params, Sections, value_at

WIDTH = 110


class Settings(Sections):
    """What the stage reads by name; it plans what else there is."""

    MADE = ("data",)
    plan: PlanSettings
    paths: Paths


def run(cfg: Settings, out: Path) -> None:
    params, prepared, path = cfg.dump(), place_of(cfg.paths.prepare), out / FILE
    info, wanted = read_info(prepared), open_keys(params)
    made_for = {"task": params["task"]["name"], "data": info.digest, "settings": settings_digest(params), "rules": rules_digest()}
    kept = kept_plans(Path.cwd()) / f"{digest_of(made_for)}.yaml"
    if cfg.plan.keep and path.is_file() and read_plan(path).made_for == made_for:
        print(f"{FILE}: stays, as it was made for these data and settings; `seg plan -cn pipeline` makes it anew")
        return
    if cfg.plan.keep and kept.is_file():
        write_plan(path, read_plan(kept))
        print(f"{FILE}: is again the one that was made for these data and settings; `seg plan -cn pipeline` makes it anew")
        return
    if not wanted:
        write_plan(path, PlanFile(made_for, {}, {}))
        print(f"{FILE}: nothing is left to plan; all values are set")
        return
    from seg.plan.planner import plan  # imports torch

    planned = plan(params, wanted, info, prepared, Path.cwd(), lambda text: print(f"plan: {text}", flush=True))
    values: Params = {name: {} for name in SECTIONS}
    for choice in planned.choices:
        values = with_value(values, choice.key, value_at(planned.params, choice.key))
    made = PlanFile(made_for, values, {c.key: c.reason for c in planned.choices})
    write_plan(path, made)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_plan(kept, made)
    for line in table({c.key: value_at(planned.params, c.key) for c in planned.choices}, {c.key: c.reason for c in planned.choices}):
        print(line)
    if planned.advice:
        print("\n".join(textwrap.wrap(planned.advice, WIDTH)))
    batch_size = planned.params["trainer"]["batch_size"]
    print(f"{path}: {len(planned.choices)} values; set one yourself by an override, such as trainer.batch_size={batch_size}")


def table(values: Mapping[str, Any], reasons: Mapping[str, str]) -> list[str]:
    """A line or more a key: its value, then why."""
    lines = []
    for key, reason in reasons.items():
        lines.append(f"{key} = {shown(values[key])}")
        lines += textwrap.wrap(reason, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return lines


def kept_plans(project: Path) -> Path:
    """Where plans are kept, so that going back to former settings brings back their plan, and what was trained by it."""
    return scratch_root(project) / "plans"


def digest_of(made_for: Mapping[str, str]) -> str:
    """A name for all that a plan was made for."""
    return hashlib.sha256("\n".join(f"{key} {value}" for key, value in sorted(made_for.items())).encode()).hexdigest()[:16]


def rules_digest() -> str:
    """Of the code that plans."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1] / "plan"
    for file in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".yaml")):
        digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]
