"""torch.compile for the part of a model that sees whole images, and what is done where it cannot be compiled.

The network is compiled in place (`nn.Module.compile`), so that the names in its state dict stay. It is compiled whole or not at all:
one graph, forward and backward, before anything of it has run. So a failure leaves no batch norm half updated, and the same call is
made again without compilation.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import nn

from seg.core.private_torch import Call, calls_of, cause_in_compiler, compiling_backward_first, is_recompile_limit, replace_compiled_call
from seg.models.hardware import is_out_of_memory


def compile_in_place(
    network: nn.Module, key: str, say: Callable[[str], None] = print, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Have torch.compile (TorchDynamo and TorchInductor) compile the network at its first call.

    A second size of images compiles it once more, for sizes that vary (`dynamic=None` of torch.compile). Training and evaluation, with
    and without gradients, and other sets of frozen parameters are programs of their own. When there are as many as
    `torch._dynamo.config.recompile_limit` (8), those that there are go on, and what fits none of them runs uncompiled.

    key: the setting, which messages name. say: is told, once, where the network cannot be compiled. backend: of
    torch.compile.
    """
    for name in ("torch._dynamo", "torch._inductor", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they would say it too, in many lines
    network.compile(fullgraph=True, backend=backend)
    replace_compiled_call(network, _Fallback(network, key, say))


class _Fallback:
    """Calls the compiled network, or the network where that fails for any reason but a lack of memory."""

    def __init__(self, network: nn.Module, key: str, say: Callable[[str], None]) -> None:
        self.plain: Call
        self.compiled: Call | None
        self.plain, self.compiled = calls_of(network)
        self.key, self.say = key, say
        self.stance: Callable[[], AbstractContextManager[Any]] = compiling_backward_first

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.compiled is None:
            return self.plain(*args, **kwargs)
        try:
            with self.stance():
                return self.compiled(*args, **kwargs)
        except Exception as error:
            if any(is_out_of_memory(cause) for cause in _causes(error)):
                raise
            failed = error
        given = self.plain(*args, **kwargs)  # a mistake of the network itself is raised here, as ever
        if is_recompile_limit(failed):
            self.say(f"{self.key}: the network was compiled for as many cases as torch allows; others run uncompiled")
            self.stance = partial(torch.compiler.set_stance, "eager_on_recompile")
        else:
            self.say(f"{self.key}: the network cannot be compiled and runs uncompiled ({_reason(failed)})")
            self.compiled = None
        return given


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it, the first cause last; torch's compiler keeps some in an attribute."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = cause_in_compiler(error) or error.__cause__ or error.__context__


def _reason(error: BaseException) -> str:
    cause = list(_causes(error))[-1]
    text = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    return f"{type(cause).__name__}: {text[:200]}" if text else type(cause).__name__
