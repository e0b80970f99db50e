"""How `linear_cross_entropy` cuts its batch."""

from dataclasses import dataclass

import flambeau

__all__ = ["LinearCrossEntropyOptions"]

_POLICIES = ("accurate", "balanced", "compact", "auto")
_DTYPES = (None, flambeau.float16, flambeau.bfloat16, flambeau.float32, flambeau.float64)


@dataclass(frozen=True, slots=True)
class LinearCrossEntropyOptions:
    """Cuts the batch of `linear_cross_entropy` into chunks, so that the scores of all rows are never in memory at once.

    Args:
        allow_retain_graph: accepted; a graph that is retained can always be used again.
        batch_chunk_size: rows of a chunk. Default: by `chunking_method`.
        chunking_method: 'auto', or 'aspect_ratio:R': scores of a chunk take at most R times the memory of the input; None:
            as 'auto' where there is no `batch_chunk_size`.
        acc_policy, acc_dtype: accepted; gradients of chunks are added in the dtype of the weights.

    >>> weight, target = flambeau.zeros(4, 2), flambeau.tensor([0, 3, 1])
    >>> F.linear_cross_entropy(flambeau.ones(3, 2), weight, target, options=nn.LinearCrossEntropyOptions(batch_chunk_size=2))
    tensor(1.3863)
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: flambeau.dtype | None = None

    def __post_init__(self):
        size = self.batch_chunk_size
        if size is not None and (not isinstance(size, int) or size < 1):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size}")
        if self.chunking_method not in (None, "auto"):
            name, _, ratio = self.chunking_method.partition(":")
            if name != "aspect_ratio" or not ratio.isdigit() or int(ratio) < 1:
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        if self.acc_policy not in _POLICIES:
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.acc_dtype not in _DTYPES:
            raise ValueError(
                f"acc_dtype must be one of {{{', '.join(map(str, _DTYPES))}}}, got {self.acc_dtype}. Pass acc_dtype=None to "
                "let the operator choose."
            )
