"""`torch.masked`: reductions and normalizations that leave elements out.

`mask` is True where an element counts; it broadcasts to the input and has no more dimensions than that. Elements left out
take part as the operation's identity, so that a slice without any element that counts gives the identity (0 for `sum`,
-inf for `amax`), or nan where there is none (`mean`).
"""

from ._ops import (
    amax,
    amin,
    argmax,
    argmin,
    cumprod,
    cumsum,
    log_softmax,
    logaddexp,
    logsumexp,
    mean,
    median,
    norm,
    normalize,
    prod,
    softmax,
    softmin,
    std,
    sum,
    var,
)

__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "mean",
    "median",
    "norm",
    "normalize",
    "prod",
    "softmax",
    "softmin",
    "std",
    "sum",
    "var",
]
