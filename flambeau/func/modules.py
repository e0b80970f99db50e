"""Calling modules with other parameters, and the parameters of several modules in one."""

import flambeau

from ..nn.modules.batchnorm import _BatchNorm
from ..nn.utils import stateless

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]


def functional_call(
    module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Call `module` with the given tensors in the place of its parameters and buffers.

    Args:
        parameter_and_buffer_dicts: tensors by their dotted names, or a sequence of such dictionaries without common names.
        args, kwargs: arguments of the module; one that is not a tuple is taken as the only one.
        tie_weights: names of the same parameter get the same value. Default: True.
        strict: every name must be given, and no other. Default: False.

    >>> m = nn.Linear(2, 1, bias=False)
    >>> flambeau.func.functional_call(m, {"weight": flambeau.tensor([[2.0, 3.0]])}, flambeau.ones(2))
    tensor([5.])
    """
    if not isinstance(parameter_and_buffer_dicts, (dict, list, tuple)):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(parameter_and_buffer_dicts)}"
        )
    if isinstance(parameter_and_buffer_dicts, (list, tuple)):
        if not all(isinstance(part, dict) for part in parameter_and_buffer_dicts):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    return stateless._functional_call(
        module, parameter_and_buffer_dicts, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def stack_module_state(models):
    """The parameters and the buffers of modules of one class, stacked along a new first dimension: two dictionaries.

    >>> params, buffers = flambeau.func.stack_module_state([nn.Linear(2, 3) for _ in range(4)])
    >>> params["weight"].shape
    torch.Size([4, 3, 2])
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({model.training for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(model) for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = [dict(model.named_parameters()) for model in models]
    buffers = [dict(model.named_buffers()) for model in models]
    return (
        {name: _stack_leaves([own[name] for own in parameters], name) for name in parameters[0]},
        {name: _stack_leaves([own[name] for own in buffers], name) for name in buffers[0]},
    )


def _stack_leaves(tensors, name):
    """The stack, which requires a gradient where they do, and is a leaf."""
    if len({tensor.requires_grad for tensor in tensors}) > 1:
        raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
    with flambeau.no_grad():
        stacked = flambeau.stack(tensors)
    return stacked.requires_grad_(tensors[0].requires_grad)


def replace_all_batch_norm_modules_(root):
    """Make every batch norm inside `root` forget its running statistics, in place: it uses the batch's. Returns `root`."""
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
