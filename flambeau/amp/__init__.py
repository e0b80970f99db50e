"""Automatic mixed precision: the interface of PyTorch's, on a processor where lower precision is not faster.

`autocast` is accepted and remembered; operators go on computing in the dtypes of their inputs, which is never less
precise. `GradScaler` scales losses and gradients for real, or does nothing when it is disabled.
"""

from .autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from .grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
