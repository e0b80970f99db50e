"""The groups that this process belongs to: making them, ending them, and ranks in them."""

from __future__ import annotations

import os
import warnings
from datetime import timedelta

from .backend import Backend, BackendConfig, check_backend
from .constants import default_pg_timeout
from .process_group import ProcessGroup
from .rendezvous import rendezvous
from .store import PrefixStore

__all__ = [
    "GroupMember", "destroy_process_group", "get_backend", "get_backend_config", "get_global_rank", "get_group_rank",
    "get_node_local_rank", "get_pg_count", "get_process_group_ranks", "get_rank", "get_world_size", "group",
    "init_process_group", "is_initialized", "is_torchelastic_launched", "new_group", "new_subgroups",
    "new_subgroups_by_enumeration", "split_group",
]  # fmt: skip


class _World:
    """This process's groups."""

    def __init__(self):
        self.forget()

    def forget(self) -> None:
        self.default: ProcessGroup | None = None
        self.store = None
        self.groups: dict[str, ProcessGroup] = {}
        self.count = 0
        self.made_locally: dict[tuple, int] = {}


_world = _World()


class _WorldMeta(type):
    @property
    def WORLD(cls):
        return _world.default

    @WORLD.setter
    def WORLD(cls, group):
        _world.default = group


class group(metaclass=_WorldMeta):
    """``group.WORLD`` is the group of all processes, None before `init_process_group`."""


class GroupMember(metaclass=_WorldMeta):
    """``GroupMember.NON_GROUP_MEMBER`` stands for a group to which this process does not belong."""

    NON_GROUP_MEMBER = -100


def is_initialized() -> bool:
    """Whether there is a group of all processes."""
    return _world.default is not None


def _get_default_group() -> ProcessGroup:
    if _world.default is None:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call init_process_group."
        )
    return _world.default


def _get_default_store():
    _get_default_group()
    return _world.store


def is_outside(group) -> bool:
    """Whether this stands for a group without this process."""
    return group is not None and not isinstance(group, ProcessGroup) and group == GroupMember.NON_GROUP_MEMBER


def resolve(group) -> ProcessGroup:
    """A group: the default for None; by its name for text."""
    if group is None:
        return _get_default_group()
    if isinstance(group, ProcessGroup):
        return group
    if isinstance(group, str):
        return _resolve_process_group(group)
    if is_outside(group):
        raise ValueError("Invalid process group specified: this process does not belong to it")
    raise TypeError(f"expected a ProcessGroup, got {type(group).__name__}")


def _resolve_process_group(name: str) -> ProcessGroup:
    if name not in _world.groups:
        raise RuntimeError(f"Could not resolve the process group registered under the name {name}")
    return _world.groups[name]


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store=None,
    group_name: str = "",
    pg_options=None,
    device_id=None,
) -> None:
    """Connect this process with all others: every one of them calls this.

    Args:
        backend: ``"gloo"`` or None; the engine is flambeau's own, on sockets, for tensors on the CPU.
        init_method: how processes find each other: ``"env://"``, the default, takes ``MASTER_ADDR``, ``MASTER_PORT``,
            ``RANK`` and ``WORLD_SIZE`` from the environment; ``"tcp://host:port"`` and ``"file:///path"`` need `rank`
            and `world_size`.
        timeout: how long an operation may wait for the others. Default: 30 minutes.
        world_size: how many processes there are.
        rank: which of them this is.
        store: in place of `init_method`, a store that all can reach.

    Raises:
        ValueError: the group exists already, or something is missing.

    >>> import flambeau.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> dist.get_rank(), dist.get_world_size()
    (0, 1)
    >>> dist.destroy_process_group()
    """
    if _world.default is not None:
        raise ValueError("trying to initialize the default process group twice!")
    if store is not None and init_method is not None:
        raise AssertionError("Cannot specify both init_method and store.")
    if store is not None:
        if not world_size > 0:
            raise AssertionError("world_size must be positive if using store")
        if not rank >= 0:
            raise AssertionError("rank must be non-negative if using store")
    elif init_method is None:
        init_method = "env://"
    name = Backend(backend) if backend else Backend.UNDEFINED
    check_backend(name)
    if timeout is None:
        timeout = default_pg_timeout
    elif not isinstance(timeout, timedelta):
        raise TypeError(f"Expected timeout argument to be of type datetime.timedelta, got {timeout}")
    if store is None:
        store, rank, world_size = next(rendezvous(init_method, rank, world_size, timeout=timeout))
        store.set_timeout(timeout)
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is not between 0 and world_size - 1 = {world_size - 1}")
    try:
        _world.store = PrefixStore("default_pg", store)
        made = _make(name, list(range(world_size)), rank, timeout, "default_pg", group_name)
    except BaseException:
        _world.forget()
        raise
    _world.default = made


def _make(backend: str, ranks: list[int], rank: int, timeout, desc: str, name: str = "") -> ProcessGroup:
    name = name or str(_world.count)
    _world.count += 1
    store = PrefixStore(f"group/{name}", _world.store)
    made = ProcessGroup(
        store, rank, len(ranks), timeout, name=name, desc=desc or "undefined", ranks=ranks, backend=backend
    )
    _world.groups[name] = made
    return made


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """End a group; the group of all processes, which is the default, takes all others with it."""
    if is_outside(group):
        return
    found = _world.default if group is None else group
    if found is None:
        raise AssertionError("Process group cannot be None")
    if found is _world.default:
        for each in reversed(list(_world.groups.values())):
            each.shutdown()
        _world.forget()
        return
    if _world.groups.get(found.group_name) is not found:
        raise ValueError("Invalid process group specified")
    del _world.groups[found.group_name]
    found.shutdown()


def _set_pg_timeout(timeout: timedelta, group: ProcessGroup | None = None) -> None:
    """Let operations of a group, the default being all processes, wait for others no longer than this."""
    if not isinstance(timeout, timedelta):
        raise TypeError(f"Expected timeout argument to be of type datetime.timedelta, got {timeout}")
    resolve(group).set_timeout(timeout)


def get_rank(group: ProcessGroup | None = None) -> int:
    """This process's number in a group, the default being all processes; -1 if it is not a member."""
    return -1 if is_outside(group) else resolve(group)._rank


def get_world_size(group: ProcessGroup | None = None) -> int:
    """How many processes a group has, the default being all; -1 if this one is not a member."""
    return -1 if is_outside(group) else resolve(group)._size


def get_backend(group: ProcessGroup | None = None) -> Backend:
    """The name of a group's backend."""
    if is_outside(group):
        raise ValueError("Invalid process group specified")
    return Backend(resolve(group)._backend)


def get_backend_config(group: ProcessGroup | None = None) -> str:
    """Which backend serves which device."""
    return str(BackendConfig(get_backend(group)))


def get_pg_count() -> int:
    """How many groups this process has made, those of which it is no member too."""
    return _world.count


def get_process_group_ranks(group: ProcessGroup | None) -> list[int]:
    """The numbers, among all processes, of a group's members."""
    return list(resolve(group)._ranks)


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """The number in a group of the process that has `global_rank` among all.

    >>> flambeau.distributed.get_group_rank(some_group, 3)  # doctest: +SKIP
    1
    """
    if group is GroupMember.WORLD and group is not None:
        return global_rank
    found = resolve(group)
    if global_rank not in found._ranks:
        raise ValueError(f"Global rank {global_rank} is not part of group {group}")
    return found._ranks.index(global_rank)


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """The number among all processes of the one that has `group_rank` in a group."""
    if group is GroupMember.WORLD and group is not None:
        return group_rank
    found = resolve(group)
    if not 0 <= group_rank < found._size:
        raise ValueError(f"Group rank {group_rank} is not part of group {group}")
    return found._ranks[group_rank]


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """This process's number on its host, which the launcher tells in ``LOCAL_RANK``."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is not None:
        return int(fallback_rank)
    raise RuntimeError(
        "LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow `get_node_local_rank` to work, "
        "assuming you are not running in a multi-device context and want the code to run locally instead."
    )


def is_torchelastic_launched() -> bool:
    """Whether the launcher started this process."""
    return os.environ.get("TORCHELASTIC_RUN_ID") is not None


def new_group(
    ranks=None,
    timeout=None,
    backend=None,
    pg_options=None,
    use_local_synchronization: bool = False,
    group_desc=None,
    device_id=None,
    sort_ranks: bool = True,
):
    """A group of some of all processes. All processes call this, in the same order, members or not.

    Args:
        ranks: numbers of the members among all processes; None: all.
        timeout: how long operations of the group may wait; the default is that of the group of all.
        use_local_synchronization: only the members call this.
        sort_ranks: whether members are numbered in the order of their numbers among all, or in the one given.

    Returns:
        The group, or ``GroupMember.NON_GROUP_MEMBER`` in processes that are not members.
    """
    world = _get_default_group()
    name = Backend(backend) if backend else world._backend
    check_backend(name)
    timeout = world._timeout if timeout is None else timeout
    if not isinstance(timeout, timedelta):
        raise TypeError(f"Expected timeout argument to be of type datetime.timedelta, got {timeout}")
    ranks = list(range(world._size)) if ranks is None else [int(rank) for rank in ranks]
    if sort_ranks:
        ranks = sorted(ranks)
    if len(set(ranks)) != len(ranks):
        raise ValueError(f"ranks list must not contain duplicate entries, got {ranks}")
    if len(ranks) > world._size:
        raise ValueError(
            "the new group's world size should be less or equal to the world size set by init_process_group"
        )
    for rank in ranks:
        if not 0 <= rank < world._size:
            raise ValueError(
                f"Rank {rank} is out of range. Valid ranks are 0 to {world._size - 1} (world_size={world._size})"
            )
    own_name = ""
    if use_local_synchronization:
        if world._rank not in ranks:
            return None
        import hashlib

        # Members alone count these groups, so their names have to say who they are.
        nth = _world.made_locally[tuple(ranks)] = _world.made_locally.get(tuple(ranks), -1) + 1
        own_name = hashlib.sha1(repr((ranks, nth)).encode()).hexdigest()
    if world._rank not in ranks:
        _world.count += 1
        return GroupMember.NON_GROUP_MEMBER
    made = _make(name, ranks, ranks.index(world._rank), timeout, group_desc, own_name)
    if use_local_synchronization:
        _world.count -= 1
    return made


def new_subgroups(group_size=None, group=None, timeout=None, backend=None, pg_options=None, group_desc=None):
    """Groups of `group_size` neighbours each.

    Returns:
        The group of this process, and the list of all (of those of others, ``GroupMember.NON_GROUP_MEMBER``).
    """
    parent = resolve(group)
    if group_size is None:
        raise ValueError("new_subgroups needs group_size here: there are no devices to count on a host")
    size = parent._size
    if group_size <= 0:
        raise ValueError(f"The arg 'group_size' ({group_size}) must be positive")
    if size < group_size:
        raise ValueError(f"The arg 'group_size' ({group_size}) must not exceed the world size ({size})")
    if size % group_size != 0:
        raise ValueError(f"The world size ({size}) must be divisible by group_size ({group_size})")
    lists = [parent._ranks[start : start + group_size] for start in range(0, size, group_size)]
    return new_subgroups_by_enumeration(lists, timeout, backend, pg_options, group_desc)


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list, timeout=None, backend=None, pg_options=None, group_desc=None
):
    """Groups of these lists of processes, which must not share any.

    Returns:
        The group of this process, or None, and the list of all.
    """
    if ranks_per_subgroup_list is None or len(ranks_per_subgroup_list) == 0:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    seen: dict[int, list] = {}
    for ranks in ranks_per_subgroup_list:
        for rank in ranks:
            if rank in seen:
                raise ValueError(f"Rank {rank} has appeared in both subgroup {seen[rank]} and {ranks}")
            seen[rank] = ranks
    own, made = None, []
    for ranks in ranks_per_subgroup_list:
        subgroup = new_group(ranks, timeout, backend, pg_options, group_desc=group_desc)
        made.append(subgroup)
        if _get_default_group()._rank in ranks:
            own = subgroup
    return own, made


def split_group(
    parent_pg=None, split_ranks=None, timeout=None, pg_options=None, group_desc=None, backend=None
):
    """The group of this process after splitting a group: `split_ranks` lists the parts by numbers in the parent.

    All of the parent's processes call this. Returns None for those in no part.
    """
    parent = resolve(parent_pg)
    if not split_ranks:
        raise ValueError("split_ranks cannot be None or empty")
    own = next((sorted(part) for part in split_ranks if parent._rank in part), None)
    if own is None:
        return None
    ranks = [get_global_rank(parent, rank) for rank in own]
    return new_group(
        ranks,
        timeout or parent._timeout,
        backend,
        pg_options,
        True,
        group_desc or f"{parent.group_desc}:split",
    )


def group_rank_of(group: ProcessGroup, global_rank: int | None, group_rank: int | None) -> int:
    """The number in a group that a caller gave, among all processes or in the group."""
    if group_rank is not None:
        if global_rank is not None:
            raise ValueError("Can't specify both group_rank and global_rank")
        return group_rank
    if global_rank is None:
        raise ValueError("Must specify global_rank or group_rank")
    return get_group_rank(group, global_rank)


def warn_outside(name: str) -> None:
    """Tell the user that an operation of a group was called by a process that is not a member."""
    rank = "" if _world.default is None else _world.default._rank
    warnings.warn(
        f"Running {name} on global rank {rank} which does not belong to the given group.", stacklevel=3
    )
