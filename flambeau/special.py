"""Special functions under PyTorch's names in `torch.special`."""

import flambeau

from ._ops import registry

#: Functions that the main namespace has too: {name here: name there}.
_SHARED = {
    "expit": "sigmoid",
    "gammaln": "lgamma",
    "psi": "digamma",
    "multigammaln": "mvlgamma",
    "gammainc": "igamma",
    "gammaincc": "igammac",
    **{
        name: name
        for name in (
            "digamma erf erfc erfinv exp2 expm1 i0 log1p log_softmax logit logsumexp polygamma round sinc softmax xlogy"
        ).split()
    },
}
_OWN = {
    name.removeprefix("special_"): record.op
    for name, record in registry.records.items()
    if name.startswith("special_")
}

__all__ = sorted([*_SHARED, *_OWN])

globals().update(_OWN)


def __getattr__(name):
    if name not in _SHARED:
        raise AttributeError(f"module 'torch.special' has no attribute '{name}'")
    value = getattr(flambeau, _SHARED[name])
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
