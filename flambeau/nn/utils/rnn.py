"""Sequences of different lengths: padded to one tensor, or packed step by step without padding."""

from collections import namedtuple
from collections.abc import Iterable

import flambeau

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pad_packed_sequence", "pad_sequence", "unpad_sequence",
    "pack_sequence", "unpack_sequence",
]  # fmt: skip

PackedSequence_ = namedtuple(
    "PackedSequence_",
    ("data", "batch_sizes", "sorted_indices", "unsorted_indices"),
    defaults=(None, None),
)


class PackedSequence(PackedSequence_):
    """Sequences of different lengths, packed: the rows of all first steps, then of all second steps, and so on.

    Attributes:
        data: the rows (sum of lengths, \\*).
        batch_sizes: how many sequences reach each step: int64, on the CPU, never increasing.
        sorted_indices: the order in which the sequences were packed, longest first; None if they came in this order.
        unsorted_indices: the inverse of that permutation.

    Made by `pack_padded_sequence` and `pack_sequence`; recurrent layers take and return it.

    >>> packed = nn.utils.rnn.pack_sequence([flambeau.tensor([1, 2, 3]), flambeau.tensor([4])])
    >>> packed.data, packed.batch_sizes
    (tensor([1, 4, 2, 3]), tensor([2, 1, 1]))
    """

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            # Data and sizes as one pair, an older way to call.
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError(
                    f"Expected data to be a list or tuple of length 2 when batch_sizes is None, got {type(data).__name__}"
                )
            data, batch_sizes = data
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. They "
                "should be instantiated by functions like pack_sequence and pack_padded_sequence in nn.utils.rnn"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _with_data(self, data):
        """The same packing of other data; the permutations go where the data is."""
        indices = (
            None if i is None else i.to(data.device) for i in (self.sorted_indices, self.unsorted_indices)
        )
        return type(self)(data, self.batch_sizes, *indices)

    def to(self, *args, **kwargs):
        """The data converted as by `Tensor.to`; the sequence itself where nothing changes."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._with_data(data)

    def cpu(self, *args, **kwargs):
        """The sequence on the CPU."""
        return self.to(*args, device="cpu", **kwargs)

    def cuda(self, *args, **kwargs):
        """The sequence on a CUDA device."""
        data = self.data.cuda(*args, **kwargs)
        return self if data is self.data else self._with_data(data)

    def double(self):
        """The data as float64."""
        return self.to(dtype=flambeau.float64)

    def float(self):
        """The data as float32."""
        return self.to(dtype=flambeau.float32)

    def half(self):
        """The data as float16."""
        return self.to(dtype=flambeau.float16)

    def long(self):
        """The data as int64."""
        return self.to(dtype=flambeau.int64)

    def int(self):
        """The data as int32."""
        return self.to(dtype=flambeau.int32)

    def short(self):
        """The data as int16."""
        return self.to(dtype=flambeau.int16)

    def char(self):
        """The data as int8."""
        return self.to(dtype=flambeau.int8)

    def byte(self):
        """The data as uint8."""
        return self.to(dtype=flambeau.uint8)

    def pin_memory(self):
        """The sequence with its data in pinned memory."""
        return self._with_data(self.data.pin_memory())

    @property
    def is_cuda(self):
        """Whether the data lies on a CUDA device."""
        return self.data.is_cuda

    def is_pinned(self):
        """Whether the data lies in pinned memory."""
        return self.data.is_pinned()


def invert_permutation(permutation):
    """The inverse of a permutation of 0 ... n-1; None for None.

    >>> nn.utils.rnn.invert_permutation(flambeau.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    positions = flambeau.arange(permutation.numel(), device=permutation.device)
    return flambeau.empty_like(permutation).scatter_(0, permutation, positions)


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Pack the sequences of a padded tensor.

    Args:
        input: (T, N, \\*), or (N, T, \\*) with `batch_first`.
        lengths: the length of each sequence, a list or an int64 tensor on the CPU.
        enforce_sorted: the sequences come longest first, which is checked. False: they are sorted, and the order is kept.

    >>> padded = flambeau.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    >>> nn.utils.rnn.pack_padded_sequence(padded, [2, 1, 3], batch_first=True, enforce_sorted=False).data
    tensor([4, 1, 3, 5, 2, 6])
    """
    lengths = flambeau.as_tensor(lengths, dtype=flambeau.int64, device="cpu")
    order = None
    if not enforce_sorted:
        lengths, order = flambeau.sort(lengths, descending=True)
        order = order.to(input.device)
        input = input.index_select(0 if batch_first else 1, order)
    data, batch_sizes = flambeau._pack_padded_sequence(input, lengths, batch_first)
    return PackedSequence(data, batch_sizes, order, None)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """The inverse of `pack_padded_sequence`: the padded tensor and the lengths, in the original order.

    Args:
        padding_value: what stands beyond the end of a sequence. Default: 0.
        total_length: the length to pad to; the longest sequence's if None. An error if that is longer.

    >>> packed = nn.utils.rnn.pack_sequence([flambeau.tensor([1, 2, 3]), flambeau.tensor([4])])
    >>> nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    (tensor([[1, 2, 3],
            [4, 0, 0]]), tensor([3, 1]))
    """
    longest = sequence.batch_sizes.size(0)
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {longest}"
            )
        longest = total_length
    padded, lengths = flambeau._pad_packed_sequence(
        sequence.data, sequence.batch_sizes, batch_first, padding_value, longest
    )
    order = sequence.unsorted_indices
    if order is None:
        return padded, lengths
    return padded.index_select(0 if batch_first else 1, order), lengths[order.cpu()]


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Tensors (L, \\*) of different lengths as one tensor (longest, N, \\*), or (N, longest, \\*) with `batch_first`.

    Args:
        padding_value: what stands where a sequence is shorter. Default: 0.
        padding_side: 'right' pads at the end, 'left' in front.

    >>> nn.utils.rnn.pad_sequence([flambeau.tensor([1, 2, 3]), flambeau.tensor([4])], batch_first=True)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    if isinstance(sequences, flambeau.Tensor):
        sequences = sequences.unbind(0)
    elif isinstance(sequences, Iterable):
        sequences = tuple(sequences)
    else:
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    for i, s in enumerate(sequences):
        if not isinstance(s, flambeau.Tensor):
            raise TypeError(
                f"pad_sequence(): expected Tensor as element {i} in argument 0, but got {type(s).__name__}"
            )
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    first = sequences[0]
    longest = max(s.size(0) if s.dim() else 0 for s in sequences)
    padded = []
    for s in sequences:
        if s.dim() != first.dim() or s.shape[1:] != first.shape[1:]:
            raise RuntimeError(
                f"pad_sequence(): all sequences must have the same sizes but for the first: the size of tensor a "
                f"{list(first.shape)} must match the size of tensor b {list(s.shape)}"
            )
        missing = longest - s.size(0)
        around = (missing, 0) if padding_side == "left" else (0, missing)
        padded.append(
            flambeau.constant_pad_nd(s.to(first.dtype), [0, 0] * (s.dim() - 1) + [*around], padding_value)
        )
    return flambeau.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The inverse of `pad_sequence`: a list of tensors (length, \\*).

    >>> nn.utils.rnn.unpad_sequence(flambeau.tensor([[1, 2, 3], [4, 0, 0]]), flambeau.tensor([3, 1]), batch_first=True)
    [tensor([1, 2, 3]), tensor([4])]
    """
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    counts = lengths.tolist()
    return [s[:n] for s, n in zip(padded_sequences, counts, strict=False)]


def pack_sequence(sequences, enforce_sorted=True):
    """Pack a list of tensors (L, \\*); see `pack_padded_sequence` for `enforce_sorted`.

    >>> nn.utils.rnn.pack_sequence([flambeau.tensor([1, 2]), flambeau.tensor([3])]).data
    tensor([1, 3, 2])
    """
    lengths = flambeau.as_tensor([s.size(0) for s in sequences], dtype=flambeau.int64)
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The sequences of a :class:`PackedSequence` as a list of tensors, in the original order.

    >>> nn.utils.rnn.unpack_sequence(nn.utils.rnn.pack_sequence([flambeau.tensor([1, 2]), flambeau.tensor([3])]))
    [tensor([1, 2]), tensor([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
