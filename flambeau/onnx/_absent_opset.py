"""Functions of ONNX's operators sets, which write nodes of an export; there is none."""

from __future__ import annotations


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def function(*args, **kwargs):
        from flambeau.onnx import OnnxExporterError

        raise OnnxExporterError(f"torch.onnx: {name}: flambeau records no programs that could be exported")

    function.__name__ = function.__qualname__ = name
    return function
