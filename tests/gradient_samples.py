"""Arguments at which the derivative of every operator is checked, by the name of its record.

Values are spread evenly over an interval, off the places where functions have corners (integers, halves), and no two
tensors of one call share a value. A call that a table does not list is made from the operator's signature.
"""

import flambeau as torch

double, complex128 = torch.float64, torch.complex128


class Call:
    """Arguments of one call; those tensors that require a gradient are what is checked."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


def spread(shape, low=-2.0, high=2.0, phase=0.37, grad=True):
    """Distinct numbers between low and high, in an order that is not sorted."""
    count = 1
    for size in shape:
        count *= size
    step = next(s for s in (7, 5, 3, 11) if count % s) if count else 1
    values = [low + (high - low) * ((i * step + 3) % count + phase) / count for i in range(count)]
    return torch.tensor(values, dtype=double).reshape(shape).requires_grad_(grad)


def x(*shape, low=-2.0, high=2.0, grad=True):
    return spread(shape, low, high, 0.37, grad)


def y(*shape, low=-2.0, high=2.0, grad=True):
    return spread(shape, low, high, 0.61, grad)


def u(*shape, low=-2.0, high=2.0, grad=True):
    return spread(shape, low, high, 0.83, grad)


def z(*shape, low=-1.0, high=1.0, phase=0.37):
    """A complex tensor, off the axes, where functions have their cuts."""
    real, imag = spread(shape, low, high, phase, False), spread(shape, 0.2, 1.1, phase + 0.13, False).flip(-1)
    return torch.complex(real, imag).requires_grad_()


def w(*shape):
    return z(*shape, phase=0.71)


def ints(*values):
    return torch.tensor(values)


def mask(*shape):
    """True at every third place."""
    count = torch.zeros(shape).numel()
    return torch.tensor([i % 3 == 0 for i in range(count)]).reshape(shape)


def positive(*shape):
    """Positive numbers."""
    return x(*shape, low=0.3, high=2.2)


#: Intervals of real arguments of pointwise operators that are not defined, or not smooth, on (-2, 2).
DOMAINS = {
    "log": (0.2, 3.0), "log2": (0.2, 3.0), "log10": (0.2, 3.0), "log1p": (-0.8, 2.0), "sqrt": (0.2, 3.0),
    "rsqrt": (0.2, 3.0), "asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "acosh": (1.2, 3.0), "atanh": (-0.9, 0.9),
    "erfinv": (-0.9, 0.9), "special_ndtri": (0.1, 0.9), "special_entr": (0.2, 2.0), "lgamma": (0.2, 3.0),
    "digamma": (0.2, 3.0), "xlogy": (0.2, 3.0), "special_xlog1py": (0.2, 3.0), "special_zeta": (1.4, 4.0),
    "igamma": (0.4, 3.0), "igammac": (0.4, 3.0), "tan": (-1.2, 1.2), "remainder": (0.6, 3.0), "fmod": (0.6, 3.0),
    "true_divide": (0.6, 3.0), "hardswish": (-4.0, 4.0), "hardsigmoid": (-4.0, 4.0),
}  # fmt: skip

#: Pointwise operators that take complex numbers.
COMPLEX = frozenset(
    """
    mul true_divide sgn reciprocal exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sigmoid sin cos tan asin acos atan
    sinh cosh tanh asinh acosh atanh sinc conj_physical angle addcmul
    """.split()
)

#: Values of the numbers that a signature asks for.
NUMBERS = {
    "negative_slope": 0.1, "alpha": 1.4, "scale": 1.2, "input_scale": 0.8, "min_val": -0.9, "max_val": 0.8,
    "threshold": 0.1, "lambd": 0.5, "beta": 1.3, "value": 0.7,
}  # fmt: skip


def parameters(signature):
    """(kind, name) of the parameters before `out`."""
    inside = signature[signature.index("(") + 1 : signature.rindex(")")].partition(") ->")[0]
    found = []
    for part in inside.split(", "):
        kind, _, name = part.partition("=")[0].partition(" ")
        if name and name != "out":
            found.append((kind, name))
    return found


def from_signature(name, record):
    """Calls of a pointwise operator: real operands of one shape, broadcast ones, complex ones."""
    low, high = DOMAINS.get(name, (-2.0, 2.0))
    differentiable = {n.strip() for key, rule in record.vjp.items() if rule for n in key.split(",")}
    makers = []
    for kind, parameter in parameters(record.signature):
        if kind in ("Tensor", "Operand"):
            makers.append(parameter)
        elif kind != "Scalar":
            raise LookupError(f"{name}: no sample for {kind} {parameter}")
    phases = (0.37, 0.61, 0.83, 0.19)

    def operands(shapes):
        return [
            spread(shape, low, high, phase, parameter in differentiable)
            for parameter, shape, phase in zip(makers, shapes, phases, strict=False)
        ]

    numbers = [NUMBERS[p] for kind, p in parameters(record.signature) if kind == "Scalar" and p != "value"]
    calls = [Call(*operands([(2, 3)] * len(makers)), *numbers)]
    if "threshold" == name:
        return [Call(x(2, 3), 0.1, 0.7)]
    if "value=" in record.signature:
        calls.append(Call(*operands([(2, 3)] * len(makers)), value=NUMBERS["value"]))
    if len(makers) > 1:
        calls.append(Call(*operands([(2, 3), (3,), (2, 1)]), *numbers))
    if name in COMPLEX:
        calls.append(Call(*(z(4, phase=phase) for phase, _ in zip(phases, makers, strict=False)), *numbers))
    return calls


def reductions(*, dims=True, **more):
    calls = [Call(x(2, 3), **more), Call(x(3), **more)]
    if dims:
        calls += [Call(x(2, 3), dim=1, **more), Call(x(2, 3), dim=-2, keepdim=True, **more)]
    return calls


def with_dim(*extra):
    return [Call(x(2, 3), *extra, dim=0), Call(x(2, 3), *extra, dim=1, keepdim=True)]


INDEX = ((0, 1, 1), (1, 0, 1))  # of a (2, 3) tensor along dimension 0


def scatters(*, repeated=True, **more):
    index = torch.tensor(INDEX if repeated else ((0, 1, 1), (1, 0, 0)))
    return [Call(x(2, 3), 0, index, y(2, 3), **more)]


def moments(name):
    if name.endswith(".correction"):
        return [
            Call(x(2, 3)),
            Call(x(2, 3), 1, correction=0),
            Call(x(2, 3), (0, 1), correction=2, keepdim=True),
        ]
    if name.endswith(".dim"):
        return [Call(x(2, 3), 1), Call(x(2, 3), 0, False, True)]
    return [Call(x(2, 3)), Call(x(4), False)]


def products():
    a, b = (2, 3), (3, 2)
    return {
        "mm": lambda: [Call(x(*a), y(*b)), Call(z(*a), w(*b))],
        "bmm": lambda: [Call(x(2, *a), y(2, *b)), Call(z(1, *a), w(1, *b))],
        "mv": lambda: [Call(x(*a), y(3)), Call(z(*a), w(3))],
        "dot": lambda: [Call(x(3), y(3)), Call(z(3), w(3))],
        "vdot": lambda: [Call(x(3), y(3)), Call(z(3), w(3))],
        "matmul": lambda: (
            [
                Call(x(*p), y(*q))
                for p, q in [
                    (a, b),
                    ((3,), (3,)),
                    (a, (3,)),
                    ((3,), b),
                    ((2, 1, 2, 3), b),
                    ((2, 2, 3), (2, 3, 1)),
                    ((3,), (2, 3, 2)),
                ]
            ]
            + [Call(z(*a), w(*b))]
        ),
        "linear": lambda: [
            Call(x(2, 3), y(2, 3)),
            Call(x(2, 1, 3), y(2, 3), u(2)),
            Call(x(3), y(2, 3), u(2)),
            Call(z(2, 3), w(2, 3)),
        ],
        "addmm": lambda: [
            Call(u(2, 2), x(*a), y(*b)),
            Call(u(2), x(*a), y(*b), beta=0.5, alpha=2.0),
            Call(z(2, 2), w(*a), z(*b)),
        ],
        "addmv": lambda: [Call(u(2), x(*a), y(3)), Call(u(1), x(*a), y(3), beta=0.5, alpha=2.0)],
        "baddbmm": lambda: [
            Call(u(2, 2, 2), x(2, *a), y(2, *b)),
            Call(u(2), x(2, *a), y(2, *b), beta=0.5, alpha=2.0),
        ],
        "addbmm": lambda: [
            Call(u(2, 2), x(2, *a), y(2, *b)),
            Call(u(2), x(2, *a), y(2, *b), beta=0.5, alpha=2.0),
        ],
    }


def layer_norm(**options):
    return [Call(x(2, 3), [3], y(3, **options), u(3, **options), 1e-3)]


# fmt: off
SAMPLES = {
    # arithmetic
    "add": lambda: [
        Call(x(2, 3), y(3)), Call(x(2, 3), y(2, 1), alpha=2.5), Call(z(2), w(2), alpha=1j),
        Call(x(2), 3)
    ],
    "sub": lambda: [
        Call(x(2, 3), y(3)), Call(x(2, 3), y(2, 1), alpha=2.5), Call(z(2), w(2), alpha=1j),
        Call(3, x(2))
    ],
    "div": lambda: [
        Call(x(2, 3), positive(3)), Call(x(2, 3), positive(2, 1), rounding_mode="floor"), Call(2.0, positive(3)),
        Call(x(2, 3), positive(3), rounding_mode="trunc"), Call(z(3), w(3)),
    ],
    "pow": lambda: [
        Call(positive(2, 3), y(3)), Call(x(3), 3), Call(x(3), 2), Call(2.5, y(3)), Call(positive(3), 0.5),
        Call(z(3), w(3)), Call(z(3), 2),
        Call(x(3), 0), Call(x(3), -2),
    ],
    "neg": lambda: [Call(x(2, 3)), Call(z(3))],
    "abs": lambda: [Call(x(2, 3)), Call(z(3))],
    "frexp": lambda: [Call(x(2, 3))],
    "maximum": lambda: [Call(x(2, 3), y(3))],
    "minimum": lambda: [Call(x(2, 3), y(3))],
    "clamp": lambda: [
        Call(x(2, 3), -0.5, 0.8), Call(x(2, 3), min=-0.5), Call(x(2, 3), max=0.5),
        Call(x(2, 3), y(3, low=-1.0, high=-0.3), u(2, 1, low=0.3, high=1.0)),
    ],
    "clamp_min": lambda: [Call(x(2, 3), -0.5), Call(x(2, 3), y(3))],
    "clamp_max": lambda: [Call(x(2, 3), 0.5), Call(x(2, 3), y(3))],
    "where": lambda: [Call(mask(2, 3), x(2, 3), y(3)), Call(mask(3), x(2, 3), 2.0), Call(mask(2), z(2), w(2))],
    "where.method": lambda: [Call(x(2, 3), mask(3), y(2, 1))],
    "masked_fill": lambda: [Call(x(2, 3), mask(3), 2.0), Call(x(2, 3), mask(2, 3), y())],
    "round": lambda: [Call(x(2, 3)), Call(x(2, 3), decimals=1)],
    "_nan_to_num": lambda: [Call(x(2, 3), 0.0, 1.0, -1.0)],
    "gelu": lambda: [Call(x(2, 3)), Call(x(2, 3), approximate="tanh")],
    "gelu_backward": lambda: [Call(y(2, 3), x(2, 3)), Call(y(2, 3), x(2, 3), approximate="tanh")],
    "logit": lambda: [Call(x(2, 3, low=0.1, high=0.9)), Call(x(2, 3, low=0.1, high=0.9), 0.25)],
    "polygamma": lambda: [Call(n, positive(2, 3)) for n in (1, 2)],
    "addcdiv": lambda: [Call(x(2, 3), y(3), positive(2, 1)), Call(x(2, 3), y(2, 3), positive(2, 3), value=0.7)],
    "lerp": lambda: [Call(x(2, 3), y(3), 0.3), Call(x(2, 3), y(2, 3), u(2, 1)), Call(z(2), w(2), 0.7)],
    "view_as_real": lambda: [Call(z(2, 3))],
    "view_as_complex": lambda: [Call(x(3, 2))],
    "complex": lambda: [Call(x(2, 3), y(2, 3))],
    "polar": lambda: [Call(positive(2, 3), y(2, 3))],
    # copies and views
    "fill_": lambda: [Call(x(2, 3), 2.0)],
    "zero_": lambda: [Call(x(2, 3))],
    "copy_": lambda: [Call(x(2, 3), y(2, 3)), Call(x(2, 3), y(3))],
    "clone": lambda: [Call(x(2, 3)), Call(z(2))],
    "contiguous": lambda: [Call(x(2, 3)), Call(x(1, 2, 2, 2), memory_format=torch.channels_last)],
    "_to": lambda: [Call(x(2, 3), complex128), Call(x(2, 3), copy=True), Call(z(2), complex128, copy=True)],
    "to": lambda: [Call(x(2, 3), None, complex128)],
    "to.dtype": lambda: [Call(x(2, 3), double, copy=True), Call(z(3), double)],
    "to.other": lambda: [Call(x(2, 3), torch.zeros(1, dtype=complex128))],
    "type_as": lambda: [Call(x(2, 3), torch.zeros(1, dtype=complex128))],
    "double": lambda: [Call(x(2, 3)), Call(z(3))],
    "cdouble": lambda: [Call(x(2, 3))],
    "cpu": lambda: [Call(x(2, 3))],
    "as_strided": lambda: [Call(x(2, 3), [2, 2], [1, 2], 1), Call(x(2, 3), [3, 2], [1, 1])],
    "view": lambda: [Call(x(2, 3), [3, -1])],
    "reshape": lambda: [Call(x(2, 3), [-1])],
    "permute": lambda: [Call(x(2, 3, 1), [2, 0, 1])],
    "transpose": lambda: [Call(x(2, 3), 0, -1)],
    "t": lambda: [Call(x(2, 3)), Call(x(3))],
    "expand": lambda: [Call(x(3, 1), [2, -1, 2])],
    "select": lambda: [Call(x(2, 3), 1, -1)],
    "slice": lambda: [Call(x(2, 3), 1, 0, 3, 2), Call(x(4), 0, -3)],
    "narrow": lambda: [Call(x(2, 3), 1, 1, 2)],
    "narrow.Tensor": lambda: [Call(x(3, 4), 1, torch.tensor(1), 2)],
    "unsqueeze": lambda: [Call(x(2, 3), -2)],
    "squeeze": lambda: [Call(x(1, 3, 1)), Call(x(1, 3, 1), -1)],
    "unfold": lambda: [Call(x(5), 0, 3, 1), Call(x(2, 4), 1, 2, 2)],
    "diagonal": lambda: [Call(x(3, 3)), Call(x(2, 3, 2), 1, 0, 2)],
    "alias": lambda: [Call(x(2, 3))],
    "unbind": lambda: [Call(x(2, 3), 1)],
    "split_with_sizes": lambda: [Call(x(2, 3), [1, 2], 1)],
    "unsafe_split_with_sizes": lambda: [Call(x(2, 3), [1, 2], 1)],
    "_as_strided_": lambda: [Call(x(2, 3), [2, 2], [1, 2], 1, [2, 3], [3, 1], 0)],
    "transpose_": lambda: [Call(x(2, 3), 0, 1)],
    "unsqueeze_": lambda: [Call(x(2, 3), 1)],
    # indexing
    "index": lambda: [
        Call(x(3, 2), [ints(0, 2, 0)]), Call(x(3, 2), [None, ints(1, 1)]),
        Call(x(2, 3), [mask(2, 3)])
    ],
    "index_put_": lambda: [Call(x(3, 2), [ints(2, 0)], y(2, 2)), Call(x(3, 2), [ints(0, 2, 0)], y(2), True)],
    "gather": lambda: [Call(x(2, 3), 1, ints([0, 2, 0], [1, 1, 2]))],
    "scatter.src": lambda: scatters(repeated=False),
    "scatter.value": lambda: [Call(x(2, 3), 1, ints([0], [2]), 1.5)],
    "scatter.reduce": lambda: scatters(reduce="add"),
    "scatter.value_reduce": lambda: [Call(x(2, 3), 1, ints([0], [2]), 1.5, reduce="add")],
    "scatter_add": scatters,
    "scatter_reduce": lambda: [
        c for r in ("sum", "prod", "mean", "amax", "amin") for own in (True, False)
        for c in scatters(reduce=r, include_self=own)
    ],
    "index_select": lambda: [Call(x(2, 3), 1, ints(2, 0, 2))],
    "index_add": lambda: [
        Call(x(2, 3), 1, ints(2, 0, 2), y(2, 3)),
        Call(x(2, 3), 0, ints(1), y(1, 3), alpha=0.5)
    ],
    "index_copy": lambda: [Call(x(2, 3), 1, ints(2, 0), y(2, 2))],
    "index_reduce": lambda: [
        Call(x(2, 3), 1, ints(2, 0, 2), y(2, 3), r, include_self=own)
        for r in ("prod", "mean", "amax", "amin") for own in (True, False)
    ],
    "index_fill": lambda: [Call(x(2, 3), 1, ints(2, 0), 1.5), Call(x(2, 3), 1, ints(2), y())],
    "take": lambda: [Call(x(2, 3), ints(5, 0, 5))],
    "put": lambda: [Call(x(2, 3), ints(5, 0), y(2)), Call(x(2, 3), ints(5, 0, 5), y(3), True)],
    "masked_select": lambda: [Call(x(2, 3), mask(2, 3)), Call(x(2, 3), mask(3))],
    "masked_scatter": lambda: [Call(x(2, 3), mask(2, 3), y(5))],
    # joining and moving
    "cat": lambda: [Call([x(2, 3), y(2, 1)], 1), Call([x(2), z(1)], 0)],
    "stack": lambda: [Call([x(2, 3), y(2, 3)], 1)],
    "repeat": lambda: [Call(x(2, 3), [2, 1, 2])],
    "flip": lambda: [Call(x(2, 3), [0, 1])],
    "roll": lambda: [Call(x(2, 3), 2), Call(x(2, 3), [1, -1], [0, 1])],
    "constant_pad_nd": lambda: [Call(x(2, 3), [1, 2, 0, 1], 0.5), Call(x(2, 3), [-1, 1])],
    "tril": lambda: [Call(x(3, 3)), Call(x(2, 2, 3), 1)],
    "triu": lambda: [Call(x(3, 3)), Call(x(2, 2, 3), -1)],
    # reductions
    "sum": lambda: [*reductions(), Call(z(3))],
    "nansum": reductions,
    "mean": lambda: [*reductions(), Call(z(3))],
    "prod": lambda: [
        *reductions(), Call(z(3)),
        Call(torch.tensor([1.0, 0.0, 2.0], dtype=double, requires_grad=True))
    ],
    "max": lambda: reductions(dims=False),
    "min": lambda: reductions(dims=False),
    "max.dim": with_dim,
    "min.dim": with_dim,
    "amax": lambda: [*reductions(), Call(x(2, 3), dim=(0, 1))],
    "amin": lambda: [*reductions(), Call(x(2, 3), dim=(0, 1))],
    "aminmax": reductions,
    **{
        name: lambda name=name: moments(name)
        for base in ("var", "std", "var_mean", "std_mean")
        for name in (base, base + ".dim", base + ".correction")
    },
    "linalg_vector_norm": lambda: [
        Call(x(2, 3), order, dim) for order in (2, 1, 3, 0.5, float("inf"), -float("inf"), 0) for dim in (None, 1)
    ] + [Call(x(2, 3), keepdim=True), Call(z(3))],
    "cumsum": lambda: [Call(x(2, 3), 1), Call(x(2, 3), 0)],
    "cumprod": lambda: [
        Call(x(2, 3), 1),
        Call(torch.tensor([1.0, 0.0, 2.0], dtype=double, requires_grad=True), 0)
    ],
    "logcumsumexp": lambda: [Call(x(2, 3), 1)],
    "cummax": lambda: [Call(x(2, 3), 1)],
    "cummin": lambda: [Call(x(2, 3), 1)],
    # by rank
    "sort": lambda: [Call(x(2, 3)), Call(x(2, 3), 0, True)],
    "topk": lambda: [Call(x(2, 3), 2), Call(x(2, 3), 1, 0, False)],
    "kthvalue": lambda: [Call(x(2, 3), 2), Call(x(2, 3), 1, 0, True)],
    "median": lambda: reductions(dims=False),
    "nanmedian": lambda: reductions(dims=False),
    "median.dim": with_dim,
    "nanmedian.dim": with_dim,
    "mode": with_dim,
    **products(),
    # networks
    "convolution": lambda: [
        Call(x(1, 2, 5), y(2, 2, 3), u(2), [1], [1], [1], False, [0], 1),
        Call(x(1, 2, 5), y(2, 1, 2), None, [2], [0], [2], False, [0], 2),
        Call(x(1, 1, 3, 4), y(1, 1, 2, 2), u(1), [1, 2], [0, 1], [1, 1], False, [0, 0], 1),
        Call(x(1, 2, 3), y(2, 1, 2), u(1), [2], [1], [1], True, [1], 1),
        Call(x(1, 1, 2, 2, 3), y(1, 1, 1, 2, 2), None, [1, 1, 1], [0, 0, 0], [1, 1, 1], False, [0, 0, 0], 1),
    ],
    "_convolution_weight": lambda: [Call(x(1, 2, 5), y(1, 2, 5), [2, 2, 3], [1], [1], [1], 1)],
    "_scaled_dot_product_flash_attention_for_cpu": lambda: [
        Call(x(2, 3, 2), y(2, 4, 2), u(2, 4, 3), None, True, 0.7),
        Call(x(3, 2), y(4, 2), u(4, 2), x(3, 4, grad=False), False, -0.4),
    ],
    "softmax": lambda: [Call(x(2, 3), 1), Call(x(2, 3), 0)],
    "log_softmax": lambda: [Call(x(2, 3), 1), Call(x(2, 3), 0)],
    "_softmax_backward": lambda: [Call(y(2, 3), x(2, 3), 1)],
    "_log_softmax_backward": lambda: [Call(y(2, 3), x(2, 3), 1)],
    "native_layer_norm": lambda: [*layer_norm(), Call(x(2, 3), [3], None, None, 1e-3)],
    "_rms_norm": lambda: [Call(x(2, 3), [3], y(3), 1e-3), Call(x(2, 3), [3], None, 1e-3)],
    "native_group_norm": lambda: [
        Call(x(2, 4, 3), y(4), u(4), 2, 4, 3, 2, 1e-3), Call(x(1, 2, 2, 2), None, None, 1, 2, 4, 1, 1e-3),
    ],
    "_batch_norm": lambda: [
        Call(x(3, 2), y(2), u(2), None, None, True, 0.1, 1e-3), Call(x(2, 2, 2), None, None, None, None, True, 0.1, 1e-3),
        Call(x(3, 2), y(2), u(2), y(2, grad=False), u(2, low=0.5, grad=False), False, 0.1, 1e-3),
    ],
    "_max_pool_backward": lambda: [Call(y(1, 1, 2), ints([[1, 2]]), [1, 1, 4], 1)],
    "_max_pool_with_indices": lambda: [
        Call(x(1, 2, 5), [2], [2], [1], [1], True),
        Call(x(1, 1, 3, 4), [2, 2], [1, 2], [0, 1], [1, 1], False)
    ],
    "_adaptive_max_pool_with_indices": lambda: [Call(x(1, 2, 5), [3])],
    "_avg_pool": lambda: [
        Call(x(1, 2, 5), [2], [2], [1], True, True, None), Call(x(1, 1, 3, 4), [2, 2], [1, 2], [0, 1], False, False, None),
        Call(x(1, 1, 4), [2], [2], [0], False, True, 3),
    ],
    "_avg_pool_backward": lambda: [Call(y(1, 2, 2), [1, 2, 4], [2], [2], [0], False, True, None)],
    "_adaptive_avg_pool": lambda: [Call(x(1, 2, 5), [3]), Call(x(1, 1, 3, 4), [2, 2])],
    "_adaptive_avg_pool_backward": lambda: [Call(y(1, 2, 3), [1, 2, 5], [3])],
    "grid_sampler_2d": lambda: [
        Call(x(1, 2, 3, 4), y(1, 2, 3, 2, low=-1.3, high=1.3), mode, padding, align)
        for mode, padding, align in ((0, 0, False), (0, 1, True), (0, 2, False), (2, 0, True), (2, 1, False), (2, 2, False))
    ],
    "grid_sampler_3d": lambda: [Call(x(1, 2, 2, 3, 2), y(1, 2, 1, 2, 3, low=-1.3, high=1.3), 0, 2, False)],
    "_grid_sampler_backward": lambda: [
        Call(u(1, 2, 2, 3), x(1, 2, 3, 4), y(1, 2, 3, 2, low=-1.3, high=1.3), mode, padding, False)
        for mode, padding in ((0, 0), (2, 2))
    ],
    "_cdist": lambda: [Call(x(2, 3, 2), y(2, 4, 2), p) for p in (1.0, 2.0, 1.5, 3.0)] + [Call(x(3, 2), y(2, 2), 2.0)],
    "_pdist": lambda: [Call(x(4, 2), p) for p in (1.0, 2.0, 3.0)],
    "_fold": lambda: [
        Call(x(1, 8, 4), [4, 4], [2, 2], [1, 1], [0, 0], [2, 2]),
        Call(x(2, 4, 6), [2, 3], [2, 2], [1, 2], [1, 1], [1, 2]),
    ],
    "_unfold": lambda: [Call(x(1, 2, 3, 4), [2, 2], [1, 2], [1, 0], [1, 2])],
    "_fractional_max_pool": lambda: [Call(x(1, 2, 5, 4), [2, 2], [3, 2], spread((1, 2, 2), 0.1, 0.9, grad=False))],
    "_resize": lambda: [
        Call(x(1, 2, 3), [5], "linear", False, False, [0.0]), Call(x(1, 1, 3, 4), [2, 5], "cubic", True, False, [0.0, 0.0]),
        Call(x(1, 2, 4, 3), [3, 5], "linear", False, True, [0.0, 1.7]),
        Call(x(1, 1, 2, 3, 2), [3, 2, 4], "nearest", False, False, [0.0, 0.0, 0.0]),
    ],
    "_resize_backward": lambda: [Call(y(1, 2, 5, 2), [1, 2, 3, 3], "linear", False, False, [0.0, 0.0])],
    "nll_loss_forward": lambda: [
        Call(x(3, 3), ints(0, 2, 1), weight, r, 1)
        for weight in (None, positive(3).detach()) for r in (0, 1, 2)
    ],
    "nll_loss_backward": lambda: [Call(y(), x(3, 3, grad=False), ints(0, 2, 1), None, 1, 1)],
    "_binary_cross_entropy": lambda: [Call(x(2, 3, low=0.1, high=0.9), x(2, 3, low=0.1, high=0.9))],
    "_difference_loss": lambda: [
        Call(x(2, 3), y(2, 3), kind, 0.7, r) for kind in range(4) for r in range(3)
    ],
    "_difference_loss_backward": lambda: [
        Call(y(2, 3) if r == 0 else y(), x(2, 3), y(2, 3), kind, 0.7, r) for kind in range(4) for r in range(3)
    ],
    "_cross_entropy": lambda: [
        Call(x(3, 3), ints(0, 2, 1), weight, r, 1)
        for weight in (None, positive(3).detach()) for r in (0, 1, 2)
    ],
    "_recurrent": lambda: [
        Call(0, x(3, 2, 2), y(2, 2), u(2, 2), x(8, 2), y(8, 2), None, None, None, False),
        Call(0, x(4, 2), y(2, 2), u(2, 2), x(8, 2), y(8, 2), u(8), x(8), ints(2, 1, 1), True),
        Call(1, x(2, 1, 3), y(1, 2), None, u(6, 3), x(6, 2), y(6), u(6), None, True),
        Call(1, x(5, 3), y(2, 2), None, u(6, 3), x(6, 2), y(6), None, ints(2, 2, 1), False),
        Call(2, x(3, 2), y(3, 2), None, u(2, 2), x(2, 2), y(2), u(2), None, False),
        Call(3, x(3, 1, 2), y(1, 3), None, u(3, 2), x(3, 3), y(3), u(3), None, False),
    ],
    "embedding_dense_backward": lambda: [Call(y(3, 2), ints(0, 2, 0), 3, -1, False)],
    "embedding": lambda: [Call(x(3, 2), ints([0, 2], [2, 2])), Call(x(3, 2), ints(0, 2, 2), 1)],
    "_embedding_bag": lambda: [
        Call(x(4, 2), ints(0, 2, 2, 3, 1), ints(0, 2, 2), by_frequency, mode, False, samples, last, padding)
        for by_frequency, mode, samples, last, padding in (
            (False, 0, None, False, -1), (False, 0, y(5), True, 2), (False, 1, None, False, 3), (False, 2, None, False, -1)
        )
    ],
    "_embedding_bag_backward": lambda: [
        Call(y(2, 2), ints(0, 2, 2, 1), ints(0, 0, 1, 1), ints(2, 2), ints(0)[:0], 3, by_frequency, mode, samples, -1)
        for by_frequency, mode, samples in ((True, 1, None), (False, 0, u(4)))
    ] + [Call(y(2, 2), ints(0, 2, 2, 1), ints(0, 0, 1, 1), ints(2, 2), ints([0, 2], [2, 1]), 3, False, 2, None, -1)],
}
# fmt: on

#: Operators that draw random numbers: what is drawn does not depend on the input, or is not smooth in it.
RANDOM = {
    "normal.Tensor_float": lambda: (x(3), 0.5),
    "normal.float_Tensor": lambda: (0.5, positive(3)),
    "normal.Tensor_Tensor": lambda: (x(3), positive(3)),
    "bernoulli": lambda: (x(3, low=0.1, high=0.9),),
    "bernoulli.p": lambda: (x(3), 0.5),
    "poisson": lambda: (positive(3),),
    "binomial": lambda: (positive(3).detach().round(), x(3, low=0.1, high=0.9)),
    **dict.fromkeys(
        "uniform_ normal_ exponential_ cauchy_ log_normal_ random_ bernoulli_.float".split(), lambda: (x(3),)
    ),
    "geometric_": lambda: (x(3), 0.5),
    "random_.to": lambda: (x(3), 5),
    "random_.from": lambda: (x(3), 2, 5),
    "bernoulli_.Tensor": lambda: (x(3), y(3, low=0.1, high=0.9)),
}

#: Operators whose first output alone is differentiated: the others are kept for the backward pass.
FIRST_OUTPUT = frozenset(
    """
    _recurrent native_layer_norm native_group_norm _rms_norm _batch_norm _cross_entropy nll_loss_forward
    _scaled_dot_product_flash_attention_for_cpu _embedding_bag _fractional_max_pool
    """.split()
)

#: Operators whose derivative cannot be checked alone, and why.
CHECKED_ELSEWHERE = {
    "_standard_gamma": "a draw moves with its parameter: see tests/test_sampling_derivatives.py",
    "_cdist_backward": "its arguments depend on each other: the second derivative of _cdist",
    "_pdist_backward": "its arguments depend on each other: the second derivative of _pdist",
    "_scaled_dot_product_flash_attention_for_cpu_backward": "its arguments depend on each other: the second derivative of "
    "_scaled_dot_product_flash_attention_for_cpu",
    "native_layer_norm_backward": "its arguments depend on each other: the second derivative of native_layer_norm",
    "native_group_norm_backward": "its arguments depend on each other: the second derivative of native_group_norm",
    "_rms_norm_backward": "its arguments depend on each other: the second derivative of _rms_norm",
    "native_batch_norm_backward": "its arguments depend on each other: the second derivative of _batch_norm",
    **dict.fromkeys(
        ("_ctc_loss", "_ctc_loss.Tensor"),
        "the gradient is that for log_softmax, and is not differentiable: see tests/nn/test_ctc.py",
    ),
    "_recurrent_backward": "its arguments depend on each other: the second derivative of _recurrent",
    "_cross_entropy_backward": "its arguments depend on each other: the second derivative of _cross_entropy",
    **dict.fromkeys(
        "linalg_cholesky_ex linalg_lu_factor_ex linalg_qr _linalg_solve_triangular _linalg_solve _linalg_lu_solve "
        "_linalg_ldl_solve _linalg_eigh _linalg_eig _linalg_svd".split(),
        "what is determined of the results, of suitable matrices: tests/test_decompositions.py",
    ),
    **dict.fromkeys(
        ("_fft_c2c", "_fft_r2c", "_fft_c2r"), "by the public functions, in tests/test_fourier.py"
    ),
    **dict.fromkeys(
        "float half bfloat16 bool byte char short int long chalf cfloat".split(),
        "the result is too coarse for finite differences; the rule is that of `double`",
    ),
}

#: Operators without a rule that take floating-point tensors and return them, and why there is none.
WITHOUT_RULE = {
    "detach": "cuts the graph",
    **dict.fromkeys(
        "empty_like zeros_like ones_like full_like rand_like randn_like randint_like randint_like.low new_empty new_zeros "
        "new_ones new_full new_empty_strided new_tensor".split(),
        "only shape and dtype of the input enter",
    ),
    **dict.fromkeys(
        "gcd lcm bitwise_and __and__ bitwise_or __or__ bitwise_xor __xor__ bitwise_left_shift __lshift__ "
        "bitwise_right_shift __rshift__ bitwise_not _repeat_interleave_index".split(),
        "takes integers",
    ),
    **dict.fromkeys("nonzero where.positions _multinomial_replacement".split(), "returns indices"),
    **dict.fromkeys("resize_ resize_as_ _set_storage".split(), "changes which memory the tensor shows"),
    "view.dtype": "reads the bytes as another dtype",
    "_unique_rows": "equal rows are one: the caller refuses tensors that require gradients",
}


def calls(name, record):
    """The calls at which an operator is checked."""
    made = SAMPLES.get(name)
    if made is not None:
        return made()
    if record.family == "pointwise":
        return from_signature(name, record)
    raise LookupError(f"{name}: add arguments for it to tests/gradient_samples.py")
