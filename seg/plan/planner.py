"""From a data set, a configuration with open values, this machine and the time there is to a plan."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seg.core.environment import available_memory, busy_share, num_cores
from seg.core.errors import DataError
from seg.data.sample import Sample
from seg.data.store import DatasetInfo
from seg.models.hardware import best_device, device_of, has_fast_bf16
from seg.plan.costs import measure
from seg.plan.facts import Decision, Draft, PlanFacts, gather_facts, look
from seg.plan.rules import augmentation, families, learning, length, networks, view
from seg.plan.rules.families import like
from seg.plan.rules.length import Cost
from seg.settings.section import Params
from seg.settings.task import Task
from seg.training.trainer import num_devices

GAIN = 0.95  # a precision replaces float32 where its step takes at most this share of the time
LATER = {"semantic": 1.0, "instance": 1.8}
"""Times the first steps that later ones take: Mask R-CNN has more to do once its proposals find objects. Measured on `shapes` on a CPU:
0.19 s a step before the training, 0.34 s (11 to 12 images a second) within it."""
BUSY = 0.3  # share of the processors that other programs take, above which it is said
MEMORY = 0.6  # share of the free memory that a step may take


@dataclass(frozen=True, slots=True)
class Planned:
    """choices: in the order in which they were made. params: the configuration with them. advice: on what no plan decides."""

    choices: Sequence[Decision]
    params: Params
    advice: str = ""


def plan(params: Params, open_keys: Iterable[str], info: DatasetInfo, prepared: Path, project: Path, say: Callable[[str], None]) -> Planned:
    """Choose a value for each open key, which says `auto` in params. prepared: the data set's folder. project: in which weights/ may lie.
    say: is told what is being done. DataError where the training split has no image, or no object where the task is about objects."""
    if not info.splits["train"]["num_images"]:
        raise DataError(f"{prepared}: the training split has no image; set data.split so that it has some")
    task = Task.model_validate(params["task"])
    with_instances = task.instances
    device = device_of(params["trainer"]["accelerator"])
    say(f"looking at the training images of {info.name}")
    if with_instances and info.task != "instance":
        fix = "set task=semantic, or prepare a data set that has them"
        raise DataError(f"{prepared}: has no instances, which task={task.name} learns; {fix}")
    seen = look(prepared, info, with_instances)
    devices = num_devices(params["trainer"]["devices"], device) * int(params["trainer"]["num_nodes"])
    free = int(torch.cuda.mem_get_info(best_device())[0]) if device.type == "cuda" else available_memory()
    machine: dict[str, int | str] = {"device": device.type, "devices": devices, "cores": num_cores(), "memory": free}
    facts = gather_facts(prepared, info, seen, task.kind, with_instances, machine)
    if facts.objects and not facts.objects.count:
        raise DataError(f"{prepared}: the training split has no object; set data.split so that it has some, or task=semantic")
    draft = Draft(params, open_keys)
    first = (length.minutes, families.adapter, families.monitor, view.scale, length.batch, view.crop)
    for rule in (*first, augmentation.transforms, augmentation.copy_paste, learning.loss):
        draft.take(rule(facts, draft))
    cost = Costs(facts, draft, info, seen.samples, device, say)
    draft.take(_pretrained(facts), cost.network(), _weights(draft, facts, project))
    draft.take(networks.anchors(facts, draft), networks.counts(facts, draft), cost.precision(), cost.memory())
    draft.take(learning.optimizer(facts, draft), learning.schedule(facts, draft))
    if draft.is_open("trainer.max_epochs") or draft.is_open("trainer.epoch_steps"):
        draft.take(length.length(facts, draft, cost.of_plan()))
    draft.take(length.evaluation(facts, draft))
    return Planned(draft.chosen, draft.params, length.advice(facts, draft["plan.folds"]))


class Costs:
    """What was measured, by network and precision; each is measured once, and only where a choice depends on it."""

    def __init__(
        self, facts: PlanFacts, draft: Draft, info: DatasetInfo, samples: Sequence[Sample], device: torch.device, say: Callable[[str], None]
    ) -> None:
        self.facts, self.draft, self.info, self.samples, self.device, self.say = facts, draft, info, samples, device, say
        self.fast = has_fast_bf16(device)
        self.found: dict[str, Cost] = {}

    def network(self) -> Iterator[Decision]:
        """The largest network that learns enough in the time."""
        if not self.draft.is_open("model.network"):
            return
        offered = networks.candidates(self.facts, self.draft)
        chosen, reason = offered[0], f"{offered[0].name}: the network for this task on this kind of device"
        budget, images = length.budget_of(self.draft), length.step_images(self.facts, self.draft)
        for candidate in offered[1:]:
            trial = Draft(self.draft.params, self.draft.open)
            rules = (networks.anchors(self.facts, trial), networks.counts(self.facts, trial))
            trial.take(networks.network(self.facts, trial, candidate, ""), *rules)
            step = self._cost(_closed(trial.params), self._usual(), candidate.name).step
            count = length.steps(budget, Cost(step, 0, 0), least=1)
            passes = count * images / self.facts.images
            what = f"{candidate.name} takes {step:.2g} s a step, so {count} steps and {passes:.0f} passes fit into {budget:.3g} minutes"
            if count < candidate.least_steps or passes < candidate.least_passes:
                reason = f"{chosen.name}: {what}, but it needs {candidate.least_steps} steps and {candidate.least_passes} passes"
                break
            chosen, reason = candidate, what
        yield from networks.network(self.facts, self.draft, chosen, reason)

    def precision(self) -> Iterator[Decision]:
        """The precision whose step takes less time."""
        if not self.draft.is_open("trainer.precision"):
            return
        if self.facts.drawn:  # its plan comes with the project, to machines of every kind
            yield Decision("trainer.precision", "auto", "each machine takes bf16 where it has instructions for it")
            return
        if not self.fast:
            yield Decision("trainer.precision", "32-true", "this device has no instructions for bf16")
            return
        plain, fast = (self._cost(_closed(self.draft.params), kind, f"a step in {kind}").step for kind in ("32-true", "bf16-mixed"))
        chosen = "bf16-mixed" if fast <= GAIN * plain else "32-true"
        yield Decision("trainer.precision", chosen, f"a step takes {fast:.2g} s in bf16-mixed and {plain:.2g} s in 32-true")

    def memory(self) -> Iterator[Decision]:
        """Fewer images at once where a step would take too much memory, and the same number in a step."""
        images = self.draft["trainer.batch_size"]
        planned = next((c for c in self.draft.chosen if c.key == "trainer.batch_size"), None)
        if not planned or self.device.type == "cpu":  # which pages before it fails, and whose training halves the batch by itself
            return
        at_once = length.images_at_once(self.of_plan(), images, MEMORY * self.facts.memory)
        if at_once < images:
            self.draft.params["trainer"] |= {"batch_size": at_once}
            whole = images * self.facts.devices
            yield Decision("trainer.effective_batch_size", whole, f"{at_once} images fit into memory at once, and a step has {whole}")

    def of_plan(self) -> Cost:
        """The cost of the plan as it stands."""
        return self._cost(_closed(self.draft.params), self._usual(), "a step")

    def _usual(self) -> str:
        set_to = self.draft["trainer.precision"]
        return set_to if set_to != "auto" else "bf16-mixed" if self.fast else "32-true"

    def _cost(self, params: Params, precision: str, what: str) -> Cost:
        network = params["model"]["network"]
        key = f"{network} {params['model']['scale']} {params['augment'].get('crop')} {precision}"
        if key not in self.found:
            if not self.found and (busy := busy_share()) > BUSY:
                again = "`seg plan -cn pipeline` makes the plan anew when they are done"
                self.say(f"other programs take {busy:.0%} of the processors, so a step takes longer than it would; {again}")
            self.say(f"timing {what} on this machine")
            found = measure(params, self.info, self.samples, precision, self.device, self.facts.devices)
            self.found[key] = replace(found, step=found.step * LATER[like(self.facts, self.draft)])
        return self.found[key]


def _pretrained(facts: PlanFacts) -> Iterator[Decision]:
    reason = "the drawn example learns in minutes from scratch" if facts.drawn else "pretrained encoders learn from fewer images"
    yield Decision("plan.pretrained", not facts.drawn, reason)


def _weights(draft: Draft, facts: PlanFacts, project: Path) -> Iterator[Decision]:
    """Pretrained weights of the encoder, and the normalisation that goes with them."""
    if draft.is_open("model.weights"):
        encoder = (draft["model.network"] or {}).get("encoder_name")
        weights, reason = None, "from scratch: the network names no encoder"
        if isinstance(encoder, str):
            weights, reason = networks.find(encoder, project, draft["plan.pretrained"])
        yield Decision("model.weights", weights, reason)
    weights = draft["model.weights"] or ""
    if weights.endswith(".ckpt"):
        yield Decision("model.normalization", "checkpoint", "that of the training from which the weights come")
    pretrained = bool(weights) and facts.channels in (1, 3)
    said = "that of ImageNet, with which the weights were trained" if pretrained else "mean and deviation of the training images"
    yield Decision("model.normalization", "imagenet" if pretrained else "dataset", said)


def _closed(params: Params) -> Params:
    """With values in place of those that are still open, where they change no cost."""
    return {**params, "model": {**params["model"], "weights": None, "normalization": "dataset"}}
