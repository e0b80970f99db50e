"""Moving and converting a module's tensors: `to`, `float`, `requires_grad_` and their relatives."""

import flambeau

from ..parameter import Parameter


def _parse_to(device=None, dtype=None, non_blocking=False, copy=False, *, memory_format=None):
    """Sort out the three call forms of `to`: (device, dtype), (dtype), (tensor)."""
    if isinstance(device, flambeau.dtype):
        # to(dtype, non_blocking, copy): the positions after the first move by one.
        if dtype is not None:
            non_blocking = dtype
        device, dtype = None, device
    elif isinstance(device, flambeau.Tensor):
        if dtype is not None:
            non_blocking = dtype
        device, dtype = device.device, device.dtype
    elif device is not None:
        device = flambeau.device(device)
    if dtype is not None and not isinstance(dtype, flambeau.dtype):
        raise TypeError(
            "to() received an invalid combination of arguments: expected (device, dtype), (dtype) or (tensor), "
            f"but got dtype of type {type(dtype).__name__}"
        )
    return device, dtype, non_blocking, memory_format


class ConversionMixin:
    """The methods of :class:`Module` that replace its tensors' values, dtype or device."""

    def _apply(self, fn, recurse=True):
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, param in self._parameters.items():
            if param is None:
                continue
            with flambeau.no_grad():
                applied = fn(param)
            grad = param.grad
            if applied.device.type == param.device.type:
                # The parameter object stays the same: optimizers hold on to it.
                param.data = applied
                target = param
            else:
                target = Parameter(applied, param.requires_grad)
                self._parameters[name] = target
            if grad is not None:
                with flambeau.no_grad():
                    grad_applied = fn(grad)
                target.grad = grad_applied.requires_grad_(grad.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self, fn):
        """Call ``fn(module)`` on every child, depth first, and on self; returns self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, *args, **kwargs):
        """Move or convert all parameters and buffers in place; returns self.

        Call forms: ``to(device=None, dtype=None, non_blocking=False)``, ``to(dtype)``, ``to(tensor)``,
        ``to(memory_format=flambeau.channels_last)``. Only floating point and complex tensors change dtype.
        """
        try:
            device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        except TypeError as error:
            if "invalid combination" in str(error):
                raise
            raise TypeError(f"to() received an invalid combination of arguments: {error}") from None
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def convert(tensor):
            target = dtype if tensor.is_floating_point() or tensor.is_complex() else None
            options = {"device": device, "dtype": target, "non_blocking": non_blocking}
            if memory_format is not None and tensor.dim() in (4, 5):
                options["memory_format"] = memory_format
            return tensor.to(**{k: v for k, v in options.items() if v is not None})

        return self._apply(convert)

    def cpu(self):
        """Move all parameters and buffers to the CPU; returns self."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self, device=None):
        """Move all parameters and buffers to a CUDA device; an error where there is none."""
        return self._apply(lambda tensor: tensor.cuda(device))

    def type(self, dst_type):
        """Cast all parameters and buffers to `dst_type`; returns self."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def _cast_floating(self, name):
        return self._apply(lambda tensor: getattr(tensor, name)() if tensor.is_floating_point() else tensor)

    def float(self):
        """Cast floating point parameters and buffers to float32; returns self."""
        return self._cast_floating("float")

    def double(self):
        """Cast floating point parameters and buffers to float64; returns self."""
        return self._cast_floating("double")

    def half(self):
        """Cast floating point parameters and buffers to float16; returns self."""
        return self._cast_floating("half")

    def bfloat16(self):
        """Cast floating point parameters and buffers to bfloat16; returns self."""
        return self._cast_floating("bfloat16")

    def to_empty(self, *, device, recurse=True):
        """Move to `device` with uninitialized values (the way out of the meta device); returns self."""
        return self._apply(lambda tensor: flambeau.empty_like(tensor, device=device), recurse=recurse)

    def share_memory(self):
        """Move all tensors to memory shared between processes; returns self."""
        return self._apply(lambda tensor: tensor.share_memory_())

    def requires_grad_(self, requires_grad=True):
        """Set ``requires_grad`` of all parameters; returns self."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Reset the gradients of all parameters: to None, or to zeros with ``set_to_none=False``."""
        for param in self.parameters():
            if param.grad is None:
                continue
            if set_to_none:
                param.grad = None
            else:
                if param.grad.grad_fn is not None:
                    param.grad.detach_()
                else:
                    param.grad.requires_grad_(False)
                param.grad.zero_()
