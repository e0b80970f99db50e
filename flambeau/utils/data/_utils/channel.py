"""The way between a loader and one of its workers: messages over a socket, and memory that goes to and fro.

A message is a pickle; what is long goes into a file of its own in memory, so that messages always fit the socket. The
memory of tensors never goes through it: a worker puts it into *segments* (see the note *Shared memory* in
csrc/core/shared_memory.h), which the loader maps once, and which are the worker's again when the last tensor on them is
gone. Descriptors travel beside the messages, so that nothing has a name that could be left behind.
"""

from __future__ import annotations

import array
import io
import mmap
import os
import pickle
import socket
import struct
import threading
import weakref
from collections import deque
from multiprocessing.reduction import ForkingPickler

import flambeau
from flambeau import _C
from flambeau.multiprocessing.reductions import reduce_tensor
from flambeau.storage import UntypedStorage, storage_bytes, untyped_from_bytes

# Message kinds: a pickle, a pickle in a file, a segment.
_INLINE, _IN_FILE, _SEGMENT = b"I", b"F", b"S"
_SEGMENT_HEADER = struct.Struct("=qq")
_LONGEST_INLINE = 16384
_MOST_DESCRIPTORS = 200  # the kernel allows 253 in a message
_SMALL = 4096  # bytes of a storage that are pickled with the rest

_receiving = threading.local()
_loader_ends: weakref.WeakSet = weakref.WeakSet()


def pair() -> tuple[Channel, socket.socket]:
    """The loader's end, and the worker's as a socket, which can be sent to a process that starts."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ours)
    _loader_ends.add(channel)
    return channel, theirs


def _close_in_child() -> None:
    # A worker must not keep its siblings' sockets open: they would not learn that the loader is gone.
    for channel in list(_loader_ends):
        channel.close()


os.register_at_fork(after_in_child=_close_in_child)


class Closed(Exception):
    """The other end is gone."""


class Channel:
    """One end."""

    def __init__(self, sock: socket.socket):
        self._socket = sock
        self._segments: dict[int, object] = {}  # that the other end made
        self._unsent: deque = deque()
        self._announced: list = []  # segments that the other end must hear of before the next message

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        self._segments.clear()

    def shut_down(self) -> None:
        """Tell the other end that this is the end, even if other processes have copies of this one."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was the first

    # ---- sending

    def send(self, message) -> None:
        """Send, waiting until there is room. Errors of pickling come before anything is sent."""
        for data, descriptors in self._packed(message):
            self._transmit(data, descriptors, 0)

    def send_soon(self, message) -> None:
        """Send as much as there is room for; `flush` sends the rest."""
        self._unsent.extend(self._packed(message))
        self.flush()

    def flush(self) -> bool:
        """Go on sending; whether all has been sent."""
        while self._unsent:
            try:
                self._transmit(*self._unsent[0], socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            self._unsent.popleft()
        return True

    def _transmit(self, data: bytes, descriptors: list, flags: int) -> None:
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [d.fd for d in descriptors]))]
        try:
            self._socket.sendmsg([data], extra if descriptors else [], flags | socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def _packed(self, message) -> list[tuple[bytes, list]]:
        """A message as parts: bytes, and the descriptors that go with them."""
        parcel = _Parcel(self._announced)
        body = parcel.pickle(message)
        attached = parcel.descriptors
        if len(body) > _LONGEST_INLINE:
            attached.append(_file_with(body))
            last = _IN_FILE + len(body).to_bytes(8, "little")
        else:
            last = _INLINE + body
        parts = [*self._announced, (last, attached)]
        self._announced.clear()
        return parts

    # ---- receiving

    def forget(self, segments: list[int]) -> None:
        """Let go of segments that the other end has given up."""
        for number in segments:
            self._segments.pop(number, None)

    def receive(self):
        """The next message, waiting for it.

        Raises:
            Closed: there will be none.
        """
        while True:
            try:
                data, extra, flags, _ = self._socket.recvmsg(
                    _LONGEST_INLINE + 64,
                    socket.CMSG_SPACE(4 * (_MOST_DESCRIPTORS + 1)),
                    socket.MSG_CMSG_CLOEXEC,
                )
            except ConnectionResetError as error:
                raise Closed from error
            descriptors = [_Descriptor(fd) for fd in _descriptors_in(extra)]
            if not data:
                raise Closed
            if flags & socket.MSG_CTRUNC:
                raise OSError(
                    "too many open files: a loader cannot receive the file descriptors of its worker"
                )
            kind = data[:1]
            if kind == _SEGMENT:
                number, length = _SEGMENT_HEADER.unpack_from(data, 1)
                self._segments[number] = _C._map_segment(descriptors[0].take(), length)
                continue
            if kind == _IN_FILE:
                file, size = descriptors.pop(), int.from_bytes(data[1:], "little")
                with mmap.mmap(file.fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as body:
                    return self._unpickle(body, descriptors)
            return self._unpickle(memoryview(data)[1:], descriptors)

    def _unpickle(self, body, descriptors):
        _receiving.segments, _receiving.descriptors = self._segments, descriptors
        try:
            return pickle.loads(body)
        finally:
            del _receiving.segments, _receiving.descriptors


class _Descriptor:
    """A file descriptor that is closed with this object."""

    def __init__(self, fd: int):
        self.fd = fd

    def take(self) -> int:
        fd, self.fd = self.fd, -1
        return fd

    def __del__(self):
        if self.fd >= 0:
            os.close(self.fd)


def _descriptors_in(extra) -> list[int]:
    found = array.array("i")
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _file_with(body) -> _Descriptor:
    """An anonymous file that holds the bytes."""
    file = _Descriptor(os.memfd_create("flambeau", os.MFD_CLOEXEC))
    view = memoryview(body)
    while view:
        view = view[os.write(file.fd, view) :]
    return file


class _Parcel(ForkingPickler):
    """Pickles a message, and collects the memory that goes beside it."""

    def __init__(self, announced: list):
        self._buffer = io.BytesIO()
        super().__init__(self._buffer, pickle.HIGHEST_PROTOCOL)
        special = {flambeau.Tensor: _reduce_tensor, UntypedStorage: self._reduce_storage}
        self.dispatch_table = {**self.dispatch_table, **special}
        self._announced = announced
        self._sent: list = []
        self.descriptors: list[_Descriptor] = []

    def pickle(self, message):
        try:
            self.dump(message)
        except BaseException:
            for storage in self._sent:
                _C._unsend_segment(storage)
            raise
        finally:
            # The table's method holds this object, and this object what it pickled, which has to go at once.
            self.dispatch_table = {}
            self._sent = []
            self.clear_memo()
        return self._buffer.getbuffer()

    def _reduce_storage(self, storage):
        nbytes = storage.nbytes()
        if storage.device.type == "meta" or not nbytes:
            return UntypedStorage, (nbytes, storage.device.type)
        if _C._shared_by(storage) == "descriptor" and len(self.descriptors) < _MOST_DESCRIPTORS:
            # Shared by the program's own will: the receiver gets the very same memory.
            self.descriptors.append(_Descriptor(os.dup(_C._share_by_descriptor(storage))))
            return _received_storage, (len(self.descriptors) - 1, nbytes)
        handle = _C._send_segment(storage)
        if handle is None:
            if nbytes <= _SMALL:
                return untyped_from_bytes, (bytes(storage_bytes(storage)),)
            copy = _C._segment_storage(nbytes)
            storage_bytes(copy)[:] = storage_bytes(storage)
            storage, handle = copy, _C._send_segment(copy)
        self._sent.append(storage)
        number, length, descriptor = handle
        if descriptor >= 0:
            header = _SEGMENT + _SEGMENT_HEADER.pack(number, length)
            self._announced.append((header, [_Descriptor(descriptor)]))
        return _storage_on_segment, (number, nbytes)


def _reduce_tensor(tensor):
    storage = tensor.untyped_storage()
    if not tensor.requires_grad and not storage.is_shared() and storage.nbytes() > 2 * tensor.nbytes + _SMALL:
        tensor = tensor.clone()  # a row of a large dataset: without the rest of it
    return reduce_tensor(tensor)


def _storage_on_segment(number: int, nbytes: int):
    return _C._storage_on_segment(_receiving.segments[number], nbytes)


def _received_storage(index: int, nbytes: int):
    return _C._storage_by_descriptor(_receiving.descriptors[index].take(), nbytes)
