"""Which modules are running, in forward and in backward passes."""

from __future__ import annotations

import flambeau
from flambeau.autograd.graph import register_multi_grad_hook
from flambeau.autograd.variable import Variable
from flambeau.nn.modules import _hooks as _module_hooks

from ._pytree import tree_leaves

__all__ = ["ModuleTracker"]


def _differentiable(value) -> tuple:
    return tuple(t for t in tree_leaves(value) if isinstance(t, flambeau.Tensor) and t.requires_grad)


class ModuleTracker:
    """Context manager that knows which modules are running.

    A module is named by its path from the outermost one that was called, which has its class's name. A backward pass is
    in a module from the gradient of its results to that of its inputs, where these need one.

    >>> from flambeau.utils.module_tracker import ModuleTracker
    >>> class Shows(nn.Module):
    ...     def forward(self, x):
    ...         print(sorted(tracker.parents))
    ...         return x
    >>> model = nn.Sequential(nn.ReLU(), Shows())
    >>> with ModuleTracker() as tracker:
    ...     y = model(flambeau.ones(1))
    ['Global', 'Sequential', 'Sequential.1']
    """

    def __init__(self):
        #: Modules that are running, the innermost last.
        self._running: list[tuple[object, str]] = []
        #: Modules through whose operators a backward pass is going.
        self._in_backward: set[str] = set()
        self._pass = False
        self._hooks: list = []

    @property
    def parents(self) -> set[str]:
        """Names of the modules that are running; ``"Global"`` always is."""
        return {"Global", *self._in_backward, *(name for _, name in self._running)}

    @property
    def is_bw(self) -> bool:
        """Whether a backward pass has come to a module and has not ended."""
        return self._pass

    def _enter(self, module, inputs):
        if self._running:
            parent, above = self._running[-1]
            inner = next((name for name, child in parent.named_children() if child is module), None)
            name = f"{above}.{inner}" if inner else type(module).__name__
        else:
            self._end_pass()  # one before may have failed
            name = type(module).__name__
        self._running.append((module, name))
        tensors = _differentiable(inputs)
        if tensors:
            register_multi_grad_hook(tensors, lambda grads: self._in_backward.discard(name))

    def _leave(self, module, inputs, outputs):
        while self._running:
            running, name = self._running.pop()
            if running is module:
                break
        else:
            return
        tensors = _differentiable(outputs)
        if tensors:
            register_multi_grad_hook(tensors, lambda grad: self._backward_enters(name), mode="any")

    def _backward_enters(self, name: str) -> None:
        if not self._pass:
            self._pass = True
            # It may end inside modules, whose inputs need no gradient.
            Variable._execution_engine.queue_callback(self._end_pass)
        self._in_backward.add(name)

    def _end_pass(self) -> None:
        self._pass = False
        self._in_backward.clear()

    def __enter__(self):
        self._hooks = [
            _module_hooks.register_module_forward_pre_hook(self._enter),
            _module_hooks.register_module_forward_hook(self._leave, always_call=True),
        ]
        return self

    def __exit__(self, *exc):
        for hook in self._hooks:
            hook.remove()
        self._running.clear()
        self._end_pass()
