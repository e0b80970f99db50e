"""SparseAdam, which this engine refuses: its gradients are dense."""

from .optimizer import Optimizer

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam for sparse gradients. This engine has no sparse gradients, so making one is an error."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        raise NotImplementedError(
            "SparseAdam updates from sparse gradients, and gradients are always dense here. Use Adam, with an Embedding "
            "made without sparse=True."
        )
