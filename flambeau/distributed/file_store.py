"""A store in a file that processes share: a log of what was set, under a lock."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from datetime import timedelta

from .constants import seconds_of
from .errors import DistStoreError
from .store import Store, as_bytes

__all__ = ["FileStore"]

_LENGTHS = struct.Struct("<IQ")  # of the key and the value
_DELETED = (1 << 64) - 1


class FileStore(Store):
    """A store in a file that all processes can reach.

    Args:
        file_name: a path; the file is made if need be, and grows as keys are set.
        world_size: how many processes use it: the last of them to let go removes the file. -1, the default, keeps it.

    >>> import os, tempfile
    >>> store = flambeau.distributed.FileStore(os.path.join(tempfile.mkdtemp(), "store"), 1)
    >>> store.set("key", "value")
    >>> store.get("key")
    b'value'
    """

    def __init__(self, file_name: str, world_size: int = -1):
        super().__init__()
        self._path = os.fspath(file_name)
        self._world_size = world_size
        self._read_to = 0
        self._values: dict[str, bytes] = {}
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._owner = os.getpid()
        self._threads = threading.Lock()  # the file's lock is one for all threads of a process
        if world_size > 0:
            self.add("&refcount", 1)

    @property
    def path(self) -> str:
        """The file's path."""
        return self._path

    def _locked(self):
        return _Lock(self._threads, self._file)

    def _catch_up(self) -> None:
        # Whole records only: a writer that died may have left part of one, which the next writer overwrites.
        size = os.fstat(self._file).st_size
        if size <= self._read_to:
            return
        data = os.pread(self._file, size - self._read_to, self._read_to)
        at = 0
        while at + _LENGTHS.size <= len(data):
            key_length, value_length = _LENGTHS.unpack_from(data, at)
            start = at + _LENGTHS.size
            deleted = value_length == _DELETED
            end = start + key_length + (0 if deleted else value_length)
            if end > len(data):
                break
            key = data[start : start + key_length].decode()
            if deleted:
                self._values.pop(key, None)
            else:
                self._values[key] = data[start + key_length : end]
            at = end
        self._read_to += at

    def _append(self, key: str, value: bytes | None) -> None:
        name = key.encode()
        record = _LENGTHS.pack(len(name), _DELETED if value is None else len(value)) + name + (value or b"")
        written = 0
        while written < len(record):
            written += os.pwrite(self._file, record[written:], self._read_to + written)
        os.ftruncate(self._file, self._read_to + len(record))
        self._catch_up()

    def set(self, key, value):
        value = as_bytes("set", value)
        with self._locked():
            self._catch_up()
            self._append(key, value)

    def get(self, key):
        milliseconds = int(seconds_of(self._timeout) * 1000)
        if not self._came([key], seconds_of(self._timeout)):
            raise DistStoreError(f"Timeout waiting for key: {key} after {milliseconds} ms")
        return self._values[key]

    def add(self, key, amount):
        with self._locked():
            self._catch_up()
            try:
                total = int(self._values.get(key, b"0")) + int(amount)
            except ValueError:
                raise ValueError(f"stoll: add() counts, and the value of {key!r} is no number") from None
            self._append(key, str(total).encode())
            return total

    def compare_set(self, key, expected_value, desired_value):
        expected, desired = as_bytes("compare_set", expected_value), as_bytes("compare_set", desired_value)
        with self._locked():
            self._catch_up()
            found = self._values.get(key)
            if found is None and expected:
                return expected
            if found is not None and found != expected:
                return found
            self._append(key, desired)
            return desired

    def append(self, key, value):
        with self._locked():
            self._catch_up()
            self._append(key, self._values.get(key, b"") + as_bytes("append", value))

    def delete_key(self, key):
        with self._locked():
            self._catch_up()
            if key not in self._values:
                return False
            self._append(key, None)
            return True

    def check(self, keys):
        with self._locked():
            self._catch_up()
        return all(key in self._values for key in keys)

    def num_keys(self):
        with self._locked():
            self._catch_up()
        return len(self._values)

    def list_keys(self):
        with self._locked():
            self._catch_up()
        return [key for key in self._values if key != "&refcount"]

    def wait(self, keys, timeout: timedelta | None = None):
        seconds = seconds_of(self._timeout if timeout is None else timeout)
        if not self._came(keys, seconds):
            raise DistStoreError(f"Wait timeout: not all of {', '.join(keys)} came within {seconds:g} s")

    def _came(self, keys, seconds: float) -> bool:
        end = time.monotonic() + seconds
        pause = 0.0005
        while not self.check(keys):
            if time.monotonic() >= end:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        return True

    def __del__(self):
        file, self._file = getattr(self, "_file", None), None
        if file is None:
            return
        try:
            if self._world_size > 0 and os.getpid() == self._owner:
                self._file = file
                if self.add("&refcount", -1) <= 0:
                    os.unlink(self._path)
        except (OSError, ValueError):
            pass  # somebody else has removed it
        finally:
            self._file = None
            os.close(file)


class _Lock:
    def __init__(self, threads, file: int):
        self._threads, self._file = threads, file

    def __enter__(self):
        self._threads.acquire()
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *unused):
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()
