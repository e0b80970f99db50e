"""Python's `multiprocessing`, through whose queues and pipes tensors travel as shared memory.

A tensor that is sent is moved into shared memory, and what the receiver gets is the same memory: what one process
writes, the others see. The memory is freed when the last process lets go of it, however that process ends. Until it has
been received, the process that sent it has to live.

>>> import flambeau.multiprocessing as mp
>>> queue = mp.get_context("fork").SimpleQueue()
>>> sent = flambeau.zeros(2)
>>> queue.put(sent)
>>> received = queue.get()
>>> _ = received.fill_(7)
>>> sent
tensor([7., 7.])
"""

import multiprocessing
from multiprocessing import *  # noqa: F403

from . import reductions
from .reductions import (
    get_all_sharing_strategies,
    get_sharing_strategy,
    init_reductions,
    set_sharing_strategy,
)
from .spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

__all__ = [
    *multiprocessing.__all__,
    "ProcessContext",
    "ProcessException",
    "ProcessExitedException",
    "ProcessRaisedException",
    "SpawnContext",
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "init_reductions",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]

init_reductions()
