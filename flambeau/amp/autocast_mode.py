"""`autocast`: products and convolutions in a narrower dtype, what needs accuracy in float32.

Which operator computes in which dtype stands in `flambeau._ops.casts`; the casts are made natively.
"""

from __future__ import annotations

import functools
import threading
import warnings

import flambeau

from .. import _C

_KNOWN = ("cpu", "cuda", "xpu", "mps", "hpu", "mtia", "xla", "ipu", "maia")
_CPU_DTYPES = (flambeau.bfloat16, flambeau.float16)


class _State(threading.local):
    def __init__(self):
        self.enabled: dict[str, bool] = {}
        self.dtype: dict[str, object] = {}
        self.cache = True
        self.nesting = 0


_state = _State()


@functools.cache
def _install_policies() -> None:
    from .._ops import casts

    casts.install()


def _apply() -> None:
    """Tell the native side what this thread's settings for the CPU have come to be."""
    enabled = is_autocast_enabled("cpu")
    if enabled:
        _install_policies()
    _C._set_autocast(enabled, get_autocast_dtype("cpu"), _state.cache)


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` does anything for a kind of device: for the CPU."""
    return device_type == "cpu"


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether an `autocast` block for the kind of device surrounds us."""
    return _state.enabled.get(device_type, False)


def get_autocast_dtype(device_type: str):
    """The narrower dtype of autocast for a kind of device."""
    default = flambeau.bfloat16 if device_type in ("cpu", "hpu", "xla") else flambeau.float16
    return _state.dtype.get(device_type, default)


def set_autocast_enabled(device_type, enabled=None) -> None:
    """Turn autocast on or off; with one argument, for CUDA."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    _state.enabled[device_type] = bool(enabled)
    _apply()


def set_autocast_dtype(device_type: str, dtype) -> None:
    """Choose the narrower dtype for a kind of device."""
    _state.dtype[device_type] = dtype
    _apply()


def is_autocast_cache_enabled() -> bool:
    """Whether casts of weights are kept until the outermost block ends."""
    return _state.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Keep casts of weights, or make them anew for every operator."""
    _state.cache = bool(enabled)
    _apply()


def clear_autocast_cache() -> None:
    """Forget the casts of weights that were kept."""
    _C._clear_autocast_cache()


def autocast_increment_nesting() -> int:
    """Enter a block: returns how deep it is."""
    _state.nesting += 1
    return _state.nesting


def autocast_decrement_nesting() -> int:
    """Leave a block: returns how many are left."""
    _state.nesting -= 1
    return _state.nesting


def is_autocast_cpu_enabled() -> bool:
    """``is_autocast_enabled("cpu")``."""
    return is_autocast_enabled("cpu")


def get_autocast_cpu_dtype():
    """``get_autocast_dtype("cpu")``."""
    return get_autocast_dtype("cpu")


def get_autocast_gpu_dtype():
    """``get_autocast_dtype("cuda")``."""
    return get_autocast_dtype("cuda")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """``set_autocast_enabled("cpu", enabled)``."""
    set_autocast_enabled("cpu", enabled)


def set_autocast_cpu_dtype(dtype) -> None:
    """``set_autocast_dtype("cpu", dtype)``."""
    set_autocast_dtype("cpu", dtype)


def set_autocast_gpu_dtype(dtype) -> None:
    """``set_autocast_dtype("cuda", dtype)``."""
    set_autocast_dtype("cuda", dtype)


class autocast:
    """Context manager and decorator: products, convolutions and attention compute in a narrower dtype, losses and
    decompositions in float32, `cat` and its like in the widest dtype among their arguments; the rest as it comes.

    In-place operators and those with ``out=`` are left alone, and so are float64 tensors. Casts of weights are kept
    until the outermost block ends. Use it for the forward pass and the loss; backward follows by itself.

    Args:
        device_type: ``"cpu"``; for CUDA, which is not there, autocast is disabled with a warning.
        dtype: bfloat16 (the default) or float16; others disable autocast, with a warning.
        enabled: False turns autocast off inside a block that has it on.
        cache_enabled: keep casts of weights.

    >>> with flambeau.autocast("cpu"):
    ...     y = flambeau.ones(2, 2) @ flambeau.ones(2, 2)
    >>> y.dtype
    torch.bfloat16
    """

    def __init__(self, device_type: str, dtype=None, enabled: bool = True, cache_enabled: bool | None = None):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type == "meta":
            raise RuntimeError("autocast: unsupported device type 'meta'")
        if device_type not in _KNOWN:
            raise RuntimeError(
                f"Expected one of {', '.join(_KNOWN)} device type at start of device string: {device_type}"
            )
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if enabled and device_type == "cuda":
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=2)
            enabled = False
        if enabled and device_type == "cpu" and self.fast_dtype not in _CPU_DTYPES:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._cache_enabled = _state.cache if cache_enabled is None else cache_enabled
        self._saved: list[tuple] = []

    def __enter__(self):
        state = _state
        self._saved.append((state.enabled.get(self.device), state.dtype.get(self.device), state.cache))
        state.enabled[self.device], state.dtype[self.device] = self._enabled, self.fast_dtype
        state.cache = self._cache_enabled
        autocast_increment_nesting()
        _apply()
        return self

    def __exit__(self, *exc_info):
        enabled, dtype, _state.cache = self._saved.pop()
        for table, value in ((_state.enabled, enabled), (_state.dtype, dtype)):
            if value is None:
                table.pop(self.device, None)
            else:
                table[self.device] = value
        if autocast_decrement_nesting() == 0:
            clear_autocast_cache()
        _apply()
        return False

    def __call__(self, function):
        @functools.wraps(function)
        def decorated(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return decorated


def _cast(value, device_type: str, dtype):
    """The floating-point tensors in a tree of containers, in another dtype; float64 stays."""
    from ..utils import _pytree

    def cast(leaf):
        eligible = leaf.is_floating_point() and leaf.device.type == device_type
        return leaf.to(dtype) if eligible and leaf.dtype is not flambeau.float64 else leaf

    return _pytree.tree_map_only(flambeau.Tensor, cast, value)


def custom_fwd(fwd=None, *, device_type: str, cast_inputs=None):
    """Decorator for ``forward`` of an `autograd.Function`: ``backward`` with `custom_bwd` will run with the same autocast.

    Args:
        device_type: ``"cpu"``.
        cast_inputs: inside an autocast block, floating-point arguments come in this dtype, and forward runs without
            autocast. None: forward runs as its surroundings do.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(*args, **kwargs):
        context = args[0]
        context._dtype = get_autocast_dtype(device_type)
        enabled = is_autocast_enabled(device_type)
        context._fwd_used_autocast = enabled and cast_inputs is None
        if not enabled or cast_inputs is None:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return decorated


def custom_bwd(bwd=None, *, device_type: str):
    """Decorator for ``backward`` of an `autograd.Function` whose ``forward`` has `custom_fwd`: it runs with autocast as
    forward did."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(*args, **kwargs):
        context = args[0]
        with autocast(device_type, dtype=context._dtype, enabled=context._fwd_used_autocast):
            return bwd(*args, **kwargs)

    return decorated
