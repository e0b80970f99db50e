"""All parameters as one vector, and back."""

import flambeau

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def _check_device(device, param):
    if device is not None and param.device != device:
        raise TypeError("Found two parameters on different devices, this is currently not supported.")
    return param.device


def parameters_to_vector(parameters):
    """The values of all parameters, one after the other."""
    device = None
    parts = []
    for param in parameters:
        device = _check_device(device, param)
        parts.append(param.view(-1))
    return flambeau.cat(parts)


def vector_to_parameters(vec, parameters):
    """Make the parameters show the values of `vec`, in the order of :func:`parameters_to_vector`."""
    if not isinstance(vec, flambeau.Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    device = None
    start = 0
    for param in parameters:
        device = _check_device(device, param)
        end = start + param.numel()
        param.data = vec[start:end].view_as(param).data
        start = end
