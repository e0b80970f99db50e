"""Steps with several sources, or several results."""

from __future__ import annotations

import copy as _copy
from collections import deque

from .._decorator import functional_datapipe
from ..datapipe import IterDataPipe, name_as_in_pytorch
from ..map import _checked
from .simple import _length


@functional_datapipe("concat")
class Concater(IterDataPipe):
    """Pipes one after another."""

    def __init__(self, *datapipes):
        self.datapipes = _checked(datapipes, IterDataPipe, "concat")

    def __iter__(self):
        for pipe in self.datapipes:
            yield from pipe

    def __len__(self):
        return sum(_length(self, pipe) for pipe in self.datapipes)


@functional_datapipe("zip")
class Zipper(IterDataPipe):
    """Tuples of one sample of each, until the shortest ends."""

    def __init__(self, *datapipes):
        if not all(isinstance(pipe, IterDataPipe) for pipe in datapipes):
            raise TypeError("All inputs are required to be `IterDataPipe` for `ZipIterDataPipe`.")
        self.datapipes = datapipes

    def __iter__(self):
        yield from zip(*self.datapipes)  # noqa: B905 - the shortest ends it

    def __len__(self):
        return min(_length(self, pipe) for pipe in self.datapipes)


@functional_datapipe("mux")
class Multiplexer(IterDataPipe):
    """One sample of each in turn, until the shortest ends."""

    def __init__(self, *datapipes):
        self.datapipes = datapipes

    def __iter__(self):
        for samples in zip(*self.datapipes):  # noqa: B905 - the shortest ends it
            yield from samples

    def __len__(self):
        return len(self.datapipes) * min(_length(self, pipe) for pipe in self.datapipes)


class _Shared:
    """One reading of a source for several children: what some have read and others have not is held.

    A child that starts again starts a new reading for all, which ends their iterators; starting for the first time
    joins the reading there is.
    """

    def __init__(self, source, count, limit, what):
        self.source, self.count, self.limit, self.what = source, count, limit, what
        self.round = 0
        self.joined = set()
        self._forget()

    def _forget(self):
        self.reading = None
        self.waiting = [deque() for _ in range(self.count)]

    def __getstate__(self):
        return {
            **self.__dict__,
            "reading": None,
            "waiting": [deque() for _ in range(self.count)],
            "joined": set(),
        }

    def join(self, child):
        if child in self.joined or self.reading is None:
            self.round += 1
            self.joined = set()
            self._forget()
            self.reading = iter(self.source)
        self.joined.add(child)
        return self.round

    def samples(self, child, deliver):
        """Child number `child`'s samples; `deliver(sample)` gives pairs of the children and what they get of it."""
        me = self.join(child)
        while True:
            if me != self.round:
                raise RuntimeError(
                    "This iterator has been invalidated, because a new iterator has been created from one of the "
                    f"ChildDataPipes of {self.what}. This may be caused by reading a ChildDataPipe again before "
                    "the others ended."
                )
            while not self.waiting[child]:
                try:
                    sample = next(self.reading)
                except StopIteration:
                    return
                for number, value in deliver(sample):
                    self._hold(number, value, child)
            yield self.waiting[child].popleft()

    def _hold(self, number, value, child):
        self.waiting[number].append(value)
        if number != child and self.limit >= 0 and self._ahead() > self.limit:
            raise BufferError(f"{self.what} buffer overflow, buffer size {self.limit} is insufficient.")

    def _ahead(self):
        raise NotImplementedError


class _Copies(_Shared):
    def _ahead(self):
        return max(map(len, self.waiting))


class _Classes(_Shared):
    def _ahead(self):
        return sum(map(len, self.waiting))


class _Child(IterDataPipe):
    """One of the pipes that `fork` or `demux` gives."""

    _tells_where = False

    def __init__(self, shared, number, deliver, length=None):
        self.shared, self.number, self.deliver, self.length = shared, number, deliver, length

    def __iter__(self):
        yield from self.shared.samples(self.number, self.deliver)

    def __len__(self):
        if self.length is None:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return _length(self, self.length)


class _Forked:
    _COPIERS = {None: None, "shallow": _copy.copy, "deep": _copy.deepcopy}

    def __init__(self, count, copy):
        self.count, self.copy = count, copy

    def __call__(self, sample):
        copier = self._COPIERS[self.copy]
        return [(i, sample if copier is None else copier(sample)) for i in range(self.count)]


class _Classified:
    def __init__(self, fn, count, drop_none):
        self.fn, self.count, self.drop_none = fn, count, drop_none

    def __call__(self, sample):
        number = self.fn(sample)
        if number is None and self.drop_none:
            return []
        if number is None or not 0 <= number < self.count:
            raise ValueError(
                f"Output of the classification fn should be between 0 and {self.count - 1}. {number} is returned."
            )
        return [(number, sample)]


def _positive(num_instances):
    if num_instances < 1:
        raise ValueError(f"Expected `num_instances` larger than 0, but {num_instances} is found")


@functional_datapipe("fork")
class Forker(IterDataPipe):
    """`num_instances` pipes that all give every sample; the fastest may be `buffer_size` ahead (-1: any number).

    copy: None, "shallow" or "deep": what each gets.
    """

    def __new__(cls, datapipe, num_instances, buffer_size=1000, copy=None):
        _positive(num_instances)
        if copy not in _Forked._COPIERS:
            raise ValueError(f"Unknown copy method `{copy}`, should be one of None, 'shallow' or 'deep'.")
        if num_instances == 1:
            return datapipe
        shared = _Copies(datapipe, num_instances, buffer_size, "ForkerIterDataPipe")
        deliver = _Forked(num_instances, copy)
        return [_Child(shared, i, deliver, datapipe) for i in range(num_instances)]


@functional_datapipe("demux")
class Demultiplexer(IterDataPipe):
    """`num_instances` pipes, of which number ``classifier_fn(sample)`` gives the sample.

    drop_none: leave out a sample whose number is None, instead of raising. buffer_size: how many samples may wait for
    pipes that are behind (-1: any number).
    """

    def __new__(cls, datapipe, num_instances, classifier_fn, drop_none=False, buffer_size=1000):
        _positive(num_instances)
        shared = _Classes(datapipe, num_instances, buffer_size, "DemultiplexerIterDataPipe")
        deliver = _Classified(classifier_fn, num_instances, drop_none)
        return [_Child(shared, i, deliver) for i in range(num_instances)]


name_as_in_pytorch(globals(), IterDataPipe, Concater, Zipper, Multiplexer, Forker, Demultiplexer)
