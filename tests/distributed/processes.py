"""Running a function in several processes of one group, on loopback, with an end to every wait."""

import contextlib
import multiprocessing
import time
import traceback
from datetime import timedelta
from multiprocessing.connection import wait

import flambeau.distributed as dist

SECONDS = 90


def _child(connection, function, rank, size, port, timeout, args):
    try:
        if port is not None:
            store = dist.TCPStore(
                "127.0.0.1", port, timeout=timedelta(seconds=timeout), wait_for_workers=False
            )
            dist.init_process_group(
                "gloo", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=timeout)
            )
        result = function(rank, size, *args)
        connection.send(("result", result))
        if dist.is_initialized():
            dist.destroy_process_group()
    except BaseException:
        connection.send(("error", traceback.format_exc()))
    finally:
        connection.close()


def run(size, function, *args, timeout=40, init=True, dying=()):
    """The results of ``function(rank, size, *args)`` in `size` processes; those in `dying` may end without one."""
    context = multiprocessing.get_context("fork")
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if init else None
    processes, ends = [], {}
    for rank in range(size):
        ours, theirs = context.Pipe(duplex=False)
        port = store.port if init else None
        process = context.Process(
            target=_child, args=(theirs, function, rank, size, port, timeout, args), daemon=True
        )
        process.start()
        theirs.close()
        processes.append(process)
        ends[ours] = rank
    results, errors = {}, {}
    end = time.monotonic() + SECONDS
    while ends:
        ready = wait(list(ends), timeout=max(end - time.monotonic(), 0))
        if not ready:
            break
        for connection in ready:
            rank = ends.pop(connection)
            with contextlib.suppress(EOFError):
                kind, value = connection.recv()
                (results if kind == "result" else errors)[rank] = value
    late = [rank for rank, process in enumerate(processes) if process.join(max(end - time.monotonic(), 0.1))]
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()
    assert not errors, "\n".join(f"-- rank {rank}\n{text}" for rank, text in sorted(errors.items()))
    assert not late
    missing = set(range(size)) - set(results) - set(dying)
    assert not missing, f"ranks {sorted(missing)} ended without a result, or did not end within {SECONDS} s"
    return [results.get(rank) for rank in range(size)]


def message_of(function, kind=RuntimeError):
    """The text of the error that a call raises."""
    try:
        function()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised")
