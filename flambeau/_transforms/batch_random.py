"""Random operators inside vmap, as its `randomness` says: an error, the same draws for all examples, or different ones."""

import flambeau

from .. import _C
from .._ops.registry import records
from .batching import Tensor, batched_front, by_example, register_rule

_call = _C._call


def _refuse(randomness):
    if randomness == "error":
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
            "randomness flags on vmap or perform the randomness operation out of vmap"
        )


def _random(function):
    function.random = True
    return function


def _none(dims):
    return all(d is None for d in dims)


def _factory(position):
    @_random
    def draw(op, values, dims, size, randomness):
        _refuse(randomness)
        if randomness == "same":
            return _call(op, values), None
        shape = (size, *values[position])
        return _call(op, (*values[:position], shape, *values[position + 1 :])), 0

    return draw


for _name, _position in {
    "rand": 0,
    "randn": 0,
    "randint": 1,
    "randint.low": 2,
    "normal.float_float": 2,
}.items():
    register_rule(_name, _factory(_position))


@_random
def _permutation(op, values, dims, size, randomness):
    """Permutations of different examples are drawn one after another."""
    _refuse(randomness)
    if randomness == "same":
        return _call(op, values), None
    return flambeau.stack([_call(op, values) for _ in range(size)]), 0


register_rule("randperm", _permutation)


@_random
def _like(op, values, dims, size, randomness):
    """Draws in the shape of a tensor."""
    _refuse(randomness)
    value = values[0]
    if randomness == "same":
        one = value if dims[0] is None else value.select(dims[0], 0)
        return _call(op, (one, *values[1:])), None
    return _call(op, (batched_front(value, dims[0], size).contiguous(), *values[1:])), 0


for _name in "rand_like randn_like randint_like randint_like.low bernoulli.p".split():
    register_rule(_name, _like)


@_random
def _of_parameters(op, values, dims, size, randomness):
    """Draws whose distribution is an argument."""
    _refuse(randomness)
    if randomness == "same":
        if not _none(dims):
            raise RuntimeError(
                f"vmap: randomness='same' cannot be had of {op.__name__} where its parameters differ between examples. "
                "Use randomness='different'"
            )
        return _call(op, values), None
    out = [
        batched_front(v, d, size).contiguous() if isinstance(v, Tensor) else v
        for v, d in zip(values, dims, strict=True)
    ]
    return _call(op, tuple(out)), 0


for _name in (
    "normal.Tensor_Tensor normal.Tensor_float normal.float_Tensor bernoulli poisson binomial _standard_gamma "
    "_sample_dirichlet"
).split():
    register_rule(_name, _of_parameters)


@_random
def _multinomial(op, values, dims, size, randomness):
    """One row of weights per example."""
    _refuse(randomness)
    if randomness == "same" and dims[0] is None:
        return _call(op, values), None
    if randomness == "different" and dims[0] is None:
        return flambeau.stack([_call(op, values) for _ in range(size)]), 0
    return by_example(op, values, dims, size)


register_rule("_multinomial_replacement", _multinomial)


@_random
def _fill(op, values, dims, size, randomness):
    """Draws written to a tensor."""
    _refuse(randomness)
    target = values[0]
    if dims[0] is None:
        if randomness == "different":
            raise RuntimeError(
                "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will appear like same "
                "randomness. If this is necessary for your usage, please file an issue with functorch."
            )
        _call(op, values)
        return target, None
    rows = target.movedim(dims[0], 0)
    if randomness == "same":
        one = flambeau.empty_like(rows[0]).contiguous()
        drawn = _call(op, (one, *values[1:]))
        rows.copy_(drawn.expand_as(rows))
        return target, dims[0]
    rest = [
        batched_front(v, d, size) if isinstance(v, Tensor) else v
        for v, d in zip(values[1:], dims[1:], strict=True)
    ]
    _call(op, (rows, *rest))
    return target, dims[0]


for _name, _record in records.items():
    if "Generator?" in _record.signature and _name.partition(".")[0].endswith("_"):
        register_rule(_name, _fill)
