"""What optimizers share that update only the rows a sparse gradient names."""

from flambeau import _C


def with_values(grad, values):
    """A sparse tensor with the places of a coalesced COO gradient and other values."""
    indices, _, _, coalesced = _C._sparse_parts(grad)
    return _C._sparse_tensor(grad.layout, indices, None, values, grad.shape, coalesced)
