"""`autocast`, which here records the wish and changes no computation."""

from __future__ import annotations

import functools
import threading
import warnings

import flambeau

_KNOWN = ("cpu", "cuda", "xpu", "mps", "hpu", "mtia", "xla", "ipu", "maia", "meta")


class _State(threading.local):
    def __init__(self):
        self.enabled: dict[str, bool] = {}
        self.dtype: dict[str, object] = {}
        self.cache = True


_state = _State()
_told = False


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` does anything for a kind of device: it is accepted for the CPU."""
    return device_type == "cpu"


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether an `autocast` block for the kind of device surrounds us."""
    return _state.enabled.get(device_type, False)


def get_autocast_dtype(device_type: str):
    """The dtype that autocast names for a kind of device."""
    default = flambeau.bfloat16 if device_type == "cpu" else flambeau.float16
    return _state.dtype.get(device_type, default)


def set_autocast_enabled(device_type, enabled=None) -> None:
    """Turn autocast on or off; with one argument, for CUDA."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    _state.enabled[device_type] = enabled


def set_autocast_dtype(device_type: str, dtype) -> None:
    """Choose the dtype that autocast names for a kind of device."""
    _state.dtype[device_type] = dtype


def is_autocast_cache_enabled() -> bool:
    """The ``cache_enabled`` of the surrounding `autocast`."""
    return _state.cache


class autocast:
    """Context manager and decorator that asks for lower precision where that is faster.

    On a processor it is not: operators keep the dtypes of their inputs. The first use says so in a warning.

    Args:
        device_type: ``"cpu"``; for devices that are not there autocast is disabled, with a warning.
        dtype: bfloat16 (the default) or float16.
        enabled: False makes the whole do nothing.
        cache_enabled: kept and given back.
    """

    def __init__(self, device_type: str, dtype=None, enabled: bool = True, cache_enabled: bool | None = None):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in _KNOWN:
            raise RuntimeError(
                f"Expected one of {', '.join(_KNOWN)} device type at start of device string: {device_type}"
            )
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if enabled and device_type == "cuda":
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=2)
            enabled = False
        if enabled and self.fast_dtype not in (flambeau.bfloat16, flambeau.float16):
            warnings.warn(
                f"In {device_type.upper()} autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"{device_type.upper()} Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._cache = _state.cache if cache_enabled is None else cache_enabled
        self._saved: list[tuple] = []

    def __enter__(self):
        global _told
        if self._enabled and not _told:
            _told = True
            warnings.warn(
                "autocast: flambeau computes in the dtypes of the operators' inputs; lower precision is not faster here.",
                stacklevel=2,
            )
        state = _state
        self._saved.append((state.enabled.get(self.device), state.dtype.get(self.device), state.cache))
        state.enabled[self.device], state.dtype[self.device] = self._enabled, self.fast_dtype
        state.cache = self._cache
        return self

    def __exit__(self, *exc_info):
        enabled, dtype, _state.cache = self._saved.pop()
        for table, value in ((_state.enabled, enabled), (_state.dtype, dtype)):
            if value is None:
                table.pop(self.device, None)
            else:
                table[self.device] = value

    def __call__(self, function):
        @functools.wraps(function)
        def decorated(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return decorated


def custom_fwd(fwd=None, *, device_type: str, cast_inputs=None):
    """Decorator for ``forward`` of an `autograd.Function`; with `cast_inputs`, floating inputs come in that dtype.

    As autocast changes no computation here, inputs are only cast inside an autocast block that is enabled.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    def cast(value):
        if (
            isinstance(value, flambeau.Tensor)
            and value.is_floating_point()
            and value.dtype is not flambeau.float64
        ):
            return value.to(cast_inputs)
        return value

    @functools.wraps(fwd)
    def decorated(*args, **kwargs):
        if cast_inputs is None or not is_autocast_enabled(device_type):
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(*map(cast, args), **{name: cast(value) for name, value in kwargs.items()})

    return decorated


def custom_bwd(bwd=None, *, device_type: str):
    """Decorator for ``backward`` of an `autograd.Function` whose ``forward`` has `custom_fwd`."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    return bwd
