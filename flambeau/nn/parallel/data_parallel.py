"""DataParallel, on a machine without accelerators."""

from ..modules.module import Module

__all__ = ["DataParallel", "data_parallel"]


def _refuse_devices(device_ids):
    if device_ids:
        raise RuntimeError(
            f"DataParallel: there is no device among {list(device_ids)} here: flambeau computes on the CPU. Leave "
            "device_ids out, and the module runs as it is"
        )


class DataParallel(Module):
    """A module whose batches are split over accelerators; without any, as here, it simply calls the module.

    Args:
        module: becomes the attribute ``module``, so that the names in its state dictionary start with ``module.``.
        device_ids, output_device, dim: where and how to split. There are no devices to name here.

    >>> m = nn.DataParallel(nn.Linear(2, 3))
    >>> m(flambeau.ones(4, 2)).shape, list(m.state_dict())
    (torch.Size([4, 3]), ['module.weight', 'module.bias'])
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        _refuse_devices(device_ids)
        self.module = module
        self.device_ids = []

    def forward(self, *inputs, **kwargs):
        """The module's result."""
        return self.module(*inputs, **kwargs)


def data_parallel(module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None):
    """``module(*inputs, **module_kwargs)``, which is what splitting a batch over devices comes to without any."""
    _refuse_devices(device_ids)
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*inputs, **(module_kwargs or {}))
