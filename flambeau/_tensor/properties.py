"""Attributes of Tensor that are views, and how subclasses are kept through operators."""

import flambeau


def _transpose_all(self):
    """The dimensions in reverse order; meant for matrices."""
    if self.dim() not in (0, 2):
        import warnings

        warnings.warn(
            f"The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated and it will "
            f"throw an error in a future release. Consider `x.mT` to transpose batches of matrices or "
            f"`x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor ({self.dim()}D).",
            stacklevel=2,
        )
    return self.permute(tuple(range(self.dim() - 1, -1, -1)))


def _transpose_matrices(self):
    """The last two dimensions exchanged."""
    if self.dim() < 2 and self.dim() != 0:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {self.dim()}-D tensor."
        )
    return self.transpose(-2, -1) if self.dim() else self


def _conjugate_transpose(self):
    """The conjugate transpose of a matrix."""
    if self.dim() not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {self.dim()}-D tensor."
        )
    return self.adjoint()


def _conjugate_transpose_matrices(self):
    """The conjugate transpose of the last two dimensions."""
    return self.adjoint()


def _torch_function(cls, func, types, args=(), kwargs=None):
    """Runs the function on plain tensors and gives its results the subclass again."""
    if not all(issubclass(cls, kind) for kind in types):
        return NotImplemented
    with flambeau.DisableTorchFunctionSubclass():
        return _converted(func(*args, **(kwargs or {})), cls)


def _converted(result, cls):
    if cls is flambeau.Tensor:
        return result
    if isinstance(result, flambeau.Tensor) and not isinstance(result, cls):
        return result.as_subclass(cls)
    if isinstance(result, (tuple, list)):
        kept = [_converted(r, cls) for r in result]
        return type(result)(kept) if type(result) in (tuple, list) else type(result)(tuple(kept))
    return result


def install(Tensor):
    """Add the attributes."""
    Tensor._cdata = property(
        id, doc="A number that is the tensor's own while it lives; libraries compare it."
    )
    Tensor.T = property(_transpose_all)
    Tensor.mT = property(_transpose_matrices)
    Tensor.H = property(_conjugate_transpose)
    Tensor.mH = property(_conjugate_transpose_matrices)
    Tensor.__torch_function__ = classmethod(_torch_function)
    Tensor.__reversed__ = lambda self: self.flip(tuple(range(self.dim()))) if self.dim() else self
