"""What ``import functorch`` gives: `flambeau.func` under its older name, and modules as functions in their older form."""

from __future__ import annotations

import copy
import functools
import warnings

import flambeau
from flambeau import func, nn
from flambeau.version import __version__

__all__ = [
    "FunctionalModule",
    "FunctionalModuleWithBuffers",
    "__version__",
    "combine_state_for_ensemble",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "make_functional",
    "make_functional_with_buffers",
    "vjp",
    "vmap",
]


def _older(name, function, instead):
    """`function`, which says at each call what to use instead."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        warnings.warn(
            f"`functorch.{name}` is deprecated as of PyTorch 2.0. Please use `{instead}` instead.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    return wrapper


class FunctionalModule(nn.Module):
    """A module as a function of its parameters and inputs: see `make_functional`."""

    def __init__(self, stateless_model, param_names, buffer_names=()):
        super().__init__()
        self.stateless_model = stateless_model
        self.param_names, self.buffer_names = tuple(param_names), tuple(buffer_names)

    def _run(self, state, args, kwargs):
        return func.functional_call(self.stateless_model, state, args, kwargs)

    def forward(self, params, *args, **kwargs):
        return self._run(dict(zip(self.param_names, params, strict=True)), args, kwargs)


class FunctionalModuleWithBuffers(FunctionalModule):
    """A module as a function of its parameters, buffers and inputs: see `make_functional_with_buffers`."""

    def forward(self, params, buffers, *args, **kwargs):
        state = dict(zip(self.param_names, params, strict=True))
        state.update(zip(self.buffer_names, buffers, strict=True))
        return self._run(state, args, kwargs)


def _parts(model, disable_autograd_tracking):
    model = copy.deepcopy(model)
    names, params = zip(*model.named_parameters(), strict=True) if list(model.parameters()) else ((), ())
    buffer_names, buffers = zip(*model.named_buffers(), strict=True) if list(model.buffers()) else ((), ())
    if disable_autograd_tracking:
        for p in params:
            p.requires_grad_(False)
    # What stays in the function has no values of its own.
    stateless = copy.deepcopy(model).to("meta")
    return stateless, names, params, buffer_names, buffers


def _make_functional(model, disable_autograd_tracking=False):
    """(function, parameters) of a module without buffers: ``function(parameters, *inputs)`` computes what the module does.

    >>> from flambeau import _functorch as functorch
    >>> function, params = functorch.make_functional(nn.Linear(2, 1))
    >>> function([flambeau.ones(1, 2), flambeau.zeros(1)], flambeau.tensor([1.0, 2.0]))
    tensor([3.])
    """
    stateless, names, params, buffer_names, _ = _parts(model, disable_autograd_tracking)
    if buffer_names:
        raise RuntimeError(
            "make_functional(model): `model` has buffers. Please use make_functional_with_buffers(model) instead."
        )
    return FunctionalModule(stateless, names), params


def _make_functional_with_buffers(model, disable_autograd_tracking=False):
    """(function, parameters, buffers) of a module: ``function(parameters, buffers, *inputs)`` computes what it does."""
    stateless, names, params, buffer_names, buffers = _parts(model, disable_autograd_tracking)
    return FunctionalModuleWithBuffers(stateless, names, buffer_names), params, buffers


def _combine_state_for_ensemble(models):
    """(function, parameters, buffers) of several modules alike, their parameters and buffers stacked for `vmap`."""
    if len(models) == 0:
        raise RuntimeError("combine_state_for_ensemble: Expected at least one model, got 0.")
    if any(m.training != models[0].training for m in models):
        raise RuntimeError(
            "combine_state_for_ensemble: Expected all models to have the same training/eval mode."
        )
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("combine_state_for_ensemble: Expected all models to be of the same class.")
    functions, params, buffers = zip(*map(_make_functional_with_buffers, models), strict=True)
    stacked = (
        tuple(flambeau.stack(parts).detach() for parts in zip(*of, strict=True)) for of in (params, buffers)
    )
    return functions[0], *stacked


make_functional = _older("make_functional", _make_functional, "torch.func.functional_call")
make_functional_with_buffers = _older(
    "make_functional_with_buffers", _make_functional_with_buffers, "torch.func.functional_call"
)
combine_state_for_ensemble = _older(
    "combine_state_for_ensemble", _combine_state_for_ensemble, "torch.func.stack_module_state"
)
vmap = _older("vmap", func.vmap, "torch.vmap")
grad = _older("grad", func.grad, "torch.func.grad")
grad_and_value = _older("grad_and_value", func.grad_and_value, "torch.func.grad_and_value")
vjp = _older("vjp", func.vjp, "torch.func.vjp")
jvp = _older("jvp", func.jvp, "torch.func.jvp")
jacrev = _older("jacrev", func.jacrev, "torch.func.jacrev")
jacfwd = _older("jacfwd", func.jacfwd, "torch.func.jacfwd")
hessian = _older("hessian", func.hessian, "torch.func.hessian")
