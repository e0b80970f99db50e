# ruff: noqa: F401, F403
"""The former name of `_context_parallel`."""

from ._context_parallel import *
from ._context_parallel import _cp_options, _HeadTailLoadBalancer, _LoadBalancer, _RotateMethod
