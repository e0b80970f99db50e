"""Activation functions, and the derivatives that deserve one pass of their own.

`flambeau.nn.functional` checks arguments and calls these.
"""

import math

import flambeau

from ._pointwise import unary, zero
from .casts import in_autocast
from .registry import composite, inplace_records, op, records, takes

# ---- derivatives: of the gradient and of what was kept -----------------------------------------------------------------


def _derivative(signature, vjp, **fields):
    kind = {"family": "pointwise", "kind": "same", **fields}
    return op(signature + " -> Tensor", public=False, method=False, vjp=vjp, **kind)


relu_backward = _derivative(
    "relu_backward(Tensor grad_output, Tensor result_)",
    {"grad_output": lambda grad, result_: relu_backward(grad, result_), "result_": zero},
)
sigmoid_backward = _derivative(
    "sigmoid_backward(Tensor grad_output, Tensor result_)",
    {
        "grad_output": lambda grad, result_: sigmoid_backward(grad, result_),
        "result_": lambda grad, grad_output, result_: grad * grad_output * (1 - 2 * result_),
    },
)
tanh_backward = _derivative(
    "tanh_backward(Tensor grad_output, Tensor result_)",
    {
        "grad_output": lambda grad, result_: tanh_backward(grad, result_),
        "result_": lambda grad, grad_output, result_: grad * grad_output * -2 * result_,
    },
)


def _silu_second(grad, grad_output, input):
    s = input.sigmoid()
    return grad * grad_output * s * (1 - s) * (2 + input * (1 - 2 * s))


silu_backward = _derivative(
    "silu_backward(Tensor grad_output, Tensor input)",
    {"grad_output": lambda grad, input: silu_backward(grad, input), "input": _silu_second},
)

_GELU_BETA, _GELU_KAPPA = math.sqrt(2 / math.pi), 0.044715


def _gelu_second(grad, grad_output, input, approximate):
    if approximate == "none":
        curvature = (2 - input * input) * (-input * input / 2).exp() / math.sqrt(2 * math.pi)
    else:
        inner = _GELU_BETA * (input + _GELU_KAPPA * input**3)
        slope = _GELU_BETA * (1 + 3 * _GELU_KAPPA * input * input)
        t = inner.tanh()
        bend = 6 * _GELU_BETA * _GELU_KAPPA * input
        curvature = (1 - t * t) * (slope + 0.5 * input * (bend - 2 * t * slope * slope))
    return grad * grad_output * curvature


gelu_backward = _derivative(
    "gelu_backward(Tensor grad_output, Tensor input, *, str approximate='none')",
    {
        "grad_output": lambda grad, input, approximate: gelu_backward(grad, input, approximate=approximate),
        "input": _gelu_second,
    },
    family=None,
    kind=None,
)
leaky_relu_backward = _derivative(
    "leaky_relu_backward(Tensor grad_output, Tensor input, Scalar negative_slope)",
    {
        "grad_output": lambda grad, input, negative_slope: leaky_relu_backward(grad, input, negative_slope),
        "input": zero,
    },
)
elu_backward = _derivative(
    "elu_backward(Tensor grad_output, Tensor input, Scalar alpha, Scalar scale, Scalar input_scale)",
    {
        "grad_output": lambda grad, input, alpha, scale, input_scale: elu_backward(
            grad, input, alpha, scale, input_scale
        ),
        "input": lambda grad, grad_output, input, alpha, scale, input_scale: (
            grad
            * grad_output
            * flambeau.where(
                input > 0, 0, scale * alpha * input_scale**2 * (input.clamp(max=0) * input_scale).exp()
            )
        ),
    },
)
hardtanh_backward = _derivative(
    "hardtanh_backward(Tensor grad_output, Tensor input, Scalar min_val, Scalar max_val)",
    {
        "grad_output": lambda grad, input, min_val, max_val: hardtanh_backward(grad, input, min_val, max_val),
        "input": zero,
    },
)
threshold_backward = _derivative(
    "threshold_backward(Tensor grad_output, Tensor input, Scalar threshold)",
    {"grad_output": lambda grad, input, threshold: threshold_backward(grad, input, threshold), "input": zero},
)
shrink_backward = _derivative(
    "shrink_backward(Tensor grad_output, Tensor input, Scalar lambd)",
    {"grad_output": lambda grad, input, lambd: shrink_backward(grad, input, lambd), "input": zero},
)


def _softplus_second(grad, grad_output, input, beta, threshold):
    s = (input * beta).sigmoid()
    return flambeau.where(input * beta > threshold, 0, grad * grad_output * beta * s * (1 - s))


softplus_backward = _derivative(
    "softplus_backward(Tensor grad_output, Tensor input, Scalar beta, Scalar threshold)",
    {
        "grad_output": lambda grad, input, beta, threshold: softplus_backward(grad, input, beta, threshold),
        "input": _softplus_second,
    },
)

# ---- the functions --------------------------------------------------------------------------------------------------------

unary(
    "relu",
    """max(input, 0).

    >>> flambeau.relu(flambeau.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """,
    lambda grad, result: relu_backward(grad, result),
    kind="same",
)


def _activation(signature, doc, vjp, *, public=False, method=False, **fields):
    return op(
        signature + " -> Tensor",
        doc,
        inplace=True,
        public=public,
        method=method,
        vjp={"input": vjp},
        **{"family": "pointwise", "kind": "same", **fields},
    )


_activation(
    "leaky_relu(Tensor input, Scalar negative_slope=0.01)",
    "input where positive, negative_slope * input elsewhere.",
    lambda grad, input, negative_slope: leaky_relu_backward(grad, input, negative_slope),
)
_activation(
    "elu(Tensor input, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1)",
    "scale * (input where positive, alpha * (exp(input_scale * input) - 1) elsewhere): ELU, SELU and CELU.",
    lambda grad, input, alpha, scale, input_scale: elu_backward(grad, input, alpha, scale, input_scale),
)
_activation(
    "hardtanh(Tensor input, Scalar min_val=-1, Scalar max_val=1)",
    "input limited to [min_val, max_val].",
    lambda grad, input, min_val, max_val: hardtanh_backward(grad, input, min_val, max_val),
)
_activation(
    "threshold(Tensor input, Scalar threshold, Scalar value)",
    """input where it exceeds threshold, value elsewhere.

    >>> flambeau.threshold(flambeau.tensor([1.0, 3.0]), 2, 0)
    tensor([0., 3.])
    """,
    lambda grad, input, threshold: threshold_backward(grad, input, threshold),
    public=True,
)
_activation(
    "hardshrink(Tensor input, Scalar lambd=0.5, *, Tensor? out=None)",
    """0 where |input| <= lambd, input elsewhere.

    >>> flambeau.hardshrink(flambeau.tensor([0.2, 1.0]))
    tensor([0., 1.])
    """,
    lambda grad, input, lambd: shrink_backward(grad, input, lambd),
    public=True,
    method=True,
)
_activation(
    "softshrink(Tensor input, Scalar lambd=0.5, *, Tensor? out=None)",
    "input moved towards 0 by lambd, and 0 where |input| <= lambd.",
    lambda grad, input, lambd: shrink_backward(grad, input, lambd),
)
_activation(
    "softplus(Tensor input, Scalar beta=1, Scalar threshold=20, *, Tensor? out=None)",
    "log(1 + exp(beta * input)) / beta; the identity where beta * input > threshold.",
    lambda grad, input, beta, threshold: softplus_backward(grad, input, beta, threshold),
)
_activation("silu(Tensor input)", "input * sigmoid(input).", lambda grad, input: silu_backward(grad, input))


def _mish(grad, input):
    t, s = softplus(input, 1, math.inf).tanh(), input.sigmoid()
    return grad * (t + input * s * (1 - t * t))


_activation("mish(Tensor input)", "input * tanh(softplus(input)).", _mish)
_activation(
    "logsigmoid(Tensor input, *, Tensor? out=None)",
    "log(sigmoid(input)), without overflow.",
    lambda grad, input: grad * (-input).sigmoid(),
)
_activation(
    "hardsigmoid(Tensor input)",
    "relu6(input + 3) / 6.",
    lambda grad, input: hardtanh_backward(grad / 6, input, -3, 3),
)
_activation(
    "hardswish(Tensor input)",
    "input * relu6(input + 3) / 6.",
    lambda grad, input: flambeau.where(
        input < -3, 0, flambeau.where(input <= 3, grad * (input / 3 + 0.5), grad)
    ),
)
_activation(
    "gelu(Tensor input, *, str approximate='none', Tensor? out=None)",
    "input * Phi(input) with the normal distribution's Phi; approximate='tanh' uses its tanh form.",
    lambda grad, input, approximate: gelu_backward(grad, input, approximate=approximate),
    family=None,
    kind=None,
)


def _prelu_weight(grad, input):
    return flambeau.where(input > 0, 0, grad * input)


# The slope already has a shape that broadcasts along dimension 1.
op(
    "_prelu(Tensor input, Tensor weight) -> Tensor",
    "input where positive, weight * input elsewhere.",
    family="pointwise",
    kind="same",
    impl="prelu",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, input, weight: flambeau.where(input > 0, grad, grad * weight),
        "weight": _prelu_weight,
    },
)

softplus = records["softplus"].op


def variant(name, inplace=False):
    """An activation's operator, or its in-place form."""
    return inplace_records[name + "_"] if inplace else records[name].op


@composite(method=True)
@takes("prelu(Tensor input, Tensor weight)")
@in_autocast("lower")
def prelu(input, weight):
    """input where positive, weight * input elsewhere; weight holds one slope, or one per channel (dimension 1).

    >>> flambeau.prelu(flambeau.tensor([-2.0, 3.0]), flambeau.tensor([0.5]))
    tensor([-1.,  3.])
    """
    if weight.dim() > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}"
        )
    if input.dtype != weight.dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {input.dtype} and {weight.dtype}")
    if weight.numel() != 1:
        if input.dim() == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.size(1) if input.dim() > 1 else 1
        if channels != weight.numel():
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
    if input.dim() > 1 and weight.dim() > 0:
        weight = weight.reshape(-1, *(1,) * (input.dim() - 2))
    elif weight.dim() > 0:
        weight = weight.reshape(() if input.dim() == 0 else (1,))
    return records["_prelu"].op(input, weight)


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def _selu(input, inplace=False):
    return variant("elu", inplace)(input, SELU_ALPHA, SELU_SCALE)


def _celu(input, alpha=1.0, inplace=False):
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return variant("elu", inplace)(input, alpha, 1, 1 / alpha)


@composite
@takes("selu(Tensor input)")
def selu(input):
    """The self-normalising scaled ELU (Klambauer et al., 2017).

    >>> flambeau.selu(flambeau.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """
    return _selu(input)


@composite
@takes("selu_(Tensor input)")
def selu_(input):
    """In-place form of `selu`."""
    return _selu(input, True)


@composite
@takes("celu(Tensor input, Scalar alpha=1.0)")
def celu(input, alpha=1.0):
    """max(0, input) + min(0, alpha * (exp(input / alpha) - 1)).

    >>> flambeau.celu(flambeau.tensor([-1.0, 1.0]))
    tensor([-0.6321,  1.0000])
    """
    return _celu(input, alpha)


@composite
@takes("celu_(Tensor input, Scalar alpha=1.0)")
def celu_(input, alpha=1.0):
    """In-place form of `celu`."""
    return _celu(input, alpha, True)
