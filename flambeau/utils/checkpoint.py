"""Trading time for memory: intermediate results are computed again in backward rather than kept."""

from __future__ import annotations

import contextlib
import traceback
import warnings
import weakref

import flambeau

from ._selective_checkpoint import (
    SAC_IGNORED_OPS,
    CheckpointPolicy,
    SelectiveCheckpointContext,
    create_selective_checkpoint_contexts,
)

__all__ = [
    "SAC_IGNORED_OPS",
    "CheckpointError",
    "CheckpointFunction",
    "CheckpointPolicy",
    "DefaultDeviceType",
    "SelectiveCheckpointContext",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "create_selective_checkpoint_contexts",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]

_default = {"early_stop": True, "debug": None}


def noop_context_fn():
    """Two context managers that do nothing: the default `context_fn`."""
    return contextlib.nullcontext(), contextlib.nullcontext()


@contextlib.contextmanager
def _setting(name, value):
    previous, _default[name] = _default[name], value
    try:
        yield
    finally:
        _default[name] = previous


def set_checkpoint_early_stop(enable: bool):
    """Inside this context, second calls end as soon as all that is needed has been computed (or, with False, do not).

    >>> from flambeau.utils.checkpoint import set_checkpoint_early_stop
    >>> with set_checkpoint_early_stop(False):
    ...     pass
    """
    return _setting("early_stop", enable)


def set_checkpoint_debug_enabled(enabled: bool | None):
    """Inside this context, `debug` of every checkpoint is `enabled`; None leaves the choice to the call."""
    return _setting("debug", enabled)


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
        debug: when the second call differs, show where both calls saved their tensors.
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
        return CheckpointFunction.apply(function, preserve, *args)
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
        check=determinism_check == "default",
        early_stop=early_stop and _default["early_stop"],
        debug=debug if _default["debug"] is None else _default["debug"],
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

    def __init__(self, call, preserved, again_context, *, check: bool, early_stop: bool, debug: bool):
        self._call, self._preserved, self._again_context = call, preserved, again_context
        self._check, self._early_stop = check, early_stop
        self._stacks: tuple[list, list] | None = ([], []) if debug else None
        self._slots: list[weakref.ref] = []
        self._facts: list = []
        self._found: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def hooks(self):
        """While these are active, tensors saved for backward become slots."""
        return flambeau.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    @staticmethod
    def _describe(tensor):
        return {"shape": tensor.shape, "dtype": tensor.dtype, "device": tensor.device}

    def _note_stack(self, which: int) -> None:
        if self._stacks is not None:
            self._stacks[which].append("".join(traceback.format_stack()[:-2]))

    def _pack(self, tensor):
        slot = _Slot()
        self._slots.append(weakref.ref(slot))
        self._facts.append(self._describe(tensor))
        self._note_stack(0)
        return slot

    def _unpack(self, slot):
        if slot not in self._found:
            count = self._compute_again()
            if slot not in self._found:
                raise self._error(
                    "A different number of tensors was saved during the original forward and recomputation.\n"
                    f"Number of tensors saved during forward: {len(self._slots)}\n"
                    f"Number of tensors saved during recomputation: {count}."
                )
        # Each is asked for once per backward; another backward computes again.
        return self._found.pop(slot)

    def _error(self, text: str) -> CheckpointError:
        if self._stacks is None:
            hint = "`debug=True`, or `set_checkpoint_debug_enabled(True)`, shows where each call saved its tensors."
        else:
            calls = zip(("original", "recomputation"), self._stacks, strict=True)
            hint = "\n".join(
                f"---- tensor {i}, {name}:\n{stack}" for name, all_ in calls for i, stack in enumerate(all_)
            )
        return CheckpointError(f"torch.utils.checkpoint: {text}\n{hint}")

    def _compute_again(self) -> int:
        """Fill the slots; how many tensors were saved the second time."""
        count = 0
        if self._stacks is not None:
            self._stacks[1].clear()

        def keep(tensor):
            nonlocal count
            self._note_stack(1)
            if count >= len(self._slots):
                raise self._error(
                    "trying to save more tensors during recomputation than during the original forward pass."
                )
            facts = self._describe(tensor)
            if self._check and facts != self._facts[count]:
                raise self._error(
                    "Recomputed values for the following tensors have different metadata than during the forward "
                    f"pass.\ntensor at position {count}:\nsaved metadata: {self._facts[count]}\n"
                    f"recomputed metadata: {facts}"
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
        return count


# ---- with reentrance -------------------------------------------------------------------------------------------------


def detach_variable(inputs):
    """The tuple with every tensor detached, requiring a gradient where it did before."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(
            "Only tuple of tensors is supported. Got Unsupported input type: ", type(inputs).__name__
        )
    return tuple(
        arg.detach().requires_grad_(arg.requires_grad) if isinstance(arg, flambeau.Tensor) else arg
        for arg in inputs
    )


def check_backward_validity(inputs):
    """Warn if none of the inputs requires a gradient: then the checkpoint's result does not either."""
    if not any(isinstance(arg, flambeau.Tensor) and arg.requires_grad for arg in inputs):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=3)


class CheckpointFunction(flambeau.autograd.Function):
    """The autograd function of checkpoints with reentrance: its backward runs a forward and a backward of its own."""

    @staticmethod
    def forward(ctx, run_function, preserve_rng_state, *args):
        """The results of the function, unrecorded."""
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.preserved = _Preserved(preserve_rng_state)
        ctx.places = [i for i, arg in enumerate(args) if isinstance(arg, flambeau.Tensor)]
        ctx.others = [None if isinstance(arg, flambeau.Tensor) else arg for arg in args]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        with flambeau.no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx, *grad_outputs):
        """The gradients of the inputs; those of what the function's closure holds are accumulated on the way."""
        _, restricted = flambeau._C._current_pass()
        if restricted:
            # Inside, everything is accumulated: gradients that were not asked for would appear in `.grad`.
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, either set use_reentrant=False, or call .backward() "
                "without the `inputs` argument."
            )
        args = list(ctx.others)
        for i, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[i] = tensor
        inputs = detach_variable(tuple(args))
        with flambeau.enable_grad(), ctx.preserved.again():
            outputs = ctx.run_function(*inputs)
        outputs = (outputs,) if isinstance(outputs, flambeau.Tensor) else outputs
        pairs = [
            (output, grad)
            for output, grad in zip(outputs, grad_outputs, strict=True)
            if isinstance(output, flambeau.Tensor) and output.requires_grad
        ]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        flambeau.autograd.backward([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        grads = (inp.grad if isinstance(inp, flambeau.Tensor) else None for inp in inputs)
        return (None, None, *grads)


def checkpoint_sequential(functions, segments: int, input, use_reentrant: bool | None = None, **kwargs):
    """A sequence of functions in a few checkpointed parts; the last part runs as usual.

    Args:
        functions: an `nn.Sequential`, or a list of functions or modules.
        segments: how many parts.
        input: what the first function gets.
        preserve_rng_state (bool): as for :func:`checkpoint`.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly.",
            stacklevel=2,
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

    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(part(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return part(end, len(functions))(input)


# ---- other devices ---------------------------------------------------------------------------------------------------


class DefaultDeviceType:
    """The type of device whose random state checkpoints keep where no argument tells: here there is the CPU alone."""

    _default_device_type = "cpu"

    @staticmethod
    def set_device_type(device: str = "cpu") -> None:
        """Set the type."""
        DefaultDeviceType._default_device_type = device

    @staticmethod
    def get_device_type() -> str:
        """The type."""
        return DefaultDeviceType._default_device_type


def get_device_states(*args):
    """The numbers and random states of the devices, other than the CPU, that hold the tensors: none here."""
    return [], []


def set_device_states(devices, states, *, device_type=None) -> None:
    """Set the random states of devices, as :func:`get_device_states` gave them."""
    if len(devices):
        raise RuntimeError(
            f"flambeau has no devices besides the CPU, but was given states of {list(devices)}"
        )
