"""The operators, by family."""

from . import registry

_FAMILIES = (
    "arithmetic",
    "comparison",
    "logical",
    "rounding",
    "activation",
    "exponential",
    "trigonometric",
    "special",
    "polynomials",
    "complex",
    "ternary",
    "creation",
    "conversion",
    "windows",
    "views",
    "indexing",
    "joining",
    "shape",
    "vector_products",
    "reduce",
    "linalg",
    "scaled_products",
    "grouped_products",
    "factorizations",
    "solvers",
    "spectral",
    "matrix_functions",
    "fourier",
    "conv",
    "random",
    "softmax",
    "attention",
    "norm",
    "pooling",
    "folding",
    "resizing",
    "sampling",
    "loss",
    "embedding",
    "recurrent",
    "ctc",
    "optim",
    "select",
    "statistics",
    "segments",
    "hashing",
    "distance",
)


def load():
    """Read every family's records, install the methods and return the public functions: {name: callable}."""
    for family in _FAMILIES:
        __import__(f"{__name__}.{family}")
    __import__(f"{__name__}.stored_only")
    registry.install_methods()
    return registry.collect(registry.functions)
