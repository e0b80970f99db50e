"""How tensors of several processes are combined."""

from __future__ import annotations

import enum

import flambeau

__all__ = ["RedOpType", "ReduceOp", "reduce_op"]


class RedOpType(enum.IntEnum):
    """The operations by name."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8

    __str__ = enum.Enum.__str__
    __repr__ = enum.Enum.__repr__


class ReduceOp:
    """Operations for `all_reduce` and its relatives: ``SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR``.

    ``AVG`` divides the sum by the number of processes and is for floating point; the last three are for integers and
    booleans. An instance equals the operation it was made of.

    >>> flambeau.distributed.ReduceOp(flambeau.distributed.ReduceOp.MAX) == flambeau.distributed.ReduceOp.MAX
    True
    """

    RedOpType = RedOpType
    SUM = RedOpType.SUM
    AVG = RedOpType.AVG
    PRODUCT = RedOpType.PRODUCT
    MIN = RedOpType.MIN
    MAX = RedOpType.MAX
    BAND = RedOpType.BAND
    BOR = RedOpType.BOR
    BXOR = RedOpType.BXOR
    PREMUL_SUM = RedOpType.PREMUL_SUM

    def __init__(self, op):
        self.op = RedOpType(op.op if isinstance(op, ReduceOp) else op)

    def __eq__(self, other) -> bool:
        return self.op == (other.op if isinstance(other, ReduceOp) else other)

    def __hash__(self) -> int:
        return hash(self.op)

    def __repr__(self) -> str:
        return repr(self.op)


class _DeprecatedReduceOp:
    """The name that `ReduceOp` had first."""

    def __getattr__(self, name):
        import warnings

        warnings.warn(
            "`torch.distributed.reduce_op` is deprecated, please use `torch.distributed.ReduceOp` instead",
            FutureWarning,
            stacklevel=2,
        )
        return getattr(ReduceOp, name)


reduce_op = _DeprecatedReduceOp()

# accumulator, operand: in place.
_COMBINE = {
    RedOpType.SUM: lambda a, b: a.add_(b),
    RedOpType.AVG: lambda a, b: a.add_(b),
    RedOpType.PRODUCT: lambda a, b: a.mul_(b),
    RedOpType.MIN: lambda a, b: flambeau.minimum(a, b, out=a),
    RedOpType.MAX: lambda a, b: flambeau.maximum(a, b, out=a),
    RedOpType.BAND: lambda a, b: a.bitwise_and_(b),
    RedOpType.BOR: lambda a, b: a.bitwise_or_(b),
    RedOpType.BXOR: lambda a, b: a.bitwise_xor_(b),
}
_DTYPES = frozenset(
    getattr(flambeau, name)
    for name in "float16 bfloat16 float32 float64 uint8 int8 int16 int32 int64 bool complex64 complex128".split()
)
_BITWISE = (RedOpType.BAND, RedOpType.BOR, RedOpType.BXOR)


def checked(op, tensor) -> RedOpType:
    """The operation, if it is one for tensors like this."""
    op = op.op if isinstance(op, ReduceOp) else op
    if op not in _COMBINE:
        if op == RedOpType.PREMUL_SUM:
            raise RuntimeError("Cannot use ReduceOp.PREMUL_SUM with Gloo")
        raise TypeError(f"expected one of ReduceOp's operations, got {op!r}")
    dtype = tensor.dtype
    if dtype not in _DTYPES:
        raise RuntimeError(
            f"Invalid scalar type: {dtype} cannot be reduced; convert the tensor, to float32 say"
        )
    if op in _BITWISE and (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(f"Cannot use ReduceOp.{op.name} with non-integral dtype")
    if op is RedOpType.AVG and not (dtype.is_floating_point or dtype.is_complex):
        name = {
            "int64": "Long",
            "int32": "Int",
            "int16": "Short",
            "int8": "Char",
            "uint8": "Byte",
            "bool": "Bool",
        }
        found = name.get(str(dtype).rpartition(".")[2], str(dtype))
        raise RuntimeError(
            f"result type Float can't be cast to the desired output type {found}: ReduceOp.AVG is for floating point"
        )
    return op


def combine(op: RedOpType, accumulator, operand) -> None:
    """``accumulator = op(accumulator, operand)``, in place."""
    _COMBINE[op](accumulator, operand)
