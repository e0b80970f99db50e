"""Random numbers: PyTorch's for the same seed, bit for bit (docs/random.md)."""

import flambeau

from ._pointwise import binary
from .outputs import deliver
from .registry import composite, op, takes
from .truth import all_true, any_true

_OPTIONS = "dtype? dtype=None, layout? layout=None, device? device=None, bool? pin_memory=False, bool? requires_grad=False"
_GENERATOR = "Generator? generator=None"
_FORMAT = "memory_format? memory_format=None"


def _zero(grad):
    # What is overwritten by draws has no influence any more.
    import flambeau

    return flambeau.zeros_like(grad)


def _factory(signature, doc, **fields):
    for name, text in (("OPTIONS", _OPTIONS), ("GENERATOR", _GENERATOR), ("FORMAT", _FORMAT)):
        signature = signature.replace(name, text)
    op(signature + " -> Tensor", doc, **{"method": False, **fields})


_factory(
    "rand(int[] size, *, GENERATOR, Tensor? out=None, OPTIONS)",
    """Uniform draws from [0, 1).

    >>> _ = flambeau.manual_seed(0)
    >>> flambeau.rand(2)
    tensor([0.4963, 0.7682])
    """,
)
_factory(
    "randn(int[] size, *, GENERATOR, Tensor? out=None, OPTIONS)",
    """Standard normal draws; the parts of a complex number have variance 1/2 each.

    >>> _ = flambeau.manual_seed(0)
    >>> flambeau.randn(2)
    tensor([ 1.5410, -0.2934])
    """,
)
_factory(
    "rand_like(Tensor input, *, GENERATOR, OPTIONS, FORMAT)",
    "`rand` with the size, dtype and layout of `input`.",
)
_factory(
    "randn_like(Tensor input, *, GENERATOR, OPTIONS, FORMAT)",
    "`randn` with the size, dtype and layout of `input`.",
)
_RANDINT = """Integers drawn evenly from [low, high); `low` is 0 when it is left out. The dtype is int64 by default.

    >>> _ = flambeau.manual_seed(0)
    >>> flambeau.randint(10, (3,))
    tensor([4, 9, 3])
    """
_factory("randint(int high, int[] size, *, GENERATOR, Tensor? out=None, OPTIONS)", _RANDINT)
_factory("randint.low(int low, int high, int[] size, *, GENERATOR, Tensor? out=None, OPTIONS)", "")
_factory(
    "randint_like(Tensor input, int high, *, GENERATOR, OPTIONS, FORMAT)",
    "`randint` with the size, dtype and layout of `input`.",
)
_factory("randint_like.low(Tensor input, int low, int high, *, GENERATOR, OPTIONS, FORMAT)", "")
_factory(
    "randperm(int n, *, GENERATOR, Tensor? out=None, OPTIONS)",
    """A random order of 0 ... n - 1.

    >>> _ = flambeau.manual_seed(0)
    >>> flambeau.randperm(4).sort().values
    tensor([0, 1, 2, 3])
    """,
)

_NORMAL = """Normal draws with the given mean and standard deviation: a tensor for one of them gives each element its own
    (both broadcast), two numbers need a `size`. Not differentiable in the parameters: their gradients are zero.

    >>> _ = flambeau.manual_seed(0)
    >>> flambeau.normal(flambeau.tensor([0.0, 100.0]), 1.0)
    tensor([ 1.5410, 99.7066])
    """
# First: a zero-dimensional tensor would do for the others' numbers, too, and PyTorch rounds the two ways differently.
_factory(
    "normal.Tensor_Tensor(Tensor mean, Tensor std, *, GENERATOR, Tensor? out=None)",
    _NORMAL,
    vjp={"mean, std": lambda grad: (_zero(grad),) * 2},
)
_factory(
    "normal.Tensor_float(Tensor mean, float std=1, *, GENERATOR, Tensor? out=None)",
    "",
    vjp={"mean": _zero},
)
_factory(
    "normal.float_Tensor(float mean, Tensor std, *, GENERATOR, Tensor? out=None)", vjp={"std": _zero}, doc=""
)
_factory("normal.float_float(float mean, float std, int[] size, *, GENERATOR, Tensor? out=None, OPTIONS)", "")
_factory(
    "bernoulli(Tensor input, *, GENERATOR, Tensor? out=None)",
    """0 or 1 for each element, 1 with the probability that `input` holds; or with probability `p` for all of them.

    >>> flambeau.bernoulli(flambeau.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """,
    vjp={"input": _zero},
    method=True,
)
_factory("bernoulli.p(Tensor input, float p, *, GENERATOR)", "", vjp={"input": _zero}, method=True)
_factory(
    "poisson(Tensor input, GENERATOR)",
    "Poisson draws, each with the rate that `input` holds.",
    vjp={"input": _zero},
)
_factory(
    "binomial(Tensor count, Tensor prob, GENERATOR)",
    "How many of `count` trials succeed, each with probability `prob`; the two broadcast.",
    vjp={"prob": _zero, "count": _zero},
)
_factory(
    "_standard_gamma(Tensor input, GENERATOR)",
    "Gamma draws of rate 1.",
    vjp={"input": lambda grad, input, result: grad * flambeau._standard_gamma_grad(input, result)},
)
binary(
    "_standard_gamma_grad",
    """How draws `output` of gamma distributions with shape `input` move with it (csrc/kernels/sampling_derivatives.h).

    >>> flambeau._standard_gamma_grad(flambeau.tensor(2.0), flambeau.tensor(1.5))
    tensor(0.9366)
    """,
    operands="Tensor input, Tensor output",
    why_not="not written",
    inplace=False,
    method=False,
)
_factory(
    "_sample_dirichlet(Tensor input, GENERATOR)",
    "Dirichlet draws along the last dimension.",
    why_not="not written",
)
op(
    "_dirichlet_grad(Tensor x, Tensor alpha, Tensor total) -> Tensor",
    """How elements `x` of Dirichlet draws move with their own concentration `alpha` out of `total`, over 1 - x.

    >>> flambeau._dirichlet_grad(flambeau.tensor(0.25), flambeau.tensor(2.0), flambeau.tensor(5.0))
    tensor(0.1802)
    """,
    family="pointwise",
    kind="same",
    why_not="not written",
)
_factory(
    "_multinomial_replacement(Tensor input, int num_samples, GENERATOR)",
    "Indices drawn with replacement.",
    public=False,
)


def _fill(signature, doc, **fields):
    text = signature.replace("GENERATOR", _GENERATOR) + " -> Tensor"
    op(text, doc, vjp={"input": _zero}, public=False, **fields)


_fill(
    "uniform_(Tensor input, float from=0, float to=1, *, GENERATOR)",
    "Overwrites with uniform draws from [from, to).",
)
_fill("normal_(Tensor input, float mean=0, float std=1, *, GENERATOR)", "Overwrites with normal draws.")
_fill(
    "exponential_(Tensor input, float lambd=1, *, GENERATOR)",
    "Overwrites with draws of density ``lambd * exp(-lambd * x)`` for x > 0.",
)
_fill(
    "cauchy_(Tensor input, float median=0, float sigma=1, *, GENERATOR)",
    "Overwrites with draws of the Cauchy distribution around `median` with width `sigma`.",
)
_fill(
    "log_normal_(Tensor input, float mean=1, float std=2, *, GENERATOR)",
    "Overwrites with exponentials of normal draws with `mean` and `std`.",
)
_fill(
    "geometric_(Tensor input, float p, *, GENERATOR)",
    "Overwrites with the numbers of trials until the first success, each of probability `p`.",
)
_fill(
    "random_(Tensor input, *, GENERATOR)",
    """Overwrites with integers drawn evenly from [from, to): `random_()` takes all that the dtype holds exactly,
    `random_(to)` starts from 0, `random_(from, None)` ends where `random_()` does.""",
)
_fill("random_.to(Tensor input, int to, *, GENERATOR)", "")
_fill("random_.from(Tensor input, int from, int? to, *, GENERATOR)", "")
_fill(
    "bernoulli_.float(Tensor input, float p=0.5, *, GENERATOR)",
    "Overwrites with 1 with probability `p` (a number for all, or a tensor of them), else 0.",
)
op(
    f"bernoulli_.Tensor(Tensor input, Tensor p, *, {_GENERATOR}) -> Tensor",
    vjp={"input": _zero, "p": lambda p: p * 0},
    public=False,
)


def _check_weights(input):
    """Weights are finite and none is negative; each distribution has one above zero."""
    if not all_true((input >= 0) & (input < float("inf"))):
        raise RuntimeError("multinomial(): probability tensor contains either `inf`, `nan` or element < 0")
    if any_true(input.sum(-1) == 0):
        raise RuntimeError("multinomial(): invalid multinomial distribution (sum of probabilities <= 0)")


@composite(method=True)
@takes(
    "multinomial(Tensor input, int num_samples, bool replacement=False, *, "
    "Generator? generator=None, Tensor? out=None)",
)
def multinomial(input, num_samples, replacement=False, *, generator=None, out=None):
    """Indices drawn from each row of weights, which need not sum to one.

    Args:
        input: weights of shape (n,) or (rows, n), floating.
        num_samples: how many to draw from each row; at most n without replacement.

    Returns:
        int64 indices of shape (num_samples,) or (rows, num_samples).

    >>> flambeau.multinomial(flambeau.tensor([0.0, 1.0]), 1)
    tensor([1])
    """
    import flambeau

    if input.dim() not in (1, 2):
        raise RuntimeError(f"multinomial(): prob_dist must be 1 or 2 dim, got shape {list(input.shape)}")
    if not input.is_floating_point():
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype}")
    if out is not None and out.dtype is not flambeau.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out.dtype}")
    if num_samples <= 0:
        raise RuntimeError(f"multinomial(): cannot sample n_sample <= 0 samples, got {num_samples}")
    if not replacement and num_samples > input.size(-1):
        raise RuntimeError(
            "multinomial(): cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
            f"{num_samples} of {input.size(-1)}"
        )
    if input.size(-1) > 2**24:
        # Beyond, float32 cannot tell two neighbouring categories apart.
        raise RuntimeError(f"multinomial(): number of categories cannot exceed 2^24, got {input.size(-1)}")
    with flambeau.no_grad():
        if input.device.type == "meta":
            result = flambeau.empty((*input.shape[:-1], num_samples), dtype=flambeau.int64, device="meta")
        elif replacement and num_samples > 1:
            result = _replacement(input, num_samples, generator)
        else:
            # The largest of weight / exponential draw has index i with a probability proportional to weight i.
            if input.numel():
                _check_weights(input)
            quotients = flambeau.empty_like(input).exponential_(1, generator=generator)
            flambeau.div(input, quotients, out=quotients)
            if num_samples == 1:
                result = quotients.argmax(-1, keepdim=True)
            else:
                result = quotients.topk(num_samples).indices
    return deliver(result, out, "multinomial", same_dtype=True)


def _replacement(input, num_samples, generator):
    from .registry import records

    return records["_multinomial_replacement"].op(input, num_samples, generator)


def _dropout(name, inplace=False, per_channel=False, alpha=False):
    def dropout(input, p, train):
        from ..nn import _functional_dropout

        drop = _functional_dropout._alpha_drop if alpha else _functional_dropout._drop
        return drop(input, p, train, inplace, per_channel)

    dropout.__name__ = dropout.__qualname__ = name
    kind = "whole channels of the input" if per_channel else "elements of the input"
    rest = "so that mean and variance stay" if alpha else "and divides the others by ``1 - p``"
    where = " in place" if inplace else ""
    dropout.__doc__ = (
        f"While `train`, zeroes {kind}{where} with probability `p`, {rest}; see `nn.functional`."
    )
    return composite(dropout)


for _alpha in (False, True):
    for _per_channel in (False, True):
        for _inplace in (False, True):
            _name = (
                ("feature_" if _per_channel else "")
                + ("alpha_" if _alpha else "")
                + "dropout"
                + "_" * _inplace
            )
            _dropout(_name, _inplace, _per_channel, _alpha)


@composite
def native_dropout(input, p, train=None):
    """`dropout` that also returns the mask of what was kept: (output, mask)."""
    import flambeau

    if train is False or input.numel() == 0:
        return input.clone(), flambeau.ones_like(input, dtype=flambeau.bool)
    mask = flambeau.empty_like(input, dtype=flambeau.bool)
    with flambeau.no_grad():
        mask.bernoulli_(1 - p)
    return input * mask * (0.0 if p == 1 else 1 / (1 - p)), mask
