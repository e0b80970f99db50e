"""Switches that programs set, and what they mean on this engine."""

from . import _C

_state = {
    "deterministic": False,
    "warn_only": False,
    "matmul_precision": "highest",
    "interop": 1,
    "warn_always": False,
}


def use_deterministic_algorithms(mode, *, warn_only=False):
    """Accepted: every operator here is deterministic, for any number of threads, whatever the mode."""
    if not isinstance(mode, bool):
        raise TypeError(
            f"use_deterministic_algorithms(): argument 'mode' must be bool, not {type(mode).__name__}"
        )
    _state["deterministic"], _state["warn_only"] = mode, bool(warn_only)


def are_deterministic_algorithms_enabled():
    """What `use_deterministic_algorithms` was last given."""
    return _state["deterministic"]


def is_deterministic_algorithms_warn_only_enabled():
    """Whether `use_deterministic_algorithms` was asked to warn only."""
    return _state["warn_only"]


_DEBUG_MODES = ("default", "warn", "error")


def set_deterministic_debug_mode(debug_mode):
    """0 or "default", 1 or "warn", 2 or "error": see `use_deterministic_algorithms`."""
    if isinstance(debug_mode, str):
        if debug_mode not in _DEBUG_MODES:
            raise RuntimeError(
                f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}"
            )
        debug_mode = _DEBUG_MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


def get_deterministic_debug_mode():
    """0, 1 or 2: see `set_deterministic_debug_mode`."""
    return 0 if not _state["deterministic"] else 1 if _state["warn_only"] else 2


def set_float32_matmul_precision(precision):
    """Accepted: float32 products are always computed in float32 here."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            f"Invalid float32 matmul precision: {precision} (expected 'highest', 'high' or 'medium')"
        )
    _state["matmul_precision"] = precision


def get_float32_matmul_precision():
    """What `set_float32_matmul_precision` was last given."""
    return _state["matmul_precision"]


def set_num_interop_threads(n):
    """Accepted: operators run one after the other here, each on `get_num_threads()` threads."""
    if not isinstance(n, int) or n <= 0:
        raise RuntimeError(f"set_num_interop_threads expects a positive integer, got {n}")
    _state["interop"] = n


def get_num_interop_threads():
    """What `set_num_interop_threads` was last given."""
    return _state["interop"]


def set_flush_denormal(mode):
    """Returns False: subnormal numbers are always kept."""
    return False


def set_warn_always(b):
    """Accepted: Python's own warning filters decide how often a warning is shown."""
    _state["warn_always"] = bool(b)


def is_warn_always_enabled():
    """What `set_warn_always` was last given."""
    return _state["warn_always"]


def compile(model=None, **options):
    """Returns the model as it is: operators here are compiled ahead of time, and there is no graph compiler.

    Usable as a decorator, with or without options.
    """
    if model is None:
        return lambda m: m
    return model


def typename(obj):
    """The type of a tensor as "torch.FloatTensor", of anything else its class's full name.

    >>> flambeau.typename(flambeau.ones(1))
    'torch.FloatTensor'
    """
    if isinstance(obj, _C.Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) else type(obj)
    module = getattr(obj, "__module__", None) or kind.__module__
    name = getattr(obj, "__qualname__", None) or kind.__qualname__
    return name if module in ("builtins", None) else f"{module}.{name}"


class DisableTorchFunctionSubclass:
    """Inside ``with``, tensor subclasses are treated as plain tensors: their ``__torch_function__`` is not asked."""

    def __enter__(self):
        _C._push_disable_torch_function()

    def __exit__(self, *exc):
        _C._pop_disable_torch_function()


DisableTorchFunction = DisableTorchFunctionSubclass
