"""Steps with one source: wrapping an iterable, mapping, filtering, shuffling, sharding."""

from __future__ import annotations

import copy
import inspect
import random
import warnings

import flambeau

from ..._utils.collate import default_collate
from ...sampler import SequentialSampler
from .._decorator import functional_datapipe
from ..datapipe import IterDataPipe, name_as_in_pytorch


class IterableWrapper(IterDataPipe):
    """An iterable as a pipe; each iteration is over a copy of it, unless `deepcopy` is False.

    >>> list(IterableWrapper(range(3)))
    [0, 1, 2]
    """

    def __init__(self, iterable, deepcopy=True):
        self.iterable = iterable
        self.deepcopy = deepcopy

    def __iter__(self):
        source = self.iterable
        if self.deepcopy:
            try:
                source = copy.deepcopy(source)
            except TypeError:
                warnings.warn(
                    "The input iterable can not be deepcopied, please be aware of in-place modification would affect "
                    "source data.",
                    stacklevel=2,
                )
        yield from source

    def __len__(self):
        if not hasattr(self.iterable, "__len__"):
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return len(self.iterable)


def _check_function(fn, count):
    """Whether `fn` can be called with that many positional arguments, as far as it can be told."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (ValueError, TypeError):  # functions in C have none
        return
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return
    required = [p for p in positional if p.default is p.empty]
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    name = getattr(fn, "__name__", repr(fn))
    if named:
        raise ValueError(
            f"The function {name} takes {len(named)} non-default keyword-only parameters, which is not allowed."
        )
    if len(required) > count:
        raise ValueError(
            f"The function {name} takes {len(required)} positional parameters, but {count} are required."
        )
    if len(positional) < count:
        raise ValueError(f"The function {name} takes {len(positional)} parameters, but {count} are required.")


@functional_datapipe("map")
class Mapper(IterDataPipe):
    """``fn`` of every sample, or of parts of it.

    Args:
        fn: the function.
        input_col: key, or list of keys, of what it gets. Default: the whole sample.
        output_col: key of what its result replaces; -1 appends it. Default: `input_col`'s place.

    >>> list(IterableWrapper([(1, 2)]).map(lambda x: 10 * x, input_col=1))
    [(1, 20)]
    """

    def __init__(self, datapipe, fn, input_col=None, output_col=None):
        if input_col is None and output_col is not None:
            raise ValueError("`output_col` must be None when `input_col` is None.")
        if isinstance(output_col, (list, tuple)):
            if len(output_col) != 1:
                raise ValueError("`output_col` must be a single-element list or tuple")
            output_col = output_col[0]
        self.datapipe = datapipe
        self.fn = fn
        self.input_col = input_col
        self.output_col = output_col
        _check_function(fn, len(input_col) if isinstance(input_col, (list, tuple)) else 1)

    def _apply(self, sample):
        where, to = self.input_col, self.output_col
        if where is None:
            return self.fn(sample)
        several = isinstance(where, (list, tuple))
        result = self.fn(*(sample[key] for key in where)) if several else self.fn(sample[where])
        is_tuple = isinstance(sample, tuple)
        sample = list(sample) if is_tuple else sample
        if to is None:
            if several:
                sample[where[0]] = result
                for key in sorted(where[1:], reverse=True):
                    del sample[key]
            else:
                sample[where] = result
        elif to == -1:
            sample.append(result)
        else:
            sample[to] = result
        return tuple(sample) if is_tuple else sample

    def __iter__(self):
        for sample in self.datapipe:
            yield self._apply(sample)

    def __len__(self):
        return _length(self, self.datapipe)


def _length(pipe, source):
    if not hasattr(source, "__len__"):
        raise TypeError(f"{type(pipe).__name__} instance doesn't have valid length")
    return len(source)


@functional_datapipe("collate")
class Collator(Mapper):
    """Batches as tensors: ``default_collate`` of every sample, or `collate_fn`, or a function for each column.

    >>> list(IterableWrapper([[1, 2]]).collate())
    [tensor([1, 2])]
    """

    def __init__(self, datapipe, conversion=default_collate, collate_fn=None):
        if collate_fn is not None:
            conversion = collate_fn
        if not callable(conversion):
            raise NotImplementedError(
                "a conversion by columns serves data frames, which pipes do not read here"
            )
        super().__init__(datapipe, conversion)


@functional_datapipe("filter")
class Filter(IterDataPipe):
    """The samples for which `filter_fn`, of the sample or of its part `input_col`, is True.

    >>> list(IterableWrapper(range(5)).filter(lambda x: x > 2))
    [3, 4]
    """

    def __init__(self, datapipe, filter_fn, input_col=None):
        self.datapipe = datapipe
        self.filter_fn = filter_fn
        self.input_col = input_col
        _check_function(filter_fn, len(input_col) if isinstance(input_col, (list, tuple)) else 1)

    def __iter__(self):
        where = self.input_col
        for sample in self.datapipe:
            if where is None:
                wanted = self.filter_fn(sample)
            elif isinstance(where, (list, tuple)):
                wanted = self.filter_fn(*(sample[key] for key in where))
            else:
                wanted = self.filter_fn(sample[where])
            if not isinstance(wanted, bool):
                raise ValueError(
                    f"Boolean output is required for `filter_fn` of {type(self).__name__}, got", type(wanted)
                )
            if wanted:
                yield sample


class Sampler(IterDataPipe):
    """The samples of a dataset in the order of a sampler."""

    def __init__(self, datapipe, sampler=SequentialSampler, sampler_args=None, sampler_kwargs=None):
        self.datapipe = datapipe
        kwargs = dict(sampler_kwargs or {})
        kwargs["data_source"] = datapipe
        self.sampler = sampler(*(sampler_args or ()), **kwargs)

    def __iter__(self):
        return iter(self.sampler)

    def __len__(self):
        return len(self.sampler)


@functional_datapipe("shuffle")
class Shuffler(IterDataPipe):
    """The samples in a random order, drawn from a buffer of `buffer_size`.

    `unbatch_level` takes batches apart before.

    >>> sorted(IterableWrapper(range(4)).shuffle())
    [0, 1, 2, 3]
    """

    def __init__(self, datapipe, *, buffer_size=10000, unbatch_level=0):
        if buffer_size <= 0:
            raise ValueError("buffer_size should be larger than 0")
        self.datapipe = datapipe if unbatch_level == 0 else datapipe.unbatch(unbatch_level=unbatch_level)
        self.buffer_size = buffer_size
        self._enabled = True
        self._seed = None
        self._rng = random.Random()

    def set_shuffle(self, shuffle=True):
        """Turn shuffling on or off."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed):
        """The seed of the next iteration."""
        self._seed = seed
        return self

    def reset(self):
        if self._enabled:
            if self._seed is None:
                self._seed = int(flambeau.empty((), dtype=flambeau.int64).random_().item())
            self._rng.seed(self._seed)
            self._seed = None

    def __iter__(self):
        if not self._enabled:
            yield from self.datapipe
            return
        held = []
        for sample in self.datapipe:
            if len(held) < self.buffer_size:
                held.append(sample)
                continue
            at = self._rng.randint(0, len(held) - 1)
            given, held[at] = held[at], sample
            yield given
        while held:
            yield held.pop(self._rng.randint(0, len(held) - 1))

    def __len__(self):
        return _length(self, self.datapipe)


@functional_datapipe("sharding_filter")
class ShardingFilter(IterDataPipe):
    """Every n-th sample, once `apply_sharding` has said which share this process has: a loader's workers call it."""

    def __init__(self, source_datapipe, sharding_group_filter=None):
        self.source_datapipe = source_datapipe
        self.sharding_group_filter = sharding_group_filter
        self._shares = {}
        self.num_of_instances = 1
        self.instance_id = 0

    def is_shardable(self):
        return True

    def apply_sharding(self, num_of_instances, instance_id, sharding_group=None):
        """This process takes samples number `instance_id`, plus multiples of `num_of_instances`."""
        if instance_id >= num_of_instances:
            raise ValueError(
                f"instance_id({instance_id}) should be smaller than num_of_instances({num_of_instances})"
            )
        key = getattr(sharding_group, "value", sharding_group)
        self._shares[key] = (num_of_instances, instance_id)
        self.num_of_instances, self.instance_id = 1, 0
        wanted = self.sharding_group_filter
        for group in sorted(self._shares, key=lambda g: -1 if g is None else g):
            if wanted is None or group == getattr(wanted, "value", wanted):
                count, number = self._shares[group]
                self.instance_id += self.num_of_instances * number
                self.num_of_instances *= count

    def __iter__(self):
        for i, sample in enumerate(self.source_datapipe):
            if i % self.num_of_instances == self.instance_id:
                yield sample

    def __len__(self):
        whole, rest = divmod(_length(self, self.source_datapipe), self.num_of_instances)
        return whole + (self.instance_id < rest)


name_as_in_pytorch(
    globals(), IterDataPipe, IterableWrapper, Mapper, Collator, Filter, Sampler, Shuffler, ShardingFilter
)
