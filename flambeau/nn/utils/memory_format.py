"""Memory formats of convolutions' weights."""

from ..modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]


def _convert(module, kinds, memory_format):
    for part in module.modules():
        if isinstance(part, kinds):
            part.weight.data = part.weight.detach().clone().contiguous(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module, memory_format):
    """Lay out the weights of all `Conv2d` and `ConvTranspose2d` in `module` in that memory format; returns `module`.

    >>> m = nn.Conv2d(8, 4, 3)
    >>> m = nn.utils.convert_conv2d_weight_memory_format(m, flambeau.channels_last)
    >>> m.weight.is_contiguous(memory_format=flambeau.channels_last)
    True
    """
    return _convert(module, (Conv2d, ConvTranspose2d), memory_format)


def convert_conv3d_weight_memory_format(module, memory_format):
    """The same for `Conv3d` and `ConvTranspose3d`."""
    return _convert(module, (Conv3d, ConvTranspose3d), memory_format)
