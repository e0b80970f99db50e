"""The loader: batches of a dataset, in this process or from worker processes."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import flambeau

from ._utils import pipes as _pipes
from ._utils import worker as _worker
from ._utils.collate import default_collate, default_convert
from ._utils.fetch import make_fetcher
from ._utils.worker import get_worker_info
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

_T_co = TypeVar("_T_co", covariant=True)
_PIPES = ("IterDataPipe", "MapDataPipe")


class _Endless(Sampler):
    """Stands for the sampler of a dataset by iteration: None, for ever."""

    def __iter__(self):
        return itertools.repeat(None)


def _check_arguments(dataset, loader_args: dict) -> None:
    """Refuse the combinations that contradict each other."""
    given = loader_args
    workers, batch_size = given["num_workers"], given["batch_size"]
    if workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
        )
    if given["timeout"] < 0:
        raise ValueError("timeout option should be non-negative")
    if workers == 0 and given["prefetch_factor"] is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. "
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if workers > 0 and given["prefetch_factor"] is not None and given["prefetch_factor"] < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if given["persistent_workers"] and workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if isinstance(dataset, IterableDataset):
        start = "DataLoader with IterableDataset: expected unspecified"
        if given["shuffle"] and not _pipes.is_pipe(dataset):
            raise ValueError(f"{start} shuffle option, but got shuffle={given['shuffle']}")
        for name in ("sampler", "batch_sampler"):
            if given[name] is not None:
                raise ValueError(f"{start} {name} option, but got {name}={given[name]}")
    if given["sampler"] is not None and given["shuffle"]:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if given["batch_sampler"] is not None:
        if batch_size != 1 or given["shuffle"] or given["sampler"] is not None or given["drop_last"]:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
            )
    elif batch_size is None and given["drop_last"]:
        raise ValueError(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )


class DataLoader(Generic[_T_co]):
    """Iterates over a dataset in batches.

    Args:
        dataset: a dataset by index or by iteration.
        batch_size: samples in a batch; None gives single samples as they are.
        shuffle: read in a random order, another one in every epoch.
        sampler: yields the indices in the order wanted.
        batch_sampler: yields lists of indices, one per batch.
        num_workers: processes that load data; 0 loads in this process.
        collate_fn: makes one batch of a list of samples; see `default_collate`.
        pin_memory: accepted; there is no device here that would gain by it.
        drop_last: leave out a last batch that is smaller.
        timeout: seconds to wait for a batch of a worker; 0 waits for ever.
        worker_init_fn: called in every worker with its number, after it has been seeded.
        multiprocessing_context: how workers are started: a context of `multiprocessing`, or its name.
        generator: where the random order and the workers' seeds come from; None is the default generator.
        prefetch_factor: batches that each worker loads in advance (2).
        persistent_workers: keep the workers from one epoch to the next.
        in_order: yield batches in the sampler's order even when a later one is ready first.

    >>> from flambeau.utils.data import DataLoader
    >>> [batch.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    _iterator = None
    _initialized = False

    def __init__(
        self,
        dataset,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler | Iterable | None = None,
        num_workers: int = 0,
        collate_fn=None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn=None,
        multiprocessing_context=None,
        generator=None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        names = "batch_size shuffle sampler batch_sampler num_workers drop_last timeout prefetch_factor persistent_workers"
        given = locals()
        _check_arguments(dataset, {name: given[name] for name in names.split()})
        if pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be "
                "used.",
                stacklevel=2,
            )
        if num_workers > (processors := len(os.sched_getaffinity(0))):
            warnings.warn(
                f"This DataLoader will create {num_workers} worker processes in total. Our suggested max number of worker "
                f"in current system is {processors}, as many as there are processors; more may be slower.",
                stacklevel=2,
            )
        by_iteration = isinstance(dataset, IterableDataset)
        if _pipes.is_pipe(dataset):
            dataset = _pipes.with_shuffling(dataset, shuffle)
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        if sampler is None:
            if by_iteration:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self._by_iteration = by_iteration
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._reported_length: int | None = None
        self._initialized = True

    _FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")

    def __setattr__(self, name, value):
        if self._initialized and name in self._FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self):
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context):
        if context is not None:
            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                    f"but got num_workers={self.num_workers}"
                )
            import multiprocessing

            if isinstance(context, str):
                known = multiprocessing.get_all_start_methods()
                if context not in known:
                    raise ValueError(
                        "multiprocessing_context option should specify a valid start method in "
                        f"{known!r}, but got multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            elif not isinstance(context, multiprocessing.context.BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the start "
                    f"method, but got multiprocessing_context={context}"
                )
        self._multiprocessing_context = context

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self):
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        if not self.persistent_workers:
            return _MultiProcessingDataLoaderIter(self)
        if self._iterator is None:
            self._iterator = _MultiProcessingDataLoaderIter(self)
        else:
            self._iterator.restart()
        return self._iterator

    def __len__(self) -> int:
        if not self._by_iteration:
            return len(self._index_sampler)
        length = self._reported_length = len(self.dataset)
        if self.batch_size is not None:
            length = length // self.batch_size if self.drop_last else -(-length // self.batch_size)
        return length

    def __getstate__(self):
        return {**self.__dict__, "_iterator": None}


class _BaseDataLoaderIter:
    """What both kinds of iteration share: the seed, the indices to come, the count of what was yielded."""

    def __init__(self, loader: DataLoader):
        self._loader = loader
        self._seed_pipe()
        # Drawn even if there are no workers, and before the sampler draws: the order PyTorch has.
        drawn = flambeau.empty((), dtype=flambeau.int64).random_(generator=loader.generator)
        self._base_seed = int(drawn.item())
        self._begin()

    def _seed_pipe(self) -> int | None:
        """Seed a data pipe's shuffling for this pass; the seed. Workers' copies are made, or seeded, with it."""
        if not _pipes.is_pipe(self._loader.dataset):
            return None
        shared_seed = _pipes.draw_seed(self._loader.generator)
        _pipes.seed(self._loader.dataset, shared_seed)
        return shared_seed

    def _begin(self) -> None:
        self._indices = iter(self._loader._index_sampler)
        self._yielded = 0
        self._reported_length = self._loader._reported_length

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self) -> Any:
        batch = self._next_batch()
        self._yielded += 1
        if self._reported_length is not None and self._yielded > self._reported_length:
            warnings.warn(
                f"Length of IterableDataset {self._loader.dataset} was reported to be {self._reported_length} (when "
                f"accessing len(dataloader)), but {self._yielded} samples have been fetched. ",
                stacklevel=2,
            )
        return batch

    def _next_batch(self):
        raise NotImplementedError


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    def __init__(self, loader):
        super().__init__(loader)
        assert loader.timeout == 0, (
            "a DataLoader without workers requires timeout == 0: nothing is waited for"
        )
        if _pipes.is_pipe(loader.dataset, _PIPES):
            _pipes.share(loader.dataset)
        args = (
            loader._by_iteration,
            loader.dataset,
            loader._auto_collation,
            loader.collate_fn,
            loader.drop_last,
        )
        self._fetch = make_fetcher(*args)

    def _next_batch(self):
        return self._fetch(next(self._indices))


class _Missing:
    """A batch number that will not come: its worker has no more samples."""


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """Hands batches of indices to workers in turn, a few in advance, and puts the results back in order."""

    def __init__(self, loader):
        from ._utils.crew import Crew

        super().__init__(loader)
        assert loader.prefetch_factor > 0, "prefetch_factor must be greater than 0"
        if loader.multiprocessing_context is None:
            import multiprocessing as context
        else:
            context = loader.multiprocessing_context
        init_fn = loader.worker_init_fn
        if _pipes.is_pipe(loader.dataset, _PIPES):
            init_fn = _pipes.sharing(init_fn)
        tasks = [
            _worker.WorkerTask(
                by_iteration=loader._by_iteration,
                dataset=loader.dataset,
                auto_collation=loader._auto_collation,
                collate_fn=loader.collate_fn,
                drop_last=loader.drop_last,
                base_seed=self._base_seed,
                init_fn=init_fn,
                worker_id=i,
                count=loader.num_workers,
            )
            for i in range(loader.num_workers)
        ]
        self._crew = Crew(context, tasks, loader.timeout)
        self._seed_pipe()  # a draw of which PyTorch makes no use either; later ones depend on it
        self._start_epoch()

    def restart(self) -> None:
        """Begin another epoch with the same workers."""
        if self._crew.closed:
            raise RuntimeError("DataLoader: the workers have been shut down; iterate over a new DataLoader")
        self._begin()
        resume = _worker.Resume(self._seed_pipe())
        for worker in range(len(self._crew)):
            self._crew.send(worker, resume)
        waiting = len(self._crew)
        while waiting:  # what comes before the answers is left of an epoch that was not finished
            _, message = self._crew.receive()
            waiting -= isinstance(message, _worker.Resume)
        self._start_epoch()

    def _shutdown_workers(self) -> None:
        """End the workers now; programs that leave an epoch early call this."""
        self._crew.close()

    def _start_epoch(self) -> None:
        count = len(self._crew)
        self._active = [True] * count
        self._outstanding = [0] * count  # batches that each worker has been asked for
        self._turn = itertools.cycle(range(count))
        self._sent = 0  # number of the next batch to ask for
        self._owners: dict[int, int] = {}  # batches asked for and not yet here: the worker
        self._arrived: dict[int, tuple[int, Any]] = {}
        self._next = 0  # number of the next batch to yield, if in order
        for _ in range(self._loader.prefetch_factor * count):
            self._request()

    def _request(self) -> None:
        """Ask the next worker in turn that still has data for one more batch."""
        if not any(self._active):
            return
        try:
            index = next(self._indices)
        except StopIteration:
            return
        worker = next(self._turn)
        while not self._may_be_asked(worker):
            worker = next(self._turn)
        self._crew.send(worker, (self._sent, index))
        self._owners[self._sent] = worker
        self._outstanding[worker] += 1
        self._sent += 1

    def _may_be_asked(self, worker: int) -> bool:
        if not self._active[worker]:
            return False
        if self._loader.in_order:
            return True
        # Without order a slow worker gets no more than its share, so that the others need not wait for it.
        share = self._loader.prefetch_factor * len(self._crew) // sum(self._active)
        return self._outstanding[worker] < share

    def _receive(self) -> None:
        worker, (number, result, forgotten) = self._crew.receive()
        self._crew.forget(worker, forgotten)
        del self._owners[number]
        self._arrived[number] = worker, result

    def _next_batch(self):
        while True:
            number = self._wait_for_next()
            if number is None:
                if not self._loader.persistent_workers:
                    self._crew.close()
                raise StopIteration
            worker, result = self._arrived.pop(number)
            self._outstanding[worker] -= 1
            if isinstance(result, _worker.EndOfDataset):
                self._active[worker] = False
                self._request()
                continue
            self._request()
            if isinstance(result, _worker.WorkerError):
                result.reraise()  # who catches it may go on with the next batch
            return result

    def _wait_for_next(self) -> int | None:
        """Wait for the batch to yield next; its number, or None if there is none."""
        if not self._loader.in_order:
            if not self._arrived and self._owners:
                self._receive()
            return next(iter(self._arrived), None)
        while self._next not in self._arrived:
            if self._next >= self._sent:
                return None
            self._receive()
        self._next += 1
        return self._next - 1
