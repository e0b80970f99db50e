"""Conversions of dtype, device and memory format, and tensors in the likeness of another."""

from .creation import _DATA_OPTIONS, _FORMAT, _OPTIONS
from .registry import composite, op

_same = {"input": lambda grad: grad}

op(
    "_to(Tensor input, dtype? dtype=None, device? device=None, bool copy=False, "
    "memory_format? memory_format=None) -> Tensor",
    "Conversion of dtype, device and memory format; the tensor itself when nothing changes.",
    vjp=_same,
    public=False,
)
_TO = f"bool non_blocking=False, bool copy=False, *, {_FORMAT}) -> Tensor"
op(
    f"to.dtype(Tensor input, dtype dtype, {_TO}",
    """The tensor with another dtype, device or memory format; itself when it has them already and not `copy`.

    Called as ``to(dtype)``, ``to(device, dtype)`` or ``to(other)`` for the dtype and device of another tensor.

    >>> flambeau.ones(2).to(flambeau.int64)
    tensor([1, 1])
    """,
    vjp=_same,
    public=False,
)
op(f"to.other(Tensor input, Tensor other, {_TO}", vjp={**_same, "other": None}, public=False)
op(f"to(Tensor input, device? device=None, dtype? dtype=None, {_TO}", vjp=_same, public=False)
for _name in "float double half bfloat16 bool byte char short int long chalf cfloat cdouble".split():
    op(
        f"{_name}(Tensor input, *, {_FORMAT}) -> Tensor",
        f"The tensor converted to ``torch.{_name}``; itself when it has that dtype."
        if _name not in ("byte", "char")
        else f"The tensor converted to {'u' * (_name == 'byte')}int8; itself when it has that dtype.",
        vjp=_same,
        public=False,
    )
op(
    f"cpu(Tensor input, {_FORMAT}) -> Tensor",
    "The tensor in the CPU's memory: itself.",
    vjp=_same,
    public=False,
)
op(
    "type_as(Tensor input, Tensor other) -> Tensor",
    "The tensor with the dtype and device of `other`.",
    vjp={**_same, "other": None},
    public=False,
)

for _signature, _what in (
    ("new_empty(Tensor input, int[] size", "An uninitialised tensor"),
    ("new_zeros(Tensor input, int[] size", "A tensor of zeros"),
    ("new_ones(Tensor input, int[] size", "A tensor of ones"),
    ("new_full(Tensor input, int[] size, Scalar fill_value", "A tensor filled with `fill_value`"),
    (
        "new_empty_strided(Tensor input, int[] size, int[] stride",
        "An uninitialised tensor with the given strides",
    ),
):
    op(
        f"{_signature}, *, {_OPTIONS}) -> Tensor",
        f"{_what} with the dtype and device of this one.",
        public=False,
    )
op(
    f"new_tensor(Tensor input, object data, *, {_DATA_OPTIONS}) -> Tensor",
    "A tensor with a copy of `data` and the dtype and device of this one.",
    public=False,
)

op(
    "result_type(Operand tensor, Operand other) -> dtype",
    """The dtype of ``tensor + other``, for tensors and numbers.

    >>> flambeau.result_type(flambeau.arange(2), 1.5)
    torch.float32
    """,
    method=False,
)
op(
    "promote_types(dtype type1, dtype type2) -> dtype",
    """The smallest dtype that both are promoted to.

    >>> flambeau.promote_types(flambeau.uint8, flambeau.int8)
    torch.int16
    """,
    method=False,
)
op(
    "can_cast(dtype from_, dtype to) -> bool",
    """Whether a result of dtype `from_` may be written into one of dtype `to`: never to a lower kind.

    >>> flambeau.can_cast(flambeau.float32, flambeau.int64)
    False
    """,
    method=False,
)
op(
    "is_floating_point(Tensor input) -> bool",
    "Whether the dtype is float16, bfloat16, float32 or float64.",
    method=False,
)
op("is_complex(Tensor input) -> bool", "Whether the dtype is complex.", method=False)
op("is_signed(Tensor input) -> bool", "Whether the dtype holds negative numbers.", method=False)
op("is_inference(Tensor input) -> bool", "Whether the tensor was made in inference mode.", method=False)
op("numel(Tensor input) -> int", "The number of elements.", method=False)
op("get_device(Tensor input) -> int", "The number of the tensor's device, -1 for the CPU.")
op("is_same_size(Tensor input, Tensor other) -> bool", "Whether the sizes are equal.")
op(
    "is_nonzero(Tensor input) -> bool",
    """Whether the one element is not zero; RuntimeError for any other number of elements.

    >>> flambeau.is_nonzero(flambeau.tensor([3]))
    True
    """,
)

# These give the tensor another window; autograd knows nothing of them, so they refuse what requires grad themselves.
op(
    f"resize_(Tensor input, int[] size, *, {_FORMAT}) -> Tensor",
    """Gives the tensor another size in place, with as many elements of its memory as they need; new ones are undefined.

    >>> flambeau.arange(4).resize_(2, 1)
    tensor([[0],
            [1]])
    """,
    public=False,
    writes=False,
)
op(
    f"resize_as_(Tensor input, Tensor the_template, *, {_FORMAT}) -> Tensor",
    "`resize_` to the size of another tensor.",
    writes=False,
)
_set_storage = op(
    "_set_storage(Tensor input, object storage, int offset, int[] size, int[]? stride=None) -> Tensor",
    "Makes the tensor a window on a storage.",
    method=False,
    public=False,
)


@composite(method=True, public=False)
def set_(self, source=None, storage_offset=0, size=None, stride=None):
    """Make the tensor share the memory of `source`, a tensor or a storage, in place.

    Args:
        source: nothing leaves an empty tensor.
        storage_offset, size, stride: the window on the storage, in elements; the whole of it by default.

    Raises RuntimeError when the dtypes differ, or the tensor requires grad.
    """
    import flambeau

    if self.requires_grad and flambeau.is_grad_enabled():
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation (set_)."
        )
    if source is None:
        return _set_storage(self, flambeau.UntypedStorage(0, device=self.device), 0, (0,))
    if isinstance(source, flambeau.Tensor):
        if source.dtype is not self.dtype:
            raise RuntimeError(
                f"Could not set tensor of type {source.dtype} to a tensor of type {self.dtype}"
            )
        if size is None:
            storage_offset, size, stride = source.storage_offset(), source.shape, source.stride()
        source = source.untyped_storage()
    elif not isinstance(source, flambeau.UntypedStorage):
        if source.dtype is not self.dtype:
            raise RuntimeError(
                f"Expected a Storage of type {self.dtype} or an UntypedStorage, but got {source.dtype}"
            )
        source = source.untyped()
    if size is None:
        size = (source.nbytes() // self.itemsize,)
    return _set_storage(
        self, source, storage_offset, tuple(size), stride if stride is None else tuple(stride)
    )
