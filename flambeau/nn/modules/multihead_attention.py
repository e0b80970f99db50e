"""Attention of several heads as a module."""

import flambeau

from .. import functional as F
from .. import init
from ..parameter import Parameter
from .linear import NonDynamicallyQuantizableLinear
from .module import Module

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention by `num_heads` heads, each on its own projection of queries, keys and values to `embed_dim / num_heads`.

    Args:
        dropout: probability of dropping a weight, in training. Default: 0.
        bias: learn biases of the projections. Default: True.
        add_bias_kv: learn one key and value that come after the given ones. add_zero_attn: add one of zeros.
        kdim, vdim: sizes of keys and values. Default: `embed_dim`.
        batch_first: the batch is dimension 0 rather than 1.

    Shapes: query (L, N, E), key (S, N, kdim), value (S, N, vdim), with `batch_first` (N, L, E) and so on, or all
    without N. Returns (output, weights): the output has the query's shape; the weights are (N, L, S), averaged over the
    heads, (N, heads, L, S) with ``average_attn_weights=False``, or None with ``need_weights=False``, which is faster.

    Masks: `key_padding_mask` (N, S) is True for keys to leave out, `attn_mask` (L, S) or (N * heads, L, S) is True where a
    query may not look at a key; in floating point they are added to the scores. ``is_causal=True`` says that `attn_mask`
    is the causal mask.

    >>> attention, x = nn.MultiheadAttention(8, 2, batch_first=True), flambeau.ones(3, 4, 8)
    >>> [result.shape for result in attention(x, x, x)]
    [torch.Size([3, 4, 8]), torch.Size([3, 4, 4])]
    """

    __constants__ = ["batch_first"]
    # The home that saved models name.
    __module__ = "flambeau.nn.modules.activation"

    def __init__(
        self,
        embed_dim,
        num_heads,
        dropout=0.0,
        bias=True,
        add_bias_kv=False,
        add_zero_attn=False,
        kdim=None,
        vdim=None,
        batch_first=False,
        device=None,
        dtype=None,
    ):
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, "
                f"got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")

        def parameter(wanted, *shape):
            return Parameter(flambeau.empty(shape, device=device, dtype=dtype)) if wanted else None

        together = self._qkv_same_embed_dim
        shapes = {
            "q_proj_weight": (not together, embed_dim, embed_dim),
            "k_proj_weight": (not together, embed_dim, self.kdim),
            "v_proj_weight": (not together, embed_dim, self.vdim),
            "in_proj_weight": (together, 3 * embed_dim, embed_dim),
            "in_proj_bias": (bias, 3 * embed_dim),
        }
        for name, (wanted, *shape) in shapes.items():
            self.register_parameter(name, parameter(wanted, *shape))
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        self.register_parameter("bias_k", parameter(add_bias_kv, 1, 1, embed_dim))
        self.register_parameter("bias_v", parameter(add_bias_kv, 1, 1, embed_dim))
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self):
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if (weight := getattr(self, name)) is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def __setstate__(self, state):
        # Models saved long ago know of no separate sizes.
        state.setdefault("_qkv_same_embed_dim", True)
        super().__setstate__(state)

    def forward(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
    ):
        swapped = self.batch_first and query.dim() == 3
        if swapped:  # one tensor stays one, so that its projections are one product
            same_key, same_value = key is query, value is key
            query = query.transpose(0, 1)
            key = query if same_key else key.transpose(0, 1)
            value = key if same_value else value.transpose(0, 1)
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (output.transpose(0, 1) if swapped else output), weights

    def merge_masks(self, attn_mask, key_padding_mask, query):
        """Both masks in one, and its kind: 0 for `attn_mask`, 1 for `key_padding_mask` alone, 2 for (N, heads, L, S).

        query: (N, L, E). Both are None where there is no mask.
        """
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        batch, length = query.shape[:2]
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, length, length)
        else:
            merged = attn_mask.view(1, 1, length, length).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            merged = merged + key_padding_mask.view(batch, 1, 1, length).expand(-1, self.num_heads, -1, -1)
        return merged, 2
