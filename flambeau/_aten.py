"""``torch.ops.aten``: the library's own operators by the names and overloads that PyTorch's registry has for them.

An operator is the public function, method or function of `nn.functional` of that name; those without a public one are
written here. All overloads of one are the same function, which finds out from its arguments what is meant.
"""

import functools
import types

import flambeau

from ._ops import resizing, softmax

# Registry's names that are functions of nn.functional with the same arguments.
_FUNCTIONAL = frozenset(
    "adaptive_avg_pool2d adaptive_avg_pool3d avg_pool2d avg_pool3d elu gelu glu hardsigmoid hardswish hardtanh leaky_relu "
    "linear max_pool2d_with_indices max_pool3d_with_indices mish one_hot pad relu6 scaled_dot_product_attention silu "
    "softplus softshrink".split()
)
_NAMESPACES = ("linalg", "fft", "special")
_OVERLOADS = frozenset(
    "default out Tensor Scalar Tensor_out Scalar_out Tensor_Scalar Scalar_Tensor Tensor_Tensor int int_out dim dim_out "
    "dim_IntList dim_int dim_max dim_min dims IntList_out correction other other_out self size values values_stable stable "
    "source source_Tensor start start_step ScalarList Tensor_Mode Scalar_mode Scalar_Mode Tensor_mode names dtype dtype_out "
    "sections indices tensor_indices_or_sections Tensor_with_Scalar_indices vec ScalarOpt_dim ScalarOpt_dtype "
    "ScalarOpt_dim_dtype using_ints memory_format p generator low low_generator grad_input bool float".split()
)


# ---- operators without a public name -----------------------------------------------------------------------------------


def _slice(self, dim=0, start=None, end=None, step=1):
    if self.dim() == 0:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    dim = range(self.dim())[dim]
    return self[(slice(None),) * dim + (slice(start, end, step),)]


def _to_copy(
    self, *, dtype=None, layout=None, device=None, pin_memory=None, non_blocking=False, memory_format=None
):
    memory_format = flambeau.preserve_format if memory_format is None else memory_format
    return self.to(device or self.device, dtype or self.dtype, copy=True, memory_format=memory_format)


def _native_dropout_backward(grad_output, mask, scale):
    return grad_output * mask * scale


def _softmax_backward_data(grad_output, output, dim, input_dtype):
    return softmax._softmax_backward(grad_output, output, dim).to(input_dtype)


def _log_softmax_backward_data(grad_output, output, dim, input_dtype):
    return softmax._log_softmax_backward(grad_output, output, dim).to(input_dtype)


def _safe_softmax(self, dim, dtype=None):
    nothing = (self == -flambeau.inf).all(dim, keepdim=True)
    return flambeau.softmax(self.masked_fill(nothing, 0), dim, dtype).masked_fill(nothing, 0)


def _softmax(self, dim, half_to_float):
    return flambeau.softmax(self, dim, flambeau.float32 if half_to_float else None)


def _log_softmax(self, dim, half_to_float):
    return flambeau.log_softmax(self, dim, flambeau.float32 if half_to_float else None)


def _batch_norm_with_update(input, weight, bias, running_mean, running_var, momentum, eps, *, out=None):
    results = flambeau.native_batch_norm(input, weight, bias, running_mean, running_var, True, momentum, eps)
    results = (*results, input.new_empty(0, dtype=flambeau.uint8))
    if out is None:
        return results
    return tuple(
        target.resize_(result.shape).copy_(result) for target, result in zip(out, results, strict=True)
    )


def _upsample_bilinear2d_aa(
    self, output_size=None, align_corners=False, scales_h=None, scales_w=None, *, scale_factors=None
):
    scales = scale_factors or (scales_h or 0.0, scales_w or 0.0)
    if output_size is None:
        output_size = [int(n * scale) for n, scale in zip(self.shape[2:], scales, strict=True)]
    return resizing.resize(self, list(output_size), "linear", align_corners, True, list(scales))


def _max_pool2d_with_indices_backward(
    grad_output, self, kernel_size, stride, padding, dilation, ceil_mode, indices
):
    if grad_output.shape != indices.shape:
        raise RuntimeError(
            f"max_pool2d_with_indices_backward: expected a gradient of the shape of the indices, {list(indices.shape)}, "
            f"but got {list(grad_output.shape)}"
        )
    planes = self.masked_fill(flambeau.ones_like(self, dtype=flambeau.bool), 0).flatten(-2)
    return planes.scatter_add(-1, indices.flatten(-2), grad_output.flatten(-2)).reshape(self.shape)


def _alias(self):
    return self.view_as(self)


def _index(self, indices):
    return self[tuple(slice(None) if index is None else index for index in indices)]


def _pin_memory(self, device=None):
    return self.pin_memory(device)


def _sparse_addmm(self, mat1, mat2, *, beta=1, alpha=1):
    return flambeau.sparse.addmm(self, mat1, mat2, beta=beta, alpha=alpha)


def _sparse_mm_reduce_impl(self, other, reduce):
    # The second result, PyTorch's note of which elements were taken, serves its own derivative.
    result = flambeau.sparse.mm(self, other, reduce)
    return result, result.new_empty(0, dtype=flambeau.int64)


_WRITTEN_HERE = {
    "alias": _alias,
    "index": _index,
    "_pin_memory": _pin_memory,
    "_sparse_addmm": _sparse_addmm,
    "_sparse_mm_reduce_impl": _sparse_mm_reduce_impl,
    "slice": _slice,
    "_to_copy": _to_copy,
    "native_dropout_backward": _native_dropout_backward,
    "_softmax": _softmax,
    "_log_softmax": _log_softmax,
    "_softmax_backward_data": _softmax_backward_data,
    "_log_softmax_backward_data": _log_softmax_backward_data,
    "_safe_softmax": _safe_softmax,
    "_batch_norm_with_update": _batch_norm_with_update,
    "_upsample_bilinear2d_aa": _upsample_bilinear2d_aa,
    "max_pool2d_with_indices_backward": _max_pool2d_with_indices_backward,
}


# ---- names ------------------------------------------------------------------------------------------------------------


def _function(name):
    """What the registry's name stands for; None if there is no such operator."""
    if name in _WRITTEN_HERE:
        return _WRITTEN_HERE[name]
    places = [(flambeau, name), (flambeau.Tensor, name)]
    if name in _FUNCTIONAL:
        places.insert(0, (flambeau.nn.functional, name))
    prefix, _, rest = name.partition("_")
    if prefix in _NAMESPACES:
        places.append((getattr(flambeau, prefix), rest))
    for owner, attribute in places:
        found = getattr(owner, attribute, None)
        if callable(found) and not isinstance(found, type):
            return found
    return None


class _Callable:
    """What an operator and each of its overloads have in common: the function and its name."""

    def __init__(self, function, name, doc):
        self._function, self._text, self.__doc__ = function, name, doc
        self.__module__ = "torch._ops.aten"

    def __call__(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    def __str__(self):
        return self._text

    def __hash__(self):
        return hash(self._text)

    def __reduce__(self):
        return _by_name, (self._text,)


class OpOverload(_Callable):
    """One overload of an operator: ``torch.ops.aten.add.Tensor``."""

    namespace = "aten"

    def __init__(self, packet, overload):
        super().__init__(packet._function, f"{packet}.{overload}", packet.__doc__)
        self.overloadpacket, self._overloadname, self._opname = packet, overload, packet.__name__
        self.__name__ = f"{packet.__name__}.{overload}"

    def name(self):
        """Its name in the registry, ``aten::add.Tensor``."""
        suffix = "" if self._overloadname == "default" else f".{self._overloadname}"
        return f"{self.overloadpacket._qualified_op_name}{suffix}"

    def __repr__(self):
        return f"<OpOverload(op='{self.overloadpacket}', overload='{self._overloadname}')>"


class OpOverloadPacket(_Callable):
    """An operator with all its overloads: ``torch.ops.aten.add``."""

    def __init__(self, name, function):
        super().__init__(function, f"aten.{name}", getattr(function, "__doc__", None))
        self.__name__, self._qualified_op_name = name, f"aten::{name}"

    def __getattr__(self, overload):
        if overload not in _OVERLOADS:
            raise AttributeError(f"The underlying op of '{self}' has no overload name '{overload}'")
        found = OpOverload(self, overload)
        setattr(self, overload, found)
        return found

    def overloads(self):
        """Names of the overloads; which of PyTorch's an operator has is not kept here."""
        return ["default"]

    def __repr__(self):
        return f"<OpOverloadPacket(op='{self}')>"


@functools.cache
def find(name):
    """The operator ``torch.ops.aten.NAME``; None if there is none.

    >>> flambeau.ops.aten.add.Tensor(flambeau.ones(2), 1)
    tensor([2., 2.])
    """
    function = None if name.startswith("__") else _function(name)
    return None if function is None else OpOverloadPacket(name, function)


_BY_TENSOR = frozenset(
    "add add_ bitwise_and bitwise_or bitwise_xor div div_ eq ge gt le lt mul mul_ ne remainder rsub slice split sub "
    "sub_".split()
)


@functools.cache
def overload_of(op):
    """The overload that stands for a native operator, by which modes know what is about to run."""
    name, _, overload = op.__name__.partition(".")
    packet = find(name) or OpOverloadPacket(name, op)
    overload = overload or ("Tensor" if name in _BY_TENSOR else "default")
    found = packet.__dict__.get(overload) or OpOverload(packet, overload)
    if isinstance(
        packet._function, types.FunctionType
    ):  # a composition around the operator, with other arguments
        found._function = op
    return packet.__dict__.setdefault(overload, found)


def _by_name(text):
    found = find(text.split(".")[1])
    for overload in text.split(".")[2:]:
        found = getattr(found, overload)
    return found
