"""Context parallelism: attention over a sequence of which each process holds a part."""

from ._context_parallel import context_parallel

__all__ = ["context_parallel"]
