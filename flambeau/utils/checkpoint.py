"""Trading time for memory: intermediate results are computed again in backward rather than kept."""

from __future__ import annotations

import contextlib
import warnings
import weakref

import flambeau

__all__ = ["checkpoint", "checkpoint_sequential", "noop_context_fn"]


def noop_context_fn():
    """Two context managers that do nothing: the default `context_fn`."""
    return contextlib.nullcontext(), contextlib.nullcontext()


class _Preserved:
    """The random state and autocast settings of a forward, to repeat it under."""

    def __init__(self, random_state: bool):
        self._state = flambeau.get_rng_state() if random_state else None
        self._autocast = {
            "enabled": flambeau.is_autocast_enabled("cpu"),
            "dtype": flambeau.get_autocast_dtype("cpu"),
        }

    @contextlib.contextmanager
    def again(self):
        with contextlib.ExitStack() as stack:
            if self._state is not None:
                stack.enter_context(flambeau.random.fork_rng())
                flambeau.set_rng_state(self._state)
            stack.enter_context(flambeau.amp.autocast("cpu", **self._autocast))
            yield


def checkpoint(
    function,
    *args,
    use_reentrant: bool | None = None,
    context_fn=noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs,
):
    """``function(*args, **kwargs)`` without keeping its intermediate results for backward, which computes them again.

    Args:
        function: any function of tensors; it is called a second time in backward.
        use_reentrant: False records as usual and computes again what backward asks for, which works with everything
            else; True runs a backward within the backward, and needs an input that requires a gradient.
        context_fn: returns the context managers under which the first and the second call run.
        determinism_check: ``"default"`` compares shapes and dtypes of the two calls' results, ``"none"`` nothing.
        early_stop: end the second call when all that is needed has been computed.
        preserve_rng_state (bool): run the second call from the first one's random state (True).

    >>> from flambeau.utils.checkpoint import checkpoint
    >>> x = flambeau.ones(2, requires_grad=True)
    >>> checkpoint(lambda x: x.exp().sum(), x, use_reentrant=False).backward()
    >>> x.grad
    tensor([2.7183, 2.7183])
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
            "recommended; use_reentrant=True keeps the behaviour of leaving it out.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return _reentrant_function().apply(function, preserve, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of ['default', 'none'], but got {determinism_check}"
        )
    if not flambeau.is_grad_enabled():
        return function(*args, **kwargs)
    forward_context, again_context = context_fn()
    frame = _Frame(
        lambda: function(*args, **kwargs),
        _Preserved(preserve),
        again_context,
        determinism_check == "default",
        early_stop,
    )
    with frame.hooks(), forward_context:
        return function(*args, **kwargs)


# ---- without reentrance ----------------------------------------------------------------------------------------------


class CheckpointError(RuntimeError):
    """The second call of a checkpointed function did not repeat the first."""


class _Stop(Exception):
    """Ends a second call that has computed everything it is needed for."""


class _Slot:
    """Stands in a recorded graph for a tensor that was not kept."""


class _Frame:
    """One checkpointed call: the slots it left in the graph, and how to fill them."""

    def __init__(self, call, preserved, again_context, check: bool, early_stop: bool):
        self._call, self._preserved, self._again_context = call, preserved, again_context
        self._check, self._early_stop = check, early_stop
        self._slots: list[weakref.ref] = []
        self._facts: list = []
        self._found: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def hooks(self):
        """While these are active, tensors saved for backward become slots."""
        return flambeau.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    @staticmethod
    def _describe(tensor):
        return tuple(tensor.shape), tensor.dtype, tensor.device

    def _pack(self, tensor):
        slot = _Slot()
        self._slots.append(weakref.ref(slot))
        self._facts.append(self._describe(tensor))
        return slot

    def _unpack(self, slot):
        if slot not in self._found:
            self._compute_again()
        if slot not in self._found:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation. Number of tensors saved during forward: {len(self._slots)}"
            )
        # Each is asked for once per backward; another backward computes again.
        return self._found.pop(slot)

    def _compute_again(self) -> None:
        count = 0

        def keep(tensor):
            nonlocal count
            if count >= len(self._slots):
                raise CheckpointError(
                    "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                    f"recomputation: more than {len(self._slots)} the second time"
                )
            if self._check and self._describe(tensor) != self._facts[count]:
                raise CheckpointError(
                    "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                    f"during the forward pass: saved {self._facts[count]}, recomputed {self._describe(tensor)}"
                )
            slot = self._slots[count]()
            count += 1
            if slot is not None:
                self._found[slot] = tensor.detach()
            if self._early_stop and count == len(self._slots):
                raise _Stop
            return tensor.detach()

        def unused(_):
            raise CheckpointError("torch.utils.checkpoint: backward inside the second call is not supported")

        with contextlib.suppress(_Stop), flambeau.enable_grad(), self._preserved.again():
            with flambeau.autograd.graph.saved_tensors_hooks(keep, unused), self._again_context:
                self._call()


# ---- with reentrance -------------------------------------------------------------------------------------------------

_reentrant = None


def _reentrant_function():
    """The autograd function, made at first use: `flambeau.autograd` is not needed to import this module."""
    global _reentrant
    if _reentrant is None:
        _reentrant = _make_reentrant()
    return _reentrant


def _detached(args):
    return tuple(
        arg.detach().requires_grad_(arg.requires_grad) if isinstance(arg, flambeau.Tensor) else arg
        for arg in args
    )


def _make_reentrant():
    class CheckpointFunction(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, function, preserve, *args):
            if not any(isinstance(arg, flambeau.Tensor) and arg.requires_grad for arg in args):
                warnings.warn(
                    "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=3
                )
            ctx.function = function
            ctx.preserved = _Preserved(preserve)
            ctx.places = [i for i, arg in enumerate(args) if isinstance(arg, flambeau.Tensor)]
            ctx.others = [None if isinstance(arg, flambeau.Tensor) else arg for arg in args]
            ctx.save_for_backward(*(args[i] for i in ctx.places))
            with flambeau.no_grad():
                return function(*args)

        @staticmethod
        def backward(ctx, *grad_outputs):
            args = list(ctx.others)
            for i, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
                args[i] = tensor
            inputs = _detached(args)
            with flambeau.enable_grad(), ctx.preserved.again():
                outputs = ctx.function(*inputs)
            outputs = (outputs,) if isinstance(outputs, flambeau.Tensor) else outputs
            pairs = [
                (output, grad)
                for output, grad in zip(outputs, grad_outputs, strict=True)
                if isinstance(output, flambeau.Tensor) and output.requires_grad
            ]
            if not pairs:
                raise RuntimeError(
                    "none of output has requires_grad=True, this checkpoint() is not necessary"
                )
            flambeau.autograd.backward([pair[0] for pair in pairs], [pair[1] for pair in pairs])
            grads = (inp.grad if isinstance(inp, flambeau.Tensor) else None for inp in inputs)
            return (None, None, *grads)

    return CheckpointFunction


def checkpoint_sequential(functions, segments: int, input, use_reentrant: bool | None = None, **kwargs):
    """A sequence of functions in a few checkpointed parts; the last part runs as usual.

    Args:
        functions: an `nn.Sequential`, or a list of functions or modules.
        segments: how many parts.
        input: what the first function gets.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: pass use_reentrant explicitly.", stacklevel=2
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    functions = list(functions)
    size = len(functions) // segments

    def part(start, end):
        def run(value):
            for function in functions[start:end]:
                value = function(value)
            return value

        return run

    start = 0
    for _ in range(segments - 1):
        input = checkpoint(
            part(start, start + size), input, use_reentrant=use_reentrant, preserve_rng_state=preserve
        )
        start += size
    return part(start, len(functions))(input)
