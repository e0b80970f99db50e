"""Causal masks as objects: which way a triangle lies in a rectangle of queries and keys."""

import enum
import warnings

import flambeau

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(enum.IntEnum):
    """Where the diagonal of a causal mask starts: at the first query and key, or so that it ends at the last ones."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(flambeau.Tensor):
    """A causal mask (queries, keys) for the `attn_mask` of `scaled_dot_product_attention`: True where a query may look.

    Made by :func:`causal_upper_left` and :func:`causal_lower_right`.

    >>> from flambeau.nn.attention.bias import causal_lower_right
    >>> causal_lower_right(2, 4)
    tensor([[ True,  True,  True, False],
            [ True,  True,  True,  True]])
    """

    # What operators make of it is a plain tensor.
    __torch_function__ = flambeau._C._disabled_torch_function_impl

    def __new__(cls, variant, seq_len_q, seq_len_kv):
        variant = CausalVariant(variant)
        lower_right = variant is CausalVariant.LOWER_RIGHT
        if lower_right and seq_len_q > seq_len_kv:
            warnings.warn(
                "Lower right causal bias will produce NaNs in the output when seq_len_q > seq_len_kv!",
                stacklevel=3,
            )
        diagonal = seq_len_kv - seq_len_q if lower_right else 0
        mask = flambeau.ones(seq_len_q, seq_len_kv, dtype=flambeau.bool).tril(diagonal)
        bias = flambeau.Tensor._make_subclass(cls, mask, False)
        bias.variant, bias.seq_len_q, bias.seq_len_kv = variant, seq_len_q, seq_len_kv
        return bias

    def _materialize(self, device=None):
        """The mask as a plain tensor."""
        return self.as_subclass(flambeau.Tensor).to(device=device or self.device)


def _sizes(function, size):
    if len(size) != 2:
        raise AssertionError(f"{function} only supports 2D tensors")
    return size


def causal_upper_left(*size):
    """The mask (queries, keys) whose diagonal starts at the first query and the first key.

    >>> flambeau.nn.attention.bias.causal_upper_left(2, 3)
    tensor([[ True, False, False],
            [ True,  True, False]])
    """
    return CausalBias(CausalVariant.UPPER_LEFT, *_sizes("causal_upper_left", size))


def causal_lower_right(*size):
    """The mask (queries, keys) whose diagonal ends at the last query and the last key."""
    return CausalBias(CausalVariant.LOWER_RIGHT, *_sizes("causal_lower_right", size))
