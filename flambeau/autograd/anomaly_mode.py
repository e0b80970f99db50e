"""Anomaly detection: where in the forward pass a failing derivative comes from, and nan in gradients.

The error of a backward pass always notes where its operator was called. Anomaly mode adds the whole stack, and looks
for nan in every gradient, which costs time.
"""

import warnings

from .. import _C

__all__ = ["detect_anomaly", "set_detect_anomaly"]


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Switch the detection of anomalies on or off, from now on."""
    _C._set_anomaly_enabled(enabled, check_nan)


class set_detect_anomaly:
    """Switch anomaly detection: from the call on, or inside a `with`.

    mode: on or off. check_nan: raise when a gradient contains nan.
    """

    def __init__(self, mode, check_nan=True):
        self.prev = (_C.is_anomaly_enabled(), _C.is_anomaly_check_nan_enabled())
        self.mode = mode
        self.check_nan = check_nan
        _C._set_anomaly_enabled(mode, check_nan)

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        _C._set_anomaly_enabled(*self.prev)


class detect_anomaly:
    """Context manager that switches anomaly detection on; see `set_detect_anomaly`."""

    def __init__(self, check_nan=True):
        self.check_nan = check_nan
        self.prev = (_C.is_anomaly_enabled(), _C.is_anomaly_check_nan_enabled())
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled "
            "for debugging.",
            stacklevel=2,
        )

    def __enter__(self):
        self.prev = (_C.is_anomaly_enabled(), _C.is_anomaly_check_nan_enabled())
        _C._set_anomaly_enabled(True, self.check_nan)

    def __exit__(self, *exc):
        _C._set_anomaly_enabled(*self.prev)


def _warn_of(node):
    """Called by the engine when a node's derivative failed."""
    stack = node.metadata.get("traceback_")
    if stack is None:
        text = "No forward pass information available. Enable detect anomaly during forward pass for more information."
    else:
        text = "Traceback of forward call that caused the error:\n" + "".join(stack)
    warnings.warn(f"Error detected in {node.name()}. {text}", stacklevel=2)


def _first_nan(gradients):
    """The index of the first gradient that contains nan, or None."""
    with set_detect_anomaly(False):
        for i, grad in enumerate(gradients):
            if grad is not None and bool(grad.detach().ne(grad.detach()).any()):
                return i
    return None
