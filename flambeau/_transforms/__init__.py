"""Function transforms: what happens to an operator at a level of `vmap` or of forward-mode differentiation.

The native half (csrc/transforms) finds the level that an operator's arguments belong to and calls `batching.batch` or
`forward.forward` with what the arguments stand for. Both are loaded when the first level is entered.
"""

from .. import _C
from . import batching, forward

_C._set_transform_handlers(batching.batch, forward.forward)


class BatchLevel:
    """Inside, tensors wrapped at level `number` stand for one of `size` examples.

    randomness: "error", "same" or "different": what random operators do.
    """

    def __init__(self, size, randomness="error"):
        self.size, self.randomness = size, randomness

    def __enter__(self):
        self.number = _C._enter_level("batch", self.size, self.randomness)
        return self

    def __exit__(self, *exc):
        _C._leave_level(self.number)

    def wrap(self, tensor, dim):
        """`tensor`, one example at a time along `dim`."""
        return _C._wrap_batched(tensor, dim, self.number)

    def unwrap(self, tensor):
        """(what the tensor stands for, its batch dimension or None)."""
        found = _C._unwrap(tensor, self.number)
        return (tensor, None) if found is None else found


class ForwardLevel:
    """Inside, tensors wrapped at level `number` have a tangent: their derivative in one direction."""

    def __enter__(self):
        self.number = _C._enter_level("forward", 0, "")
        return self

    def __exit__(self, *exc):
        _C._leave_level(self.number)

    def wrap(self, tensor, tangent):
        """`tensor` with a tangent; None stands for zero."""
        return _C._wrap_dual(tensor, tangent, self.number)

    def unwrap(self, tensor):
        """(the tensor without its tangent, the tangent or None)."""
        found = _C._unwrap(tensor, self.number)
        return (tensor, None) if found is None else found


class InFunction:
    """Inside runs a function that torch.func transforms: `backward` and `requires_grad_` refuse to."""

    def __enter__(self):
        _C._in_function(1)

    def __exit__(self, *exc):
        _C._in_function(-1)
