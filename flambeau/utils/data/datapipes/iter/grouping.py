"""Steps that put samples together and take them apart."""

from __future__ import annotations

from collections import defaultdict

from .._decorator import functional_datapipe
from ..datapipe import DataChunk, IterDataPipe, name_as_in_pytorch
from .simple import _length


@functional_datapipe("batch")
class Batcher(IterDataPipe):
    """Lists of `batch_size` samples; the last may be shorter, or with `drop_last` is left out."""

    def __init__(self, datapipe, batch_size, drop_last=False, wrapper_class=DataChunk):
        if batch_size <= 0:
            raise AssertionError(f"Batch size is required to be larger than 0, got {batch_size}")
        self.datapipe = datapipe
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.wrapper_class = wrapper_class

    def __iter__(self):
        batch = []
        for sample in self.datapipe:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.wrapper_class(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.wrapper_class(batch)

    def __len__(self):
        whole, rest = divmod(_length(self, self.datapipe), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)


@functional_datapipe("unbatch")
class UnBatcher(IterDataPipe):
    """The elements of batches, `unbatch_level` lists deep; -1: down to what is not a list."""

    def __init__(self, datapipe, unbatch_level=1):
        self.datapipe = datapipe
        self.unbatch_level = unbatch_level

    def __iter__(self):
        if self.unbatch_level < -1:
            raise ValueError("unbatch_level must be -1 or >= 0")
        for sample in self.datapipe:
            yield from self._elements(sample, self.unbatch_level)

    def _elements(self, sample, level):
        if level == 0 or (level == -1 and not isinstance(sample, list)):
            yield sample
        elif isinstance(sample, list):
            for element in sample:
                yield from self._elements(element, max(level - 1, -1))
        else:
            raise IndexError(f"unbatch_level {self.unbatch_level} exceeds the depth of the DataPipe")


@functional_datapipe("groupby")
class Grouper(IterDataPipe):
    """Lists of samples with equal ``group_key_fn(sample)``.

    Args:
        keep_key: give (key, list) instead.
        buffer_size: how many samples are held; when it is full, the largest group is given.
        group_size: a group of that size is given at once.
        guaranteed_group_size: with a full buffer, a largest group that is smaller is an error. Default: group_size.
        drop_remaining: or it is dropped.
    """

    def __init__(
        self,
        datapipe,
        group_key_fn,
        *,
        keep_key=False,
        buffer_size=10000,
        group_size=None,
        guaranteed_group_size=None,
        drop_remaining=False,
    ):
        if group_size is not None and not 0 < group_size <= buffer_size:
            raise AssertionError("group_size must be > 0 and <= buffer_size")
        if guaranteed_group_size is not None and not (group_size and 0 < guaranteed_group_size <= group_size):
            raise AssertionError(
                "guaranteed_group_size must be > 0 and <= group_size and group_size must be set"
            )
        self.datapipe = datapipe
        self.group_key_fn = group_key_fn
        self.keep_key = keep_key
        self.max_buffer_size = buffer_size
        self.group_size = group_size
        self.guaranteed_group_size = group_size if guaranteed_group_size is None else guaranteed_group_size
        self.drop_remaining = drop_remaining
        self.wrapper_class = DataChunk

    def __iter__(self):
        groups = defaultdict(list)
        held = 0

        def take(key):
            group = self.wrapper_class(groups.pop(key))
            return (key, group) if self.keep_key else group

        for sample in self.datapipe:
            key = self.group_key_fn(sample)
            groups[key].append(sample)
            held += 1
            if len(groups[key]) == self.group_size:
                held -= self.group_size
                yield take(key)
            if held == self.max_buffer_size:
                largest = max(groups, key=lambda k: len(groups[k]))
                size = len(groups[largest])
                held -= size
                if self.guaranteed_group_size is None or size >= self.guaranteed_group_size:
                    yield take(largest)
                elif self.drop_remaining:
                    del groups[largest]
                else:
                    raise RuntimeError("Failed to group items", str(groups[largest]))
        for key in list(groups):
            yield take(key)


name_as_in_pytorch(globals(), IterDataPipe, Batcher, UnBatcher, Grouper)
