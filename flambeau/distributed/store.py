"""Key-value stores through which processes find each other: the interface, and those on one host.

Values are bytes. A read of a key that isn't there waits for it, until the store's timeout.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import timedelta

from .constants import default_store_timeout, seconds_of
from .errors import DistStoreError, QueueEmptyError

__all__ = ["HashStore", "PrefixStore", "Store", "Table", "as_bytes"]


def as_bytes(name: str, value) -> bytes:
    """A value of a store, which is given as text or as bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise TypeError(
        f"{name}(): incompatible function arguments: a value is str or bytes, not {type(value).__name__}"
    )


class Store:
    """What every store offers. Subclass it and write `set`, `get`, `add` and the others you need for one of your own."""

    def __init__(self):
        self._timeout = default_store_timeout

    @property
    def timeout(self) -> timedelta:
        """How long reads wait for a key."""
        return self._timeout

    def set_timeout(self, timeout) -> None:
        """Let reads wait for keys as long as this `timedelta` says."""
        seconds_of(timeout)
        self._timeout = timeout

    def set(self, key: str, value) -> None:
        """Give `key` a value, replacing what it had."""
        raise NotImplementedError

    def get(self, key: str) -> bytes:
        """The value of `key`, once it has one."""
        raise NotImplementedError

    def add(self, key: str, amount: int) -> int:
        """Count `key` up from what it has, or from 0. Returns the sum."""
        raise NotImplementedError

    def compare_set(self, key: str, expected_value, desired_value) -> bytes:
        """Set `key` if it has `expected_value`, or if it has none and "" is expected. Returns what it has then."""
        raise NotImplementedError

    def check(self, keys: list[str]) -> bool:
        """Whether all keys have values."""
        raise NotImplementedError

    def delete_key(self, key: str) -> bool:
        """Forget `key`. Returns whether there was one."""
        raise NotImplementedError

    def num_keys(self) -> int:
        """How many keys there are, with those that a store keeps for itself."""
        raise NotImplementedError

    def list_keys(self) -> list[str]:
        """The keys."""
        raise NotImplementedError

    def append(self, key: str, value) -> None:
        """Add to the end of what `key` has."""
        raise NotImplementedError

    def wait(self, keys: list[str], timeout=None) -> None:
        """Wait until all keys have values: as long as `timeout` or the store's own allows."""
        raise NotImplementedError

    def multi_get(self, keys: list[str]) -> list[bytes]:
        """The values of several keys."""
        return [self.get(key) for key in keys]

    def multi_set(self, keys: list[str], values: list) -> None:
        """Give several keys values."""
        for key, value in zip(keys, values, strict=True):
            self.set(key, value)

    def has_extended_api(self) -> bool:
        """Whether `append`, `multi_get` and `multi_set` are there."""
        return True

    def clone(self) -> Store:
        """A store on the same keys that another thread can use."""
        return self

    def _local_address(self) -> str:
        # The address at which the users of this store reach this process.
        return "127.0.0.1"


class Table:
    """Keys and values in memory, for any number of threads."""

    def __init__(self):
        self._values: dict[bytes, bytes] = {}
        self._queues: dict[bytes, deque] = {}
        self._changed = threading.Condition()

    def set(self, key: bytes, value: bytes) -> None:
        with self._changed:
            self._values[key] = value
            self._changed.notify_all()

    def wait(self, keys, seconds: float) -> bool:
        """Whether all keys came in time."""
        end = time.monotonic() + seconds
        with self._changed:
            while not all(key in self._values for key in keys):
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 1e6))
            return True

    def get(self, key: bytes, seconds: float) -> bytes | None:
        with self._changed:
            if key not in self._values and not self.wait((key,), seconds):
                return None
            return self._values[key]

    def add(self, key: bytes, amount: int) -> int:
        with self._changed:
            try:
                total = int(self._values.get(key, b"0")) + amount
            except ValueError:
                raise ValueError(
                    f"stoll: add() counts, and the value of {key.decode()!r} is no number"
                ) from None
            self._values[key] = str(total).encode()
            self._changed.notify_all()
            return total

    def compare_set(self, key: bytes, expected: bytes, desired: bytes) -> bytes:
        with self._changed:
            found = self._values.get(key)
            if found is None and expected:
                return expected
            if found is not None and found != expected:
                return found
            self._values[key] = desired
            self._changed.notify_all()
            return desired

    def append(self, key: bytes, value: bytes) -> None:
        with self._changed:
            self._values[key] = self._values.get(key, b"") + value
            self._changed.notify_all()

    def check(self, keys) -> bool:
        with self._changed:
            return all(key in self._values for key in keys)

    def delete(self, key: bytes) -> bool:
        with self._changed:
            return self._values.pop(key, None) is not None

    def keys(self) -> list[bytes]:
        with self._changed:
            return list(self._values)

    def push(self, key: bytes, value: bytes) -> None:
        with self._changed:
            self._queues.setdefault(key, deque()).append(value)
            self._changed.notify_all()

    def pop(self, key: bytes, seconds: float) -> bytes | None:
        end = time.monotonic() + seconds
        with self._changed:
            while not self._queues.get(key):
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            queue = self._queues[key]
            value = queue.popleft()
            if not queue:
                del self._queues[key]
            return value

    def queue_len(self, key: bytes) -> int:
        with self._changed:
            return len(self._queues.get(key, ()))


class HashStore(Store):
    """A store in this process's memory, for its threads.

    >>> store = flambeau.distributed.HashStore()
    >>> store.set("key", "value")
    >>> store.get("key"), store.add("counter", 2)
    (b'value', 2)
    """

    def __init__(self):
        super().__init__()
        self._table = Table()

    def set(self, key, value):
        self._table.set(key.encode(), as_bytes("set", value))

    def get(self, key):
        value = self._table.get(key.encode(), seconds_of(self._timeout))
        if value is None:
            raise DistStoreError(f"Wait timeout: no key {key!r} after {seconds_of(self._timeout):g} s")
        return value

    def add(self, key, amount):
        return self._table.add(key.encode(), int(amount))

    def compare_set(self, key, expected_value, desired_value):
        expected, desired = as_bytes("compare_set", expected_value), as_bytes("compare_set", desired_value)
        return self._table.compare_set(key.encode(), expected, desired)

    def check(self, keys):
        return self._table.check([key.encode() for key in keys])

    def delete_key(self, key):
        return self._table.delete(key.encode())

    def num_keys(self):
        return len(self._table.keys())

    def list_keys(self):
        return [key.decode() for key in self._table.keys()]

    def append(self, key, value):
        self._table.append(key.encode(), as_bytes("append", value))

    def wait(self, keys, timeout=None):
        seconds = seconds_of(self._timeout if timeout is None else timeout)
        if not self._table.wait([key.encode() for key in keys], seconds):
            raise DistStoreError(f"Wait timeout: not all of {', '.join(keys)} came within {seconds:g} s")

    def queue_push(self, key, value):
        """Put a value at the end of a queue."""
        self._table.push(key.encode(), as_bytes("queue_push", value))

    def queue_pop(self, key, block=True):
        """Take the first value of a queue, waiting for one if `block` is true."""
        value = self._table.pop(key.encode(), seconds_of(self._timeout) if block else 0)
        if value is None:
            raise DistStoreError("Wait timeout") if block else QueueEmptyError(f"queue is empty: {key}")
        return value

    def queue_len(self, key):
        """How many values wait in a queue."""
        return self._table.queue_len(key.encode())


class PrefixStore(Store):
    """Another store, with ``prefix/`` put before every key.

    >>> inner = flambeau.distributed.HashStore()
    >>> flambeau.distributed.PrefixStore("group", inner).set("key", "value")
    >>> inner.get("group/key")
    b'value'
    """

    def __init__(self, prefix: str, store: Store):
        self._prefix, self._store = prefix, store

    def _full(self, key: str) -> str:
        return f"{self._prefix}/{key}"

    @property
    def underlying_store(self) -> Store:
        """The store that holds the keys."""
        return self._store

    @property
    def timeout(self):
        return self._store.timeout

    def set_timeout(self, timeout):
        self._store.set_timeout(timeout)

    def set(self, key, value):
        self._store.set(self._full(key), value)

    def get(self, key):
        return self._store.get(self._full(key))

    def add(self, key, amount):
        return self._store.add(self._full(key), amount)

    def compare_set(self, key, expected_value, desired_value):
        return self._store.compare_set(self._full(key), expected_value, desired_value)

    def check(self, keys):
        return self._store.check([self._full(key) for key in keys])

    def delete_key(self, key):
        return self._store.delete_key(self._full(key))

    def num_keys(self):
        return self._store.num_keys()

    def list_keys(self):
        start = f"{self._prefix}/"
        return [key[len(start) :] for key in self._store.list_keys() if key.startswith(start)]

    def append(self, key, value):
        self._store.append(self._full(key), value)

    def wait(self, keys, timeout=None):
        full = [self._full(key) for key in keys]
        return self._store.wait(full) if timeout is None else self._store.wait(full, timeout)

    def multi_get(self, keys):
        return self._store.multi_get([self._full(key) for key in keys])

    def multi_set(self, keys, values):
        self._store.multi_set([self._full(key) for key in keys], values)

    def queue_push(self, key, value):
        self._store.queue_push(self._full(key), value)

    def queue_pop(self, key, block=True):
        return self._store.queue_pop(self._full(key), block)

    def queue_len(self, key):
        return self._store.queue_len(self._full(key))

    def has_extended_api(self):
        return self._store.has_extended_api()

    def clone(self):
        return PrefixStore(self._prefix, self._store.clone())

    def _local_address(self):
        address = getattr(self._store, "_local_address", None)
        return address() if address is not None else "127.0.0.1"
