"""Attention whose scores and mask are functions that a program brings.

A score function takes ``(score, batch, head, query, key)``, a mask function ``(batch, head, query, key)``, all of them
scalar tensors: the position of one score. They are applied to all positions at once by `flambeau.vmap`, and the matrix of
scores is made whole; a `BlockMask` says where it counts, and saves no work here.
"""

from __future__ import annotations

import dataclasses
import math

import flambeau

__all__ = [
    "AuxOutput",
    "AuxRequest",
    "BlockMask",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

_DEFAULT_SPARSE_BLOCK_SIZE = 128


@dataclasses.dataclass(frozen=True)
class AuxRequest:
    """What `flex_attention` is to return besides: the logarithm of the sum of exponentials, the largest scores."""

    lse: bool = False
    max_scores: bool = False


@dataclasses.dataclass(frozen=True)
class AuxOutput:
    """What an `AuxRequest` asked for, tensors (B, H, L); None for the rest."""

    lse: flambeau.Tensor | None = None
    max_scores: flambeau.Tensor | None = None


def noop_mask(batch, head, token_q, token_kv):
    """The mask function that masks nothing."""
    return batch.new_ones((), dtype=flambeau.bool)


def _combined(mask_mods, start: bool, combine):
    if not all(map(callable, mask_mods)):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")

    def mask(b, h, q, kv):
        result = b.new_full((), start, dtype=flambeau.bool)
        for each in mask_mods:
            result = combine(result, each(b, h, q, kv))
        return result

    return mask


def and_masks(*mask_mods):
    """The mask function that lets pass what all of them let pass."""
    return _combined(mask_mods, True, lambda a, b: a & b)


def or_masks(*mask_mods):
    """The mask function that lets pass what one of them lets pass."""
    return _combined(mask_mods, False, lambda a, b: a | b)


def _everywhere(function, with_scores: bool):
    """`function` over four dimensions of positions: key, query, head, batch, from the inside out."""
    for place in (3, 2, 1, 0):
        dims = [None] * 4
        dims[place] = 0
        function = flambeau.vmap(function, in_dims=((0, *dims) if with_scores else tuple(dims)))
    return function


def _positions(shape):
    return [flambeau.arange(size) for size in shape]


def create_mask(mod_fn, B, H, Q_LEN, KV_LEN, device=None):
    """All values of a mask function, as booleans (B, H, Q_LEN, KV_LEN).

    Args:
        mod_fn: a mask function, or a score function, of which the values say what passes: not -inf.
        B, H: sizes; None means 1.

    >>> from flambeau.nn.attention.flex_attention import create_mask
    >>> create_mask(lambda b, h, q, kv: q >= kv, None, None, 2, 2)
    tensor([[[[ True, False],
              [ True,  True]]]])
    """
    import inspect

    shape = (B or 1, H or 1, Q_LEN, KV_LEN)
    count = len([p for p in inspect.signature(mod_fn).parameters.values() if p.default is p.empty])
    if count == 5:
        scores = _everywhere(mod_fn, with_scores=True)(flambeau.zeros(shape), *_positions(shape))
        return scores != -math.inf
    return _everywhere(mod_fn, with_scores=False)(*_positions(shape)).expand(shape)


def _ordered(blocks):
    """(how many blocks count, their indices first and the others after) along the last dimension."""
    counts = blocks.sum(-1).to(flambeau.int32)
    indices = blocks.to(flambeau.int32).argsort(dim=-1, descending=True, stable=True)
    return counts, indices.to(flambeau.int32)


def _dense(counts, indices, columns=None):
    """The inverse of `_ordered`: booleans."""
    columns = indices.size(-1) if columns is None else columns
    valid = flambeau.arange(indices.size(-1)) < counts.unsqueeze(-1)
    blocks = flambeau.zeros((*indices.shape[:-1], columns + 1), dtype=flambeau.bool)
    places = flambeau.where(valid, indices.long(), columns)
    return blocks.scatter(-1, places, True)[..., :columns]


def _pair(block_size) -> tuple[int, int]:
    return (block_size, block_size) if isinstance(block_size, int) else tuple(block_size)


class BlockMask:
    """Which blocks of the matrix of scores count, and a mask function for those that count in part.

    `create_block_mask` makes it from a mask function, `from_kv_blocks` from lists of blocks.

    Attributes:
        kv_num_blocks, kv_indices: per row of blocks, how many count in part, and which.
        full_kv_num_blocks, full_kv_indices: the same of those that count in full, or None.
        q_num_blocks, q_indices, full_q_num_blocks, full_q_indices: the same per column of blocks.
        BLOCK_SIZE: rows and columns of a block.
        mask_mod: the mask function.
        seq_lengths: numbers of queries and keys.
    """

    def __init__(
        self,
        seq_lengths,
        kv_num_blocks,
        kv_indices,
        full_kv_num_blocks=None,
        full_kv_indices=None,
        q_num_blocks=None,
        q_indices=None,
        full_q_num_blocks=None,
        full_q_indices=None,
        BLOCK_SIZE=(_DEFAULT_SPARSE_BLOCK_SIZE, _DEFAULT_SPARSE_BLOCK_SIZE),
        mask_mod=noop_mask,
    ):
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError("full_kv_num_blocks and full_kv_indices must be both provided or omitted")
        self.seq_lengths = tuple(seq_lengths)
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = q_num_blocks, q_indices
        self.full_q_num_blocks, self.full_q_indices = full_q_num_blocks, full_q_indices
        self.BLOCK_SIZE = _pair(BLOCK_SIZE)
        self.mask_mod = mask_mod

    @classmethod
    def from_kv_blocks(
        cls,
        kv_num_blocks,
        kv_indices,
        full_kv_num_blocks=None,
        full_kv_indices=None,
        BLOCK_SIZE=_DEFAULT_SPARSE_BLOCK_SIZE,
        mask_mod=None,
        seq_lengths=None,
        compute_q_blocks=True,
    ):
        """A mask from the blocks of each row; see the attributes of the class. The columns' follow."""
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        size = _pair(BLOCK_SIZE)
        columns = {}
        if compute_q_blocks:
            for prefix, counts, indices in (
                ("", kv_num_blocks, kv_indices),
                ("full_", full_kv_num_blocks, full_kv_indices),
            ):
                if counts is not None:
                    ordered = _ordered(_dense(counts, indices).transpose(-2, -1))
                    columns[f"{prefix}q_num_blocks"], columns[f"{prefix}q_indices"] = ordered
        if seq_lengths is None:
            seq_lengths = (kv_indices.size(-2) * size[0], kv_indices.size(-1) * size[1])
        return cls(
            seq_lengths, kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices,
            BLOCK_SIZE=size, mask_mod=mask_mod or noop_mask, **columns,
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, H, queries, keys)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        """The number of scores."""
        return math.prod(self.shape)

    def _blocks(self):
        partial = _dense(self.kv_num_blocks, self.kv_indices)
        if self.full_kv_num_blocks is None:
            return partial, flambeau.zeros_like(partial)
        return partial, _dense(self.full_kv_num_blocks, self.full_kv_indices)

    def to_dense(self):
        """The blocks that count, in part or in full, as zeros and ones."""
        partial, full = self._blocks()
        return (partial | full).to(flambeau.int32)

    def sparsity(self) -> float:
        """Per cent of the scores in blocks that do not count; negative where the last blocks reach over the edge."""
        computed = int(self.to_dense().sum()) * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1]
        return 100 * (1 - computed / self.numel())

    def to(self, device):
        """The mask with its tensors on a device."""
        return self._with(lambda t: t.to(device))

    def __getitem__(self, index):
        """The mask of some batches, heads or rows of blocks."""
        index = index if isinstance(index, tuple) else (index,)
        index = tuple(slice(i, i + 1 or None) if isinstance(i, int) else i for i in index)

        def part(t):
            return t[index]

        rows = part(self.kv_indices).size(-2)
        length = self.seq_lengths[0] if rows == self.kv_indices.size(-2) else rows * self.BLOCK_SIZE[0]
        counts, indices = part(self.kv_num_blocks), part(self.kv_indices)
        full = self.full_kv_num_blocks is not None
        return BlockMask.from_kv_blocks(
            counts, indices, part(self.full_kv_num_blocks) if full else None,
            part(self.full_kv_indices) if full else None, self.BLOCK_SIZE,
            seq_lengths=(length, self.seq_lengths[1]), compute_q_blocks=self.q_indices is not None,
        )  # fmt: skip

    def _with(self, change):
        names = [
            f"{prefix}{side}_{what}"
            for side in ("kv", "q")
            for prefix in ("", "full_")
            for what in ("num_blocks", "indices")
        ]
        tensors = {name: getattr(self, name) for name in names}
        tensors = {name: None if t is None else change(t) for name, t in tensors.items()}
        return BlockMask(self.seq_lengths, **tensors, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=self.mask_mod)

    def __repr__(self):
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%)"


def create_block_mask(
    mask_mod,
    B,
    H,
    Q_LEN,
    KV_LEN,
    device=None,
    BLOCK_SIZE=_DEFAULT_SPARSE_BLOCK_SIZE,
    _compile=False,
    separate_full_blocks=True,
    **options,
):
    """A `BlockMask` from a mask function.

    Args:
        mask_mod: the mask function.
        B, H: sizes; None means 1, for a mask that is the same for all.
        Q_LEN, KV_LEN: numbers of queries and keys.
        BLOCK_SIZE: rows and columns of a block, or one number for both.
        separate_full_blocks: keep blocks that count in full apart.
    """
    rows, columns = _pair(BLOCK_SIZE)
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN)
    mask = flambeau.nn.functional.pad(mask, (0, -KV_LEN % columns, 0, -Q_LEN % rows), value=False)
    batch, heads = mask.shape[:2]
    tiles = mask.reshape(batch, heads, mask.size(2) // rows, rows, mask.size(3) // columns, columns)
    sums = tiles.sum((3, 5))
    full = (sums == rows * columns) & separate_full_blocks
    return BlockMask.from_kv_blocks(
        *_ordered((sums > 0) & ~full),
        *(_ordered(full) if separate_full_blocks else (None, None)),
        BLOCK_SIZE=(rows, columns),
        mask_mod=mask_mod,
        seq_lengths=(Q_LEN, KV_LEN),
    )


def _allowed(block_mask, shape):
    """Where scores count: booleans that broadcast to `shape`."""
    queries, keys = shape[-2:]
    if block_mask.seq_lengths[0] < queries or block_mask.seq_lengths[1] < keys:
        raise ValueError(
            f"block_mask was created for seq_lengths={block_mask.seq_lengths} but got {queries} queries and {keys} keys"
        )
    partial, full = (
        b.repeat_interleave(block_mask.BLOCK_SIZE[0], -2).repeat_interleave(block_mask.BLOCK_SIZE[1], -1)
        for b in block_mask._blocks()
    )
    inside = _everywhere(block_mask.mask_mod, with_scores=False)(*_positions(shape))
    return full[..., :queries, :keys] | (partial[..., :queries, :keys] & inside)


def flex_attention(
    query,
    key,
    value,
    score_mod=None,
    block_mask=None,
    scale=None,
    enable_gqa=False,
    return_lse=False,
    kernel_options=None,
    *,
    return_aux=None,
):
    """Attention with scores changed by `score_mod` and masked by `block_mask`. A query with nothing to see gives zeros.

    Args:
        query: (B, Hq, L, E). key: (B, Hkv, S, E). value: (B, Hkv, S, Ev).
        score_mod: a score function, or None.
        block_mask: a `BlockMask`, or None.
        scale: factor of the products of queries and keys; by default ``1 / sqrt(E)``.
        enable_gqa: Hq may be a multiple of Hkv.
        return_lse: return ``(output, lse)``.
        kernel_options: accepted; there is one way to compute here.
        return_aux: an `AuxRequest`: return ``(output, AuxOutput)``.

    Returns:
        (B, Hq, L, Ev).
    """
    for tensor, name in ((query, "query"), (key, "key"), (value, "value")):
        if tensor.dim() != 4:
            raise NotImplementedError(f"flex_attention expects 4 dimensions, but {name} has {tensor.dim()}")
    if query.size(-3) != key.size(-3):
        if not enable_gqa:
            raise ValueError(
                f"Expect query and key/value to have the same number of heads but got Hq={query.size(-3)} and "
                f"Hkv={key.size(-3)}. Try setting enable_gqa=True for GQA."
            )
        if query.size(-3) % key.size(-3):
            raise ValueError(
                f"Expect number of query heads to be a multiple of kv heads for GQA but got Hq={query.size(-3)} and "
                f"Hkv={key.size(-3)}."
            )
        groups = query.size(-3) // key.size(-3)
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    working = flambeau.float64 if query.dtype == flambeau.float64 else flambeau.float32
    scores = (query @ key.transpose(-2, -1)).to(working)
    scores = scores * (1 / math.sqrt(query.size(-1)) if scale is None else scale)
    shape = scores.shape
    if score_mod is not None:
        scores = _everywhere(score_mod, with_scores=True)(scores, *_positions(shape)).to(working)
    if block_mask is not None:
        scores = scores.masked_fill(~_allowed(block_mask, shape), -math.inf)
    lse = scores.logsumexp(-1)
    blind = (lse == -math.inf).unsqueeze(-1)
    weights = flambeau.softmax(scores.masked_fill(blind, 0), -1).masked_fill(blind, 0)
    output = weights.to(query.dtype) @ value
    if return_aux is not None:
        maxima = scores.amax(-1) if return_aux.max_scores else None
        return output, AuxOutput(lse if return_aux.lse else None, maxima)
    return (output, lse) if return_lse else output
