"""Limits for gradients, by norm and by value."""

import types
import warnings

import flambeau

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _as_list(parameters):
    return [parameters] if isinstance(parameters, flambeau.Tensor) else list(parameters)


def _total_norm(tensors, norm_type, error_if_nonfinite):
    tensors = _as_list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return flambeau.tensor(0.0)
    device = tensors[0].device
    norms = [flambeau.linalg.vector_norm(tensor, norm_type).to(device) for tensor in tensors]
    total = flambeau.linalg.vector_norm(flambeau.stack(norms), norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of order `norm_type` of all tensors taken as one vector."""
    with flambeau.no_grad():
        return _total_norm(tensors, norm_type, error_if_nonfinite)


def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Scale the gradients in place by ``max_norm / total_norm`` if that is below 1."""
    grads = [param.grad for param in _as_list(parameters) if param.grad is not None]
    with flambeau.no_grad():
        # Multiplying always, by at most 1, spares reading the norm back from the device.
        scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(scale.to(grad.device))


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scale all gradients together so that their common norm is at most `max_norm`; returns the norm before.

    >>> p = nn.Parameter(flambeau.ones(2))
    >>> p.grad = flambeau.tensor([3.0, 4.0])
    >>> nn.utils.clip_grad_norm_(p, 1.0)
    tensor(5.)
    """
    if isinstance(parameters, flambeau.Tensor):
        parameters = [parameters]
    else:
        is_generator = isinstance(parameters, types.GeneratorType)
        parameters = list(parameters)
        if is_generator and not parameters:
            warnings.warn(
                "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2
            )
    grads = [param.grad for param in parameters if param.grad is not None]
    total_norm = get_total_norm(grads, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total_norm)
    return total_norm


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Older name of :func:`clip_grad_norm_`."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters, clip_value, foreach=None):
    """Limit every element of the gradients to [-clip_value, clip_value], in place."""
    clip_value = float(clip_value)
    with flambeau.no_grad():
        for param in _as_list(parameters):
            if param.grad is not None:
                param.grad.clamp_(min=-clip_value, max=clip_value)
