"""Processes that work together: groups, collective operations, messages, and what is built on them.

The engine is flambeau's own: see transport.py for how bytes travel and collectives.py for the algorithms. Processes on
one host share memory, others talk over TCP. PyTorch's name for a backend like this is ``gloo``.
"""

import importlib

from .distributed_c10d import *
from .distributed_c10d import (
    Backend,
    BackendConfig,
    FileStore,
    HashStore,
    PrefixStore,
    ProcessGroup,
    ProcessGroupGloo,
    ReduceOp,
    Store,
    TCPStore,
    Work,
    default_pg_timeout,
    reduce_op,
    register_rendezvous_handler,
    rendezvous,
)

_LAZY = {
    "DeviceMesh": "device_mesh",
    "init_device_mesh": "device_mesh",
    "GradBucket": "reducer",
    "Reducer": "reducer",
    "BuiltinCommHookType": "algorithms.ddp_comm_hooks",
}
_SUBMODULES = frozenset(
    "algorithms device_mesh distributed_c10d elastic launch nn optim rpc run tensor _functional_collectives".split()
)


def is_available() -> bool:
    """True: the package is there."""
    return True


def __getattr__(name):
    if name in _LAZY:
        return getattr(importlib.import_module("." + _LAZY[name], __name__), name)
    if name in _SUBMODULES:
        return importlib.import_module("." + name, __name__)
    raise AttributeError(f"module 'torch.distributed' has no attribute '{name}' in flambeau")
