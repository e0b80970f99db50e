"""`send` and `recv` of tensors."""

from __future__ import annotations

from .operations import check_tensor
from .p2p import ANY_SOURCE
from .transport import bytes_of
from .work import Work
from .world import get_global_rank, group_rank_of, is_outside, resolve, warn_outside

__all__ = ["P2POp", "batch_isend_irecv", "irecv", "isend", "recv", "send"]


def _peer(group, what: str, global_rank, group_rank) -> int:
    peer = group_rank_of(group, global_rank, group_rank)
    if not 0 <= peer < group._size:
        raise RuntimeError(f"invalid {what} rank: {peer} is not between 0 and {group._size - 1}")
    if peer == group._rank:
        raise ValueError(
            f"Invalid {what} rank: {what} rank should not be the same as the rank of the current process."
        )
    return peer


def _check(tensor, tag) -> None:
    check_tensor(tensor, "tensor")
    if not tensor.is_contiguous() or (tensor.is_complex() and tensor.is_conj()):
        raise RuntimeError("input tensor has to be contiguous")
    if not isinstance(tag, int) or not 0 <= tag < 1 << 31:
        raise ValueError(f"a tag is an integer between 0 and 2**31 - 1, got {tag!r}")


def isend(tensor, dst=None, group=None, tag: int = 0, group_dst=None) -> Work | None:
    """Start to send a tensor to process `dst`. It must not change before ``wait()`` of the `Work` that is returned.

    Args:
        dst: a number among all processes; or `group_dst`, a number in the group.
        tag: the receiver asks for messages by their tags.
    """
    if is_outside(group):
        return warn_outside("isend")
    found = resolve(group)
    peer = _peer(found, "destination", dst, group_dst)
    _check(tensor, tag)
    return found._messages.send(peer, tag, bytes_of(tensor.detach()), (tensor,))


def irecv(tensor, src=None, group=None, tag: int = 0, group_src=None) -> Work | None:
    """Start to receive a tensor from process `src`, or from any if it is None. It is there after ``wait()``."""
    if is_outside(group):
        return warn_outside("irecv")
    found = resolve(group)
    any_source = src is None and group_src is None
    peer = ANY_SOURCE if any_source else _peer(found, "source", src, group_src)
    _check(tensor, tag)
    return found._messages.receive(peer, tag, bytes_of(tensor.detach()), (tensor,))


def send(tensor, dst=None, group=None, tag: int = 0, group_dst=None) -> None:
    """Send a tensor to process `dst`; see `isend`. A large one waits until the receiver asks for it.

    >>> dist.send(tensor, dst=1)  # doctest: +SKIP
    """
    if is_outside(group):
        return warn_outside("send")
    isend(tensor, dst, group, tag, group_dst).wait()


def recv(tensor, src=None, group=None, tag: int = 0, group_src=None) -> int:
    """Receive a tensor from process `src`, or from any if it is None.

    Returns:
        The number, among all processes, of the one that sent it; -1 if this process is not in the group.
    """
    if is_outside(group):
        warn_outside("recv")
        return -1
    work = irecv(tensor, src, group, tag, group_src)
    work.wait()
    return get_global_rank(resolve(group), work._source)


class P2POp:
    """One of the operations that `batch_isend_irecv` starts: ``P2POp(isend, tensor, peer)`` or ``P2POp(irecv, ...)``."""

    def __init__(self, op, tensor, peer=None, group=None, tag: int = 0, group_peer=None):
        if op not in (isend, irecv):
            raise ValueError(
                "Invalid ``op``. Expected ``op`` to be of type ``torch.distributed.isend`` or ``torch.distributed.irecv``."
            )
        check_tensor(tensor, "tensor")
        self.op, self.tensor, self.tag = op, tensor, tag
        self.group = resolve(group)
        self.group_peer = group_rank_of(self.group, peer, group_peer)
        self.peer = get_global_rank(self.group, self.group_peer)

    def __repr__(self) -> str:
        return f"P2POp({self.op.__name__} pg={self.group.group_name}, group_peer={self.group_peer}, tag={self.tag})"


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Start several sends and receipts; wait for each of the `Work` objects that are returned."""
    if not isinstance(p2p_op_list, list) or not all(isinstance(each, P2POp) for each in p2p_op_list):
        raise ValueError(
            "Invalid ``p2p_op_list``. Each op is expected to to be of type ``torch.distributed.P2POp``."
        )
    if any(each.group is not p2p_op_list[0].group for each in p2p_op_list):
        raise ValueError("All ops need to use the same group.")
    # Places for what comes are named first, so that nothing has to be kept.
    works: dict[int, Work] = {}
    for i in sorted(range(len(p2p_op_list)), key=lambda i: p2p_op_list[i].op is isend):
        each = p2p_op_list[i]
        peer = {"group_dst" if each.op is isend else "group_src": each.group_peer}
        works[i] = each.op(each.tensor, group=each.group, tag=each.tag, **peer)
    return [works[i] for i in range(len(p2p_op_list))]
