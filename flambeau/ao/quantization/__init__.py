"""Quantization: the marks in models, which do nothing until a model is converted, and converting is not written."""

from __future__ import annotations

from flambeau import nn

__all__ = [
    "DeQuantStub",
    "QuantStub",
    "convert",
    "fuse_modules",
    "prepare",
    "prepare_qat",
    "quantize_dynamic",
]


class QuantStub(nn.Module):
    """Marks where a model's input would be quantized: returns it.

    Args:
        qconfig: kept as an attribute.
    """

    def __init__(self, qconfig=None):
        super().__init__()
        if qconfig:
            self.qconfig = qconfig

    def forward(self, x):
        return x


class DeQuantStub(QuantStub):
    """Marks where a model's output would be floating point again: returns it."""


def _cannot(name: str):
    def function(*args, **kwargs):
        raise RuntimeError(
            f"torch.ao.quantization.{name}: flambeau has no quantized operators; it computes in floating point"
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises: there are no quantized operators."
    return function


convert = _cannot("convert")
fuse_modules = _cannot("fuse_modules")
prepare = _cannot("prepare")
prepare_qat = _cannot("prepare_qat")
quantize_dynamic = _cannot("quantize_dynamic")
