"""The parts of `gradcheck` about forward mode and batches of gradients."""

import flambeau

from .. import _C
from . import forward_ad
from . import grad as _grad
from .gradcheck import (
    GradcheckError,
    _as_real,
    _close,
    _differentiable_outputs,
    _mismatch,
    _random_unit,
    _unit_directions,
)


def _tangents(point, variable, direction):
    """The outputs' tangents in one direction of one input."""
    with forward_ad.dual_level():
        given = [
            forward_ad.make_dual(x, direction) if x is variable else x.view_as(x) if _is_variable(x) else x
            for x in point.inputs
        ]
        outputs = _differentiable_outputs(point.function, given)
        return [forward_ad.unpack_dual(o) for o in outputs]


def _is_variable(x):
    return isinstance(x, _C.Tensor) and x.requires_grad


def _row(dual):
    if dual.tangent is None:
        return flambeau.zeros_like(_as_real(dual.primal))
    return _as_real(dual.tangent)


def check_forward(point, rtol, atol, fast_mode):
    """Tangents against difference quotients: of every direction, or of a random one."""
    generator = flambeau.Generator()
    generator.manual_seed(0)
    indices = [i for i, x in enumerate(point.inputs) if _is_variable(x)]
    for variable, index in zip(point.variables, indices, strict=True):
        directions = [_random_unit(variable, generator)] if fast_mode else _unit_directions(variable)
        for direction in directions:
            if not variable.numel():
                continue
            numerical = point.quotient(variable, direction)
            duals = _tangents(point, variable, direction)
            for o, (dual, n) in enumerate(zip(duals, numerical, strict=True)):
                analytical = _row(dual)
                if not _close(analytical, n, rtol, atol):
                    raise _mismatch(o, index, analytical, n, "The tangents of forward mode differ.")


def _compare(batched, rows, what, output):
    for index, (whole, column) in enumerate(zip(batched, zip(*rows, strict=True), strict=True)):
        for k, one in enumerate(column):
            given = None if whole is None else whole[k]
            if one is None and given is None:
                continue
            one = flambeau.zeros_like(given) if one is None else one
            given = flambeau.zeros_like(one) if given is None else given
            if not flambeau.allclose(given, one, equal_nan=True):
                raise GradcheckError(
                    f"For output {output} and input {index}: {what} computed for a batch (by vmap) differ from those "
                    f"computed one by one.\n  batched: {given}\n  one by one: {one}"
                )


def check_batched_gradients(point):
    """Gradients for two cotangents at once against one after the other."""
    generator = flambeau.Generator()
    generator.manual_seed(0)
    for o, output in enumerate(point.outputs()):
        cotangents = [_random_unit(output, generator).reshape(output.shape) for _ in range(2)]
        variables = tuple(point.variables)
        rows = [_grad(output, variables, c, retain_graph=True, allow_unused=True) for c in cotangents]
        try:
            batched = _grad(
                output,
                variables,
                flambeau.stack(cotangents),
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=True,
            )
        except RuntimeError as error:
            raise GradcheckError(
                f"While computing batched gradients, got: {error}\nThe backward of the function cannot run inside vmap"
            ) from error
        _compare(batched, rows, "gradients", o)


def check_batched_tangents(point):
    """Tangents for two directions at once against one after the other."""
    from ..func import jvp, vmap

    generator = flambeau.Generator()
    generator.manual_seed(0)
    for variable in point.variables:
        directions = [_random_unit(variable, generator).reshape(variable.shape) for _ in range(2)]

        def push(direction, variable=variable):
            def moving(x):
                given = [x if v is variable else v for v in point.inputs]
                return tuple(_differentiable(point.function(*given)))

            return jvp(moving, (variable.detach(),), (direction,))[1]

        rows = [push(d) for d in directions]
        _compare(vmap(push)(flambeau.stack(directions)), rows, "tangents", "all")


def _differentiable(outputs):
    outputs = (outputs,) if isinstance(outputs, _C.Tensor) else outputs
    return [o for o in outputs if isinstance(o, _C.Tensor) and (o.is_floating_point() or o.is_complex())]
