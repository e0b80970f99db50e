"""The barrier that names those who do not come, over messages: a late process must not break the group's operations."""

from __future__ import annotations

import time
from datetime import timedelta

__all__ = ["meet"]


def meet(group, seconds: float, wait_all_ranks: bool) -> None:
    """Wait for all processes of a group; see `monitored_barrier`."""
    # Tags that users cannot have, and new ones each time: who comes late must not be taken for one of the next barrier.
    group._barriers += 1
    arrived, released = -2 * group._barriers, -2 * group._barriers - 1
    end = time.monotonic() + seconds
    messages, empty = group._messages, memoryview(b"")

    def left() -> timedelta:
        return timedelta(seconds=max(end - time.monotonic(), 1e-3))

    if group._rank != 0:
        try:
            messages.send(0, arrived, empty).wait(left())
            messages.receive(0, released, memoryview(bytearray(0))).wait(left())
        except RuntimeError as error:
            raise RuntimeError(
                f"Rank {group._rank} successfully reached monitoredBarrier, but received errors while waiting for "
                f"send/recv from rank 0. Please check rank 0 logs for faulty rank.\n Original exception: \n{error}"
            ) from None
        return
    missing, cause = [], None
    for peer in range(1, group._size):
        try:
            messages.receive(peer, arrived, memoryview(bytearray(0))).wait(left())
        except RuntimeError as error:
            missing.append(peer)
            cause = cause or error
            if not wait_all_ranks:
                break
    if missing:
        who = f"Rank{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))}"
        raise RuntimeError(
            f"[Rank 0]: {who} failed to pass monitoredBarrier in {int(seconds * 1000)} ms\n Original exception: \n{cause}"
        )
    for peer in range(1, group._size):
        messages.send(peer, released, empty).wait(left())
