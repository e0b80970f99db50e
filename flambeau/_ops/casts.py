"""The dtype in which operators compute inside `autocast`: PyTorch's lists for the CPU.

``"lower"``: autocast's own dtype (products, convolutions). ``"float32"``: losses, decompositions, transforms.
``"widest"``: float32 if an argument has it. ``"same"``: the arguments as they come, for all that it calls too. What is in
no list takes its arguments as they come. Functions that are written in Python say so with `in_autocast`; native
operators stand in the table below.
"""

import functools

from .. import _C
from .registry import records

_POLICIES = {
    "lower": "convolution linear matmul mm bmm addmm addbmm baddbmm _prelu",
    "float32": (
        "prod polar view_as_complex _cdist _grid_sampler _fractional_max_pool nll_loss_forward _cross_entropy _ctc_loss "
        "_ctc_loss.Tensor geqrf linalg_qr"
    ),
    "widest": "cat stack index_copy",
}


def install():
    """Tell the native operators; called when autocast is first used."""
    for policy, names in _POLICIES.items():
        for name in names.split():
            for own in (name, *(record for record in records if record.startswith(name + "."))):
                if own in records:
                    _C._set_cast_policy(records[own].op, policy)


def in_autocast(policy):
    """Decorator: inside `autocast`, the function gets its floating-point tensors in another dtype, and runs without
    autocast. Elsewhere a call costs a few nanoseconds more."""

    def decorate(function):
        return functools.update_wrapper(_C.CastFunction(function, policy), function)

    return decorate
