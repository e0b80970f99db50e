"""Calling a module with other parameters and buffers than its own."""

import contextlib
import warnings

import flambeau

__all__ = ["functional_call"]


def _owner(module, name):
    path, _, attribute = name.rpartition(".")
    try:
        return module.get_submodule(path), attribute
    except AttributeError:
        raise AttributeError(f"{type(module).__name__} has no attribute `{path.partition('.')[0]}`") from None


def _tied_names(module):
    """Names that stand for the same tensor, by each of them."""
    groups = {}
    for members in (module.named_parameters, module.named_buffers):
        for name, tensor in members(remove_duplicate=False):
            groups.setdefault(id(tensor), []).append(name)
    return {name: names for names in groups.values() for name in names}


@contextlib.contextmanager
def _swapped(module, values, tie_weights, strict):
    """Put `values` in the place of the module's tensors for the time of the context."""
    tied = _tied_names(module)
    unexpected = [name for name in values if name not in tied]
    if tie_weights:
        for name in list(values):
            for other in tied.get(name, ()):
                if other in values and values[other] is not values[name]:
                    raise ValueError(
                        f"functional_call got multiple values for keys {sorted(tied[name])}, which are tied. Consider "
                        "using tie_weights=False"
                    )
                values.setdefault(other, values[name])
    if strict:
        missing = [name for name in tied if name not in values]
        if missing or unexpected:
            lines = [f"\tUnexpected key(s): {', '.join(map(repr, unexpected))}."] if unexpected else []
            lines += [f"\tMissing key(s): {', '.join(map(repr, missing))}."] if missing else []
            raise RuntimeError(
                f"Error(s) in reparametrizing for {type(module).__name__}:\n" + "\n".join(lines)
            )
    saved = []
    try:
        for name, value in values.items():
            owner, attribute = _owner(module, name)
            if value is not None and not isinstance(value, flambeau.Tensor):
                raise TypeError(f"{value} is not an instance of torch.Tensor")
            if attribute in owner._parameters or attribute in owner._buffers:
                registry = owner._parameters if attribute in owner._parameters else owner._buffers
                saved.append((registry.__setitem__, attribute, registry[attribute]))
                registry[attribute] = value
            elif hasattr(owner, attribute):  # a parametrized tensor, say: assignment is the property's matter
                saved.append((owner.__setattr__, attribute, getattr(owner, attribute)))
                setattr(owner, attribute, value)
            else:
                saved.append((lambda name, _, owner=owner: delattr(owner, name), attribute, None))
                setattr(owner, attribute, value)
        yield
    finally:
        for restore, attribute, original in reversed(saved):
            restore(attribute, original)


def functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Older name of :func:`flambeau.func.functional_call`."""
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated; `torch.func.functional_call` does the same",
        FutureWarning,
        stacklevel=2,
    )
    return _functional_call(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def _functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Call `module` with the given tensors in the place of its parameters and buffers.

    Args:
        parameters_and_buffers: tensors by their dotted names, or several such dictionaries.
        args, kwargs: arguments of the module; one that is not a tuple is taken as the only one.
        tie_weights: names of the same parameter get the same value. Default: True.
        strict: every name must be given, and no other. Default: False.
    """
    if isinstance(parameters_and_buffers, (list, tuple)):
        values = {}
        for part in parameters_and_buffers:
            repeated = values.keys() & part.keys()
            if repeated:
                raise ValueError(
                    f"{sorted(repeated)} appeared in multiple dictionaries; behavior of functional call is ambiguous"
                )
            values.update(part)
    else:
        values = dict(parameters_and_buffers)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _swapped(module, values, tie_weights, strict):
        return module(*args, **(kwargs or {}))
