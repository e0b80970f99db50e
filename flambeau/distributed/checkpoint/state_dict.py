"""State dictionaries of models and optimizers by the parameters' names, as they are without wrappers.

`DistributedDataParallel` and the like put prefixes before names, and optimizers count parameters; here a parameter is
called what the plain model calls it, so that what one set-up saved another can load. Every process has whole tensors:
there is nothing to gather.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import flambeau
from flambeau import distributed, nn
from flambeau.nn.parallel import DataParallel, DistributedDataParallel
from flambeau.optim import Optimizer

__all__ = [
    "StateDictOptions",
    "get_model_state_dict",
    "get_optimizer_state_dict",
    "get_state_dict",
    "set_model_state_dict",
    "set_optimizer_state_dict",
    "set_state_dict",
]


@dataclass
class StateDictOptions:
    """What to put into a state dictionary, and how to take it out.

    Args:
        full_state_dict: whole tensors, which every process has here anyway.
        cpu_offload: on the CPU; with `full_state_dict` in the first process only, empty in the others.
        ignore_frozen_params: without the parameters that don't require gradients.
        keep_submodule_prefixes: for `submodules`, whether names begin with the submodule's own.
        strict: loading complains about missing and unexpected names.
        broadcast_from_rank0: only the first process has the dictionary to be loaded; the others get it from there.
        flatten_optimizer_state_dict: one level of names, ``state.NAME.exp_avg``, rather than nested dictionaries.
    """

    full_state_dict: bool = False
    cpu_offload: bool = False
    ignore_frozen_params: bool = False
    keep_submodule_prefixes: bool = True
    strict: bool = True
    broadcast_from_rank0: bool = False
    flatten_optimizer_state_dict: bool = False
    dsd_fqn_modifiers: str = "_fqn_modifiers"


def _plain(model: nn.Module) -> nn.Module:
    while isinstance(model, (DataParallel, DistributedDataParallel)):
        model = model.module
    return model


def _elsewhere(options: StateDictOptions) -> bool:
    """Whether another process, the first, has what this one is asked for."""
    return (
        options.full_state_dict
        and options.cpu_offload
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_rank() > 0
    )


def _on_cpu(value):
    if isinstance(value, flambeau.Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    return value


def _from_first(value, options: StateDictOptions):
    if not options.broadcast_from_rank0:
        return value
    held = [value]
    distributed.broadcast_object_list(held)
    return held[0]


def get_model_state_dict(
    model: nn.Module, *, submodules=None, options: StateDictOptions | None = None
) -> dict:
    """The model's state, by the names of the plain model.

    Args:
        model: a module, wrapped or not.
        submodules: a set of modules in it: of these only.
        options: see `StateDictOptions`.

    >>> from flambeau.distributed.checkpoint.state_dict import get_model_state_dict
    >>> list(get_model_state_dict(flambeau.nn.DataParallel(flambeau.nn.Linear(2, 1))))
    ['weight', 'bias']
    """
    options = options or StateDictOptions()
    model = _plain(model)
    state = model.state_dict()
    if options.ignore_frozen_params:
        for name, param in model.named_parameters(remove_duplicate=False):
            if not param.requires_grad:
                state.pop(name, None)
    if submodules is not None:
        state = _of_submodules(model, state, submodules, options.keep_submodule_prefixes)
    if _elsewhere(options):
        return {}
    return _on_cpu(state) if options.cpu_offload else state


def _of_submodules(model, state, submodules, keep_prefixes: bool) -> dict:
    found = {}
    for name, module in model.named_modules():
        if module in submodules:
            prefix = name + "." if name else ""
            for key, value in state.items():
                if key.startswith(prefix):
                    found[key if keep_prefixes else key[len(prefix) :]] = value
    return found


def set_model_state_dict(
    model: nn.Module, model_state_dict: dict, *, options: StateDictOptions | None = None
):
    """Load a model's state, whose names are those of the plain model; returns missing and unexpected names.

    Args:
        model: a module, wrapped or not.
        model_state_dict: what `get_model_state_dict` gave.
        options: see `StateDictOptions`.
    """
    options = options or StateDictOptions()
    return _plain(model).load_state_dict(_from_first(model_state_dict, options), strict=options.strict)


def _names(model: nn.Module) -> dict[int, str]:
    return {id(param): name for name, param in _plain(model).named_parameters()}


def _listed(optimizers) -> list[Optimizer]:
    return [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)


def get_optimizer_state_dict(
    model: nn.Module,
    optimizers: Optimizer | Iterable[Optimizer],
    *,
    submodules=None,
    options: StateDictOptions | None = None,
) -> dict:
    """The optimizers' state by the names of the model's parameters: ``{"state": {NAME: ...}, "param_groups": [...]}``.

    Args:
        model: the module whose parameters the optimizers have, wrapped or not.
        optimizers: one, or several, whose groups are put together.
        submodules: a set of modules in it: of their parameters only.
        options: see `StateDictOptions`.
    """
    options = options or StateDictOptions()
    names = _names(model)
    if submodules is not None:
        kept = {id(param) for module in submodules for param in module.parameters()}
        names = {key: name for key, name in names.items() if key in kept}
    state: dict = {}
    groups: list = []
    for optimizer in _listed(optimizers):
        for group in optimizer.param_groups:
            params = [param for param in group["params"] if id(param) in names]
            if options.ignore_frozen_params:
                params = [param for param in params if param.requires_grad]
            for param in params:
                if param in optimizer.state:
                    state[names[id(param)]] = dict(optimizer.state[param])
            groups.append({**group, "params": [names[id(param)] for param in params]})
    if _elsewhere(options):
        return {}
    if options.cpu_offload:
        state = _on_cpu(state)
    found = {"state": state, "param_groups": groups}
    return _flat(found) if options.flatten_optimizer_state_dict else found


def _flat(nested: dict) -> dict:
    flat = {
        f"state.{name}.{key}": value for name, each in nested["state"].items() for key, value in each.items()
    }
    for group in nested["param_groups"]:
        for name in group["params"]:
            flat |= {f"param_groups.{name}.{key}": value for key, value in group.items() if key != "params"}
    return flat


def _nested(flat: dict, optimizer: Optimizer, names: dict[int, str]) -> dict:
    """The nested form again; the optimizer says which parameters make a group."""
    state: dict = {}
    groups: list = []
    for group in optimizer.param_groups:
        members = [names[id(param)] for param in group["params"]]
        for name in members:
            prefix = f"state.{name}."
            found = {key[len(prefix) :]: value for key, value in flat.items() if key.startswith(prefix)}
            if found:
                state[name] = found
        prefix = f"param_groups.{members[0]}." if members else ""
        options = {
            key[len(prefix) :]: value for key, value in flat.items() if members and key.startswith(prefix)
        }
        groups.append({**options, "params": members})
    return {"state": state, "param_groups": groups}


def set_optimizer_state_dict(
    model: nn.Module,
    optimizers: Optimizer | Iterable[Optimizer],
    optim_state_dict: dict,
    *,
    options: StateDictOptions | None = None,
) -> None:
    """Load what `get_optimizer_state_dict` gave, of either form, into optimizers of the same parameters.

    Args:
        model: the module whose parameters the optimizers have, wrapped or not.
        optimizers: one or several.
        optim_state_dict: the state by names.
        options: see `StateDictOptions`.
    """
    options = options or StateDictOptions()
    names = _names(model)
    given = _from_first(optim_state_dict, options)
    for optimizer in _listed(optimizers):
        nested = given if "param_groups" in given else _nested(given, optimizer, names)
        of_name = {name: group for group in nested["param_groups"] for name in group["params"]}
        state, groups, count = {}, [], 0
        for group in optimizer.param_groups:
            members = [names[id(param)] for param in group["params"]]
            missing = [name for name in members if name not in of_name]
            if missing and options.strict:
                raise RuntimeError(f"the state dictionary has no parameter group with {', '.join(missing)}")
            saved = of_name[members[0]] if members and not missing else group
            groups.append({**saved, "params": list(range(count, count + len(members)))})
            for i, name in enumerate(members, count):
                if name in nested["state"]:
                    state[i] = nested["state"][name]
            count += len(members)
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def get_state_dict(
    model: nn.Module,
    optimizers: Optimizer | Iterable[Optimizer],
    *,
    submodules=None,
    options: StateDictOptions | None = None,
) -> tuple[dict, dict]:
    """What `get_model_state_dict` and `get_optimizer_state_dict` give, as a pair."""
    return (
        get_model_state_dict(model, submodules=submodules, options=options),
        get_optimizer_state_dict(model, optimizers, submodules=submodules, options=options),
    )


def set_state_dict(
    model: nn.Module,
    optimizers: Optimizer | Iterable[Optimizer],
    *,
    model_state_dict: dict,
    optim_state_dict: dict,
    options: StateDictOptions | None = None,
):
    """`set_optimizer_state_dict` and `set_model_state_dict`; returns the latter's missing and unexpected names."""
    set_optimizer_state_dict(model, optimizers, optim_state_dict, options=options)
    return set_model_state_dict(model, model_state_dict, options=options)
