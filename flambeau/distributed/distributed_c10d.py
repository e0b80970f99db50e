# ruff: noqa: F401
"""Everything about process groups under the name of the module that holds it in PyTorch."""

from .backend import *  # noqa: F403
from .backend import Backend, BackendConfig
from .constants import default_pg_timeout
from .debug import *  # noqa: F403
from .errors import *  # noqa: F403
from .file_store import FileStore
from .objects import *  # noqa: F403
from .operations import *  # noqa: F403
from .point_to_point import *  # noqa: F403
from .process_group import ProcessGroup, ProcessGroupGloo
from .reduce_op import ReduceOp, reduce_op
from .rendezvous import register_rendezvous_handler, rendezvous
from .store import HashStore, PrefixStore, Store
from .tcp_store import TCPStore
from .work import Work
from .world import *  # noqa: F403
from .world import _get_default_group, _get_default_store, _resolve_process_group, _set_pg_timeout, _world
