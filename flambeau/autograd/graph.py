"""The recorded graph seen from Python: nodes, edges, and hooks on what the graph saves."""

import contextlib
import threading
import weakref
from typing import NamedTuple

from .. import _C
from .._C import Node

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class GradientEdge(NamedTuple):
    """Where a tensor's gradient enters the graph: a node, and which of its outputs the tensor is.

    `backward` and `grad` take it in place of the tensor, which need not be kept alive for that.
    """

    node: Node
    output_nr: int
    ownership_token: object = None


def get_gradient_edge(tensor):
    """The GradientEdge of a tensor that requires a gradient.

    >>> x = flambeau.ones(2, requires_grad=True)
    >>> flambeau.autograd.graph.get_gradient_edge(x * 2).node.name()
    'MulBackward0'
    """
    return GradientEdge(*_C._gradient_edge(tensor))


def increment_version(tensor):
    """Tell autograd that the tensor (or each of several) was written by other means."""
    for t in (tensor,) if isinstance(tensor, _C.Tensor) else tensor:
        _C._increment_version(t)


class saved_tensors_hooks:
    """Inside, tensors that the graph saves go through `pack_hook(tensor)`, and what it returns through `unpack_hook` when
    a derivative needs the tensor.

    >>> hooks = flambeau.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(), flambeau.from_numpy)
    """

    def __init__(self, pack_hook, unpack_hook):
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self):
        _C._push_saved_tensors_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exc):
        _C._pop_saved_tensors_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Keep saved tensors in host memory. Here all memory is, so that each is merely copied, as PyTorch does."""

    def __init__(self, pin_memory=False, device_type="cuda"):
        super().__init__(lambda tensor: tensor.clone(), lambda packed: packed)


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message):
    """Inside, `saved_tensors_hooks` raises RuntimeError(error_message)."""
    previous = _C._disable_saved_tensors_hooks(error_message)
    try:
        yield
    finally:
        _C._disable_saved_tensors_hooks(previous)


class _Handle:
    """Removes several hooks at once."""

    def __init__(self, handles):
        self.handles = tuple(handles)

    def remove(self):
        for handle in self.handles:
            handle.remove()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


def register_multi_grad_hook(tensors, fn, *, mode="all"):
    """Call `fn` once per backward pass, for several tensors.

    mode: "all" calls `fn(grads)` when the gradients of all tensors that take part are known, as a list with None for the
        others; "any" calls `fn(grad)` with the first.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    tensors = tuple(tensors)
    lock = threading.Lock()
    if mode == "any":
        seen = set()

        def on_any(grad):
            pass_id, _ = _C._current_pass()
            with lock:
                if pass_id in seen:
                    return
                seen.clear()
                seen.add(pass_id)
            fn(grad)

        return _Handle(t.register_hook(on_any) for t in tensors if t.requires_grad)

    if not all(t.requires_grad for t in tensors):
        raise AssertionError("Expected gradient function to be set: every tensor has to require a gradient")
    edges = [_C._gradient_edge(t) for t in tensors]
    passes = {}

    def hook_for(index):
        def hook(grad):
            pass_id, _ = _C._current_pass()
            with lock:
                if pass_id not in passes:
                    passes.clear()
                    expected = sum(_C._will_run(node) for node, _ in edges)
                    passes[pass_id] = [expected, [None] * len(tensors)]
                state = passes[pass_id]
                state[1][index] = grad
                state[0] -= 1
                done = state[0] == 0
                if done:
                    del passes[pass_id]
            if done:
                fn(state[1])

        return hook

    return _Handle(t.register_hook(hook_for(i)) for i, t in enumerate(tensors))


class _AllowMutationOnSavedContext:
    """The copies of one `allow_mutation_on_saved_tensors`; its end makes them unusable."""

    def __init__(self):
        self.active = True
        self.cloned = weakref.WeakSet()

    def clear(self):
        self.active = False
        for copy in self.cloned:
            copy.tensor = None
        self.cloned.clear()


class _Copy:
    """What the graph saves in a tensor's place."""

    def __init__(self, tensor):
        self.tensor = tensor.clone()


_allow_mutation = threading.local()


@contextlib.contextmanager
def allow_mutation_on_saved_tensors():
    """Inside, tensors that the graph saved may be written: the graph keeps copies, made when it saves.

    The backward pass has to run inside as well. Contexts can't be nested.

    >>> with flambeau.autograd.graph.allow_mutation_on_saved_tensors():
    ...     a, b = flambeau.ones(2, requires_grad=True), flambeau.full((2,), 3.0)
    ...     out = a * b
    ...     _ = b.zero_()
    ...     out.sum().backward()
    >>> a.grad
    tensor([3., 3.])
    """
    if getattr(_allow_mutation, "context", None) is not None:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    context = _AllowMutationOnSavedContext()

    def pack(tensor):
        copy = _Copy(tensor)
        context.cloned.add(copy)
        return copy

    def unpack(copy):
        if not context.active:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the graph was "
                "originally recorded."
            )
        return copy.tensor

    _allow_mutation.context = context
    try:
        with saved_tensors_hooks(pack, unpack):
            yield context
    finally:
        context.clear()
        _allow_mutation.context = None
