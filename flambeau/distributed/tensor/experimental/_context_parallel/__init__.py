"""Context parallelism; see _attention.py for how it is used, _ring.py for how it works."""

from ._attention import _context_parallel_shard, context_parallel, context_parallel_unshard, set_rotate_method
from ._load_balancer import _HeadTailLoadBalancer, _LoadBalancer
from ._ring import _cp_options, _RotateMethod, ring_attention

__all__ = ["context_parallel", "context_parallel_unshard", "ring_attention", "set_rotate_method"]
