"""Checking the derivatives of functions of sparse tensors."""

import functools

import flambeau


def _variable(t, masked):
    """The elements of a sparse tensor as a strided variable, and a function that makes them a sparse tensor again."""
    from .._ops.sparse.construct import with_values_of

    pattern = t.detach()
    if not masked:  # every element is a variable: so every place is specified
        everywhere = flambeau.ones(tuple(t.shape), dtype=t.dtype)
        everywhere = everywhere.sparse_mask(_full_pattern(pattern))
        values = pattern.to_dense().sparse_mask(everywhere)
    else:
        values = pattern.coalesce() if pattern.is_sparse else pattern
        everywhere = values
    variable = (
        (values._values() if values.is_sparse else values.values()).clone().requires_grad_(t.requires_grad)
    )
    return variable, functools.partial(with_values_of, everywhere)


def _full_pattern(t):
    ones = flambeau.ones(tuple(t.shape))
    if t.is_sparse:
        return ones.to_sparse(t.sparse_dim())
    block = (t.layout in (flambeau.sparse_bsr, flambeau.sparse_bsc)) and tuple(t.values().shape[-2:])
    return ones.to_sparse(layout=t.layout, blocksize=block or None)


def as_sparse_gradcheck(gradcheck):
    """A `gradcheck` that takes functions with sparse inputs and outputs too.

    Args:
        gradcheck: `flambeau.autograd.gradcheck` or `gradgradcheck`. The result's argument `masked` says what the
            variables are: the elements that an input specifies (True), or all of its elements (False, the default).

    >>> check = flambeau.sparse.as_sparse_gradcheck(flambeau.autograd.gradcheck)
    >>> x = flambeau.eye(2, dtype=flambeau.float64).to_sparse().requires_grad_()
    >>> check(lambda x: x * 2, (x,), masked=True)
    True
    """

    @functools.wraps(gradcheck)
    def checked(func, inputs, **kwargs):
        masked = kwargs.pop("masked", False) or False
        inputs = (inputs,) if isinstance(inputs, flambeau.Tensor) else tuple(inputs)
        made = [
            _variable(x, masked)
            if isinstance(x, flambeau.Tensor) and x.layout is not flambeau.strided
            else (x, None)
            for x in inputs
        ]

        def strided(*args):
            given = [a if rebuild is None else rebuild(a) for a, (_, rebuild) in zip(args, made, strict=True)]
            outputs = func(*given)
            if isinstance(outputs, flambeau.Tensor):
                return outputs.to_dense(masked_grad=masked)
            return tuple(
                o.to_dense(masked_grad=masked) if isinstance(o, flambeau.Tensor) else o for o in outputs
            )

        return gradcheck(strided, tuple(variable for variable, _ in made), **kwargs)

    return checked
