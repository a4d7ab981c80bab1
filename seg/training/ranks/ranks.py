"""Several processes that train one model, the ranks: all end with the first that ends, within seconds and with one line.

Lightning starts the further ranks of a machine as children of rank 0. Of its own it looks every five seconds whether one has failed, and
then kills rank 0 without a word; and children outlive a rank 0 that was killed. Under torchrun and srun it is these that end the others."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from seg.core.errors import ConfigError, InputError
from seg.training.private_lightning import SubprocessLauncher, do_not_broadcast_signals

RANK_0 = "SEG_RANK_0"  # the variable that tells a rank the process that started it
SAID = 3  # exit code of a rank that has said itself what is wrong
POLL = 0.2  # seconds between two looks
SIGNALLED = (-signal.SIGTERM, -signal.SIGHUP, 128 + signal.SIGTERM, 128 + signal.SIGINT)  # exit codes
GRACE = 2.0  # seconds in which the cause of an error shows: who waits for a dead rank fails at once, too
DEADLINE = 25.0  # seconds for what a signal asks for; a rank may hang in a call that no handler of ours interrupts
GOES_ON = "the same command goes on from the last checkpoint"


class Launcher(SubprocessLauncher):
    """Starts the further ranks of this machine, and looks after them in a thread. They do not hear Ctrl-C: rank 0 ends them."""

    ending = False  # by rank 0's own doing

    def launch(self, function: Callable[..., Any], *args: Any, trainer: pl.Trainer | None = None, **kwargs: Any) -> Any:
        """As Lightning's own, but for the look-out."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            os.environ[RANK_0] = str(os.getpid())
            heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a child inherits what is blocked
            try:
                self.start_ranks()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, heard)
                del os.environ[RANK_0]
            threading.Thread(target=self._look_out, name="look-out", daemon=True).start()
        return function(*args, **kwargs)

    def kill(self, signum: Any) -> None:
        """Send the other ranks a signal."""
        self.ending = True
        super().kill(signum)

    def wait(self) -> None:
        """Until the other ranks have ended as they should, now that the training is done."""
        for process in self.procs:
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.kill(signal.SIGKILL)

    def _look_out(self) -> None:
        while not self.ending:
            for local_rank, process in enumerate(self.procs, start=1):
                if process.poll():
                    self._end(local_rank, process.returncode)
            if all(process.returncode == 0 for process in self.procs):
                return
            time.sleep(POLL)

    def _end(self, local_rank: int, code: int) -> None:
        if code in SIGNALLED:  # all of the group, perhaps: then rank 0 says so
            time.sleep(GRACE)
        if self.ending:
            return
        self.kill(signal.SIGKILL)
        if code != SAID:
            rank = self.cluster_environment.node_rank() * self.num_processes + local_rank
            _say(f"rank {rank} of {self.num_processes * self.num_nodes} {_how(code)}, and all others were ended; {GOES_ON}")
        _end_at_once(1)


def _how(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL (by the system, if memory ran out)"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _say(message: str) -> None:
    sys.stdout.flush()
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[?25h")  # the bar hides the cursor
        sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr, flush=True)


def _end_at_once(code: int) -> NoReturn:
    """Without what Python does at its end."""
    sys.stdout.flush()
    sys.stderr.flush()
    for child in multiprocessing.active_children():  # they load images, and would hold the lock until they notice
        child.kill()
    os._exit(code)


def started_by_rank_0() -> bool:
    """Whether this is a further rank, and a child of rank 0."""
    return RANK_0 in os.environ


@contextmanager
def following_rank_0() -> Iterator[None]:
    """In a rank that rank 0 started: end when rank 0 ends, and with one's own errors said once. Elsewhere nothing."""
    if not started_by_rank_0():
        yield
        return
    threading.Thread(target=_look_at_parent, args=(int(os.environ[RANK_0]),), name="look-out", daemon=True).start()
    try:
        yield
    except BaseException as error:
        _end_as_further_rank(error)


def _look_at_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    if os.environ.get("LOCAL_RANK") == "1":  # one for all
        _say(f"rank 0 has died, and all others were ended; {GOES_ON}")
    _end_at_once(1)


def _end_as_further_rank(error: BaseException) -> NoReturn:
    if isinstance(error, SystemExit) and isinstance(error.code, int):  # after a signal, on which all ranks agreed
        _end_at_once(error.code)
    if isinstance(error, InputError):
        time.sleep(POLL * 2 * int(os.environ["LOCAL_RANK"]))  # the others may have met it, too: the first to say so ends them
        _say(str(error))
        _end_at_once(SAID)
    if isinstance(error, Exception):
        time.sleep(GRACE)  # another's death, if it is the cause, ends this one meanwhile
        traceback.print_exception(error)
    _end_at_once(1)


@contextmanager
def ending_together(trainer: pl.Trainer) -> Iterator[None]:
    """Around a training of several ranks and all that follows: an error in rank 0, or a signal to it, ends the others.

    It ends the process itself: Python's own end tidies up connections, for which it waits for ranks that are gone."""
    if trainer.world_size == 1:
        yield
        return
    launcher = trainer.strategy.launcher
    with _deadline_after_signals(launcher if isinstance(launcher, Launcher) else None):
        try:
            yield
        except BaseException as error:
            _end_others(trainer, error)
            if interruption := _interruption_in(error):
                _end_at_once(interruption.code if isinstance(interruption, SystemExit) and isinstance(interruption.code, int) else 130)
            if isinstance(error, InputError):
                _say(str(error))
            else:
                traceback.print_exception(error)
            _end_at_once(1)
    if isinstance(launcher, Launcher):
        launcher.wait()


def _end_others(trainer: pl.Trainer, error: BaseException) -> None:
    """Before an error is told."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, Launcher) and launcher.ending:
        return
    if _interruption_in(error) is None and not isinstance(error, InputError):
        time.sleep(GRACE)  # if another rank's death is the cause, the look-out or the launcher ends this one meanwhile
        if isinstance(launcher, Launcher) and any(process.poll() for process in launcher.procs):
            time.sleep(DEADLINE)
    if isinstance(launcher, Launcher):
        launcher.kill(signal.SIGKILL)


def _interruption_in(error: BaseException | None) -> BaseException | None:
    """A signal's exception; torch's writer raises another where one comes while it writes."""
    while error and not isinstance(error, KeyboardInterrupt | SystemExit):
        error = error.__context__
    return error


@contextmanager
def _deadline_after_signals(launcher: Launcher | None) -> Iterator[None]:
    """End this process some seconds after SIGTERM or SIGINT in any case.

    A handler of Python's runs between two instructions of Python's; the wakeup fd is written to by the signal itself."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # signals to loading processes are their own

    def wait() -> None:
        while number := reader.recv(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                time.sleep(DEADLINE)
                if launcher:
                    launcher.kill(signal.SIGKILL)
                _end_at_once(128 + number[0])

    threading.Thread(target=wait, name="deadline", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)


class Ranks(Callback):
    """What ranks owe each other while they train.

    training: names settings, data and code; all ranks must have the same. resumes: whether a checkpoint to go on from was found."""

    def __init__(self, training: str, resumes: bool) -> None:
        self.training, self.resumes = training, resumes
        self._on_sigterm: Any = signal.SIG_DFL

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._on_sigterm = signal.getsignal(signal.SIGTERM)
        training, resumes = trainer.strategy.broadcast((self.training, self.resumes))
        if training != self.training:
            raise ConfigError(
                f"rank {trainer.global_rank}: its settings, data, code or version of torch are not those of rank 0; start all with the same"
            )
        if resumes != self.resumes:
            what = f"rank {trainer.global_rank}: does not see the checkpoint that rank 0 goes on from; let all nodes share the project's"
            raise ConfigError(f"{what} folder, or the one that SEG_SCRATCH names")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.world_size > 1:  # Lightning's handler, set by now, would have the ranks meet, of which some may be gone
            signal.signal(signal.SIGTERM, signal.SIG_DFL if started_by_rank_0() else self._on_sigterm)
            do_not_broadcast_signals(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Before Lightning tidies up, which may wait for what a dead rank was to compute."""
        if trainer.world_size > 1:
            if started_by_rank_0():
                _end_as_further_rank(exception)
            _end_others(trainer, exception)
