"""Export to ONNX, which needs a recorded program, and flambeau records none."""

from __future__ import annotations

__all__ = ["ONNXProgram", "OnnxExporterError", "export", "is_in_onnx_export", "register_custom_op_symbolic"]


class OnnxExporterError(RuntimeError):
    """An export failed."""


class ONNXProgram:
    """What an export gives; there is none, so that ``isinstance`` says no."""

    def __init__(self, *args, **kwargs):
        raise OnnxExporterError("torch.onnx.ONNXProgram: flambeau records no programs that could be exported")


def is_in_onnx_export() -> bool:
    """Whether an export is under way: never."""
    return False


def export(*args, **kwargs):
    """Raises: there is no recorded program to export."""
    raise OnnxExporterError("torch.onnx.export: flambeau records no programs that could be exported")


def register_custom_op_symbolic(symbolic_name, symbolic_fn, opset_version) -> None:
    """Accepted: no export will ask for it."""


def __getattr__(name):
    if name.startswith("symbolic_opset"):
        from . import _absent_opset

        return _absent_opset
    raise AttributeError(f"module 'torch.onnx' has no attribute '{name}'")
