"""Functions of functions: derivatives and batches that nest, and modules as functions of their parameters."""

from .. import _C
from .jacobians import hessian, jacfwd, jacrev, jvp, linearize
from .modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from .reverse import grad, grad_and_value, vjp
from .vmap import vmap

__all__ = [
    "debug_unwrap",
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]


def debug_unwrap(tensor, *, recurse=True):
    """What a tensor stands for inside transforms, to look at while debugging; with recurse, down to the plain tensor.

    Operators on the result are not part of the transform.

    >>> flambeau.func.debug_unwrap(flambeau.ones(1))
    tensor([1.])
    """
    found = _C._wrapped(tensor)
    while found is not None:
        tensor = found[1]
        found = _C._wrapped(tensor) if recurse else None
    return tensor
