"""What the comparison leaves out or loosens, each with its reason. Nothing else is skipped."""

from fnmatch import fnmatchcase

# Operators (patterns) that are not compared at all.
OPERATORS = {
    "jiterator_*": "compiles CUDA source; PyTorch has it on CUDA devices only",
}

# Operators whose gradients are not compared; all else about them is.
GRADIENTS = {
    "as_strided_scatter": "PyTorch's gradient of the input is wrong: one where elements were replaced, zero elsewhere",
    "istft": "PyTorch gives no gradient for a window that is a view made without recording, and gives one for its copy",
}

# Operators whose messages are not compared; the kinds of their errors are.
MESSAGES = {
    "narrow_copy": "PyTorch's message for a wrong dimension is the source text of an assertion",
}

# Operators whose `out=` with strides of its own is not compared.
STRIDED_OUT = {
    "narrow_copy": "PyTorch writes it as if it were contiguous",
    "nn.functional.avg_pool3d": "PyTorch writes it as if it were contiguous",
}

# Operators whose `out=` is not compared; all else about them is.
OUT = {
    "fft.ihfft2": "PyTorch gives an `out` back empty when one dimension is transformed",
    "fft.ihfftn": "PyTorch gives an `out` back empty when one dimension is transformed",
}

# Uninitialised memory: sizes, strides and dtype are compared, values are not.
UNDEFINED_VALUES = {
    "empty",
    "empty_like",
    "empty_strided",
    "empty_permuted",
    "new_empty",
    "new_empty_strided",
}

# Operators that draw random numbers: the values have to be equal exactly under the same seed.
RANDOM = {
    "bernoulli",
    "cauchy",
    "exponential",
    "geometric",
    "log_normal",
    "multinomial",
    "normal",
    "nn.functional.alpha_dropout",
    "nn.functional.dropout",
    "nn.functional.dropout2d",
    "nn.functional.dropout3d",
    "nn.functional.feature_alpha_dropout",
    "nn.functional.fractional_max_pool2d",
    "nn.functional.fractional_max_pool3d",
    "nn.functional.rrelu",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "uniform",
}


def reason(name: str) -> str | None:
    """Why the operator is left out; None if it is not."""
    return next((text for pattern, text in OPERATORS.items() if fnmatchcase(name, pattern)), None)


# Modules and optimizers that are not compared at all.
MODULES: dict[str, str] = {}
OPTIMIZERS: dict[str, str] = {}
# (rtol, atol) of paths on which roundings grow, by optimizer and dtype. In float64 the algorithm is compared tightly.
_GROWING = {
    "Muon": ("float32 float64", 1e-5),  # products in bfloat16, whose sums round differently in another order
    "LBFGS": ("float32 complex64", 1e-2),  # its estimate of curvature divides differences of nearby gradients
    "RMSprop": ("complex64", 1e-3),  # centered: divides by the root of a difference of nearby numbers
}
OPTIMIZER_TOLERANCES = {
    (name, f"torch.{dtype}"): (rtol, rtol / 10)
    for name, (dtypes, rtol) in _GROWING.items()
    for dtype in dtypes.split()
}

# Options besides the database's.
OPTIMIZER_OPTIONS = {
    "LBFGS": {"max_iter": 2},  # with its 20 it has converged after a step, and the rest of the path is noise
}
