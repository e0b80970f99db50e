"""`send` and `recv`: messages with tags, between two processes of a group, in any order and from any source.

Note [Messages]: a small message goes off at once, and waits at the receiver until somebody asks for it. A large one is
announced first and goes when the receiver has named the place for it, so that nothing large is ever kept twice. One thread
per group reads; it never writes, so that it always goes on reading and no writer waits for ever. Writers are the caller,
when nobody else is writing to that process, and otherwise a thread per process that is written to.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections import deque

from .constants import seconds_of
from .transport import set_socket_timeout
from .work import Work

__all__ = ["ANY_SOURCE", "Messages"]

ANY_SOURCE = -1
_FRAME = struct.Struct("<BxxxIqQ")  # kind, number of the transfer, tag, bytes
_SMALL, _ANNOUNCED, _WANTED, _LARGE = 1, 2, 3, 4
_EAGER = 1 << 16
#: What messages and announcements that nobody has asked for may take up, for each process they come from.
_MOST_KEPT = 1 << 30


class _Receipt:
    """A call of `recv` that waits for its message."""

    def __init__(self, source: int, tag: int, view: memoryview, work: MessageWork):
        self.source, self.tag, self.view, self.work = source, tag, view, work


class _Kept:
    """A message, or its announcement, that nobody has asked for yet."""

    def __init__(self, peer: int, tag: int, nbytes: int, data: bytearray | None, number: int):
        self.peer, self.tag, self.nbytes, self.data, self.number = peer, tag, nbytes, data, number
        self.cost = 256 + (0 if data is None else nbytes)  # with this object


class MessageWork(Work):
    """A `send` or `recv` under way, which gives up after the group's timeout."""

    def __init__(self, messages: Messages, kind: str, tensors=()):
        super().__init__(tensors)
        self._messages, self._kind = messages, kind

    def wait(self, timeout=None) -> bool:
        seconds = self._messages.seconds if timeout is None else seconds_of(timeout)
        if not self._done.wait(seconds):
            self._messages.forget(
                self,
                RuntimeError(
                    f"Timed out waiting {int(seconds * 1000)}ms for {self._kind} operation to complete"
                ),
            )
        if self._error is not None:
            raise self._error
        return True


class _Peer:
    """The way to one process: its socket, and what is to be written to it."""

    def __init__(self, rank: int, sock: socket.socket):
        self.rank, self.socket = rank, sock
        self.lost: RuntimeError | None = None
        self.kept = 0
        self._closed = False
        self._lock = threading.Lock()  # held by whoever writes
        self._waiting: deque = deque()
        self._more = threading.Condition()
        self._thread: threading.Thread | None = None

    def write_now(self, parts: list) -> bool:
        """Write in this thread, unless others are writing or wait to."""
        with self._more:
            if self._waiting or not self._lock.acquire(blocking=False):
                return False
        try:
            self._write(parts)
        finally:
            self._lock.release()
        return True

    def write_later(self, parts: list, done) -> None:
        """Let this process's thread write, then call ``done(error or None)``."""
        with self._more:
            closed = self._closed
            if not closed:
                self._waiting.append((parts, done))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, daemon=True, name="flambeau-send")
                    self._thread.start()
                self._more.notify()
        if closed:
            done(ConnectionError("the connection is closed"))

    def _write(self, parts: list) -> None:
        total = sum(len(part) for part in parts)
        sent = self.socket.sendmsg(parts)
        if sent < total:
            for part in parts:
                if sent >= len(part):
                    sent -= len(part)
                    continue
                view = memoryview(part)[sent:]
                sent = 0
                while len(view):
                    view = view[self.socket.send(view) :]

    def _serve(self) -> None:
        while True:
            with self._more:
                while not self._waiting:
                    self._more.wait()
                parts, done = self._waiting[0]
                if parts is None:
                    return
            error = None
            with self._lock:
                try:
                    self._write(parts)
                except OSError as raised:
                    error = raised
            with self._more:
                self._waiting.popleft()
            done(error)

    def close(self) -> None:
        with self._more:
            self._closed = True
            self._waiting.append((None, None))
            self._more.notify()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Messages:
    """All messages of a group, for the process `rank`."""

    def __init__(self, rank: int, sockets: dict[int, socket.socket], seconds: float):
        self.rank, self.seconds = rank, seconds
        self._peers = {peer: _Peer(peer, sock) for peer, sock in sockets.items()}
        self._lock = threading.Lock()
        self._receipts: list[_Receipt] = []
        self._kept: list[_Kept] = []
        self._wanted: dict[
            tuple[int, int], _Receipt
        ] = {}  # large ones on their way here, by process and number
        self._announced: dict[tuple[int, int], tuple[memoryview, Work]] = {}  # large ones that we announced
        self._number = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        if self._thread is None and self._peers:
            self._thread = threading.Thread(target=self._read_all, daemon=True, name="flambeau-receive")
            self._thread.start()

    # ---- the user's side

    def send(self, peer: int, tag: int, view: memoryview, tensors=()) -> Work:
        """Start to send bytes."""
        work = MessageWork(self, "send", tensors)
        with self._lock:
            self._start()
            to = self._peers[peer]
            if to.lost is not None:
                raise to.lost
            self._number = number = (self._number + 1) & 0xFFFFFFFF
            if len(view) > _EAGER:
                self._announced[peer, number] = (view, work)
        if len(view) > _EAGER:
            self._post(to, [_FRAME.pack(_ANNOUNCED, number, tag, len(view))], lambda error: None)
            return work

        def done(error) -> None:
            work._finish(None if error is None else self._lose(to, error))

        frame = _FRAME.pack(_SMALL, number, tag, len(view))
        # The caller may change the tensor of a small message once it has been written, and not before.
        self._post(to, [frame, view], done)
        return work

    def _post(self, to: _Peer, parts: list, done) -> None:
        try:
            if to.write_now(parts):
                done(None)
                return
        except OSError as error:
            self._lose(to, error)
            done(error)
            return
        to.write_later(parts, done)

    def receive(self, source: int, tag: int, view: memoryview, tensors=()) -> Work:
        """Start to receive bytes from a process, or from ANY_SOURCE."""
        work = MessageWork(self, "recv", tensors)
        with self._lock:
            self._start()
            receipt = _Receipt(source, tag, view, work)
            kept = next((k for k in self._kept if k.tag == tag and source in (ANY_SOURCE, k.peer)), None)
            if kept is None:
                lost = self._lost(source)
                if lost is not None:
                    raise lost
                self._receipts.append(receipt)
                return work
            self._kept.remove(kept)
            self._peers[kept.peer].kept -= kept.cost
        if not self._fits(kept.peer, kept.nbytes, receipt):
            return work
        if kept.data is not None:
            view[:] = kept.data
            work._finish()
        else:
            self._want(kept.peer, kept.number, receipt)
        return work

    def _lost(self, source: int) -> RuntimeError | None:
        peers = self._peers.values() if source == ANY_SOURCE else (self._peers[source],)
        errors = [peer.lost for peer in peers]
        return errors[0] if errors and all(errors) else None

    def _fits(self, peer: int, nbytes: int, receipt: _Receipt) -> bool:
        receipt.work._source = peer
        if nbytes == len(receipt.view):
            return True
        receipt.work._finish(
            RuntimeError(
                f"recv: rank {peer} sent {nbytes} bytes with tag {receipt.tag}, and the tensor to receive them has "
                f"{len(receipt.view)}: both must have one size and dtype"
            )
        )
        return False

    def _want(self, peer: int, number: int, receipt: _Receipt) -> None:
        to = self._peers[peer]
        with self._lock:
            lost = to.lost
            if lost is None:
                self._wanted[peer, number] = receipt
        if lost is not None:
            receipt.work._finish(lost)
            return
        frame = _FRAME.pack(_WANTED, number, receipt.tag, len(receipt.view))
        to.write_later([frame], lambda error: None)

    def forget(self, work: Work, error: RuntimeError) -> None:
        """Give up on a message that did not come, or was not taken, in time."""
        with self._lock:
            self._receipts = [r for r in self._receipts if r.work is not work]
            halfway = [key for key, r in self._wanted.items() if r.work is work]
            halfway += [key for key, (_, w) in self._announced.items() if w is work]
        work._finish(error)
        # What is half sent cannot be taken back: the connection goes with it.
        for peer, _ in halfway:
            self._lose(self._peers[peer], None)

    # ---- the reader

    def _read_all(self) -> None:
        selector = selectors.DefaultSelector()
        for peer in self._peers.values():
            selector.register(peer.socket, selectors.EVENT_READ, peer)
        left = len(self._peers)
        while left and not self._closed:
            for key, _ in selector.select():
                peer = key.data
                try:
                    self._read(peer)
                except (OSError, struct.error) as error:
                    selector.unregister(peer.socket)
                    left -= 1
                    self._lose(peer, error)

    @staticmethod
    def _fill(peer: _Peer, view) -> None:
        at = 0
        while at < len(view):
            got = peer.socket.recv_into(view[at:] if at else view)
            if got == 0:
                raise ConnectionError
            at += got

    def _read(self, peer: _Peer) -> None:
        frame = bytearray(_FRAME.size)
        self._fill(peer, memoryview(frame))
        kind, number, tag, nbytes = _FRAME.unpack(frame)
        if kind == _SMALL:
            self._read_small(peer, tag, nbytes)
        elif kind == _ANNOUNCED:
            receipt = self._match(peer.rank, tag, _Kept(peer.rank, tag, nbytes, None, number))
            if receipt is not None and self._fits(peer.rank, nbytes, receipt):
                self._want(peer.rank, number, receipt)
        elif kind == _WANTED:
            with self._lock:
                view, work = self._announced.pop((peer.rank, number), (None, None))
            if work is None or nbytes != len(view):
                raise ConnectionError("it asked for a message that was not announced")

            def done(error, work=work) -> None:
                work._finish(None if error is None else self._lose(peer, error))

            peer.write_later([_FRAME.pack(_LARGE, number, tag, nbytes), view], done)
        elif kind == _LARGE:
            with self._lock:
                receipt = self._wanted.get((peer.rank, number))
            if receipt is None or nbytes != len(receipt.view):
                raise ConnectionError("it sent a message that nobody asked for")
            self._fill(peer, receipt.view)
            with self._lock:
                del self._wanted[peer.rank, number]
            receipt.work._finish()
        else:
            raise ConnectionError(f"it sent something of kind {kind}")

    def _read_small(self, peer: _Peer, tag: int, nbytes: int) -> None:
        if nbytes > _EAGER:
            raise ConnectionError(f"it sent {nbytes} bytes that nobody asked for")
        data = bytearray(nbytes)
        self._fill(peer, memoryview(data))
        kept = _Kept(peer.rank, tag, nbytes, data, 0)
        receipt = self._match(peer.rank, tag, kept)
        if receipt is None:
            return
        if self._fits(peer.rank, nbytes, receipt):
            receipt.view[:] = data
            receipt.work._finish()

    def _match(self, rank: int, tag: int, kept: _Kept) -> _Receipt | None:
        """Who waits for this; otherwise it is kept."""
        with self._lock:
            for i, receipt in enumerate(self._receipts):
                if receipt.tag == tag and receipt.source in (ANY_SOURCE, rank):
                    return self._receipts.pop(i)
            self._kept.append(kept)
            peer = self._peers[rank]
            peer.kept += kept.cost
            if peer.kept > _MOST_KEPT:
                raise ConnectionError("it sent more than can be kept until somebody asks for it")
        return None

    def _lose(self, peer: _Peer, error: OSError | None) -> RuntimeError:
        """A process is gone: whoever waits for it learns that."""
        detail = f" ({error})" if error is not None and str(error) else ""
        reason = RuntimeError(
            f"Connection closed by peer: rank {peer.rank} has ended, or its group has failed{detail}"
        )
        with self._lock:
            if peer.lost is None:
                peer.lost = reason
            reason = peer.lost
            failed = [r.work for r in self._receipts if self._lost(r.source) is not None]
            failed += [r.work for (rank, _), r in self._wanted.items() if rank == peer.rank]
            failed += [work for (rank, _), (_, work) in self._announced.items() if rank == peer.rank]
            self._receipts = [r for r in self._receipts if r.work not in failed]
            for table in (self._wanted, self._announced):
                for key in [key for key in table if key[0] == peer.rank]:
                    del table[key]
        peer.close()
        for work in failed:
            work._finish(reason)
        return reason

    def set_timeout(self, seconds: float) -> None:
        """How long messages may take from now on."""
        self.seconds = seconds
        for peer in self._peers.values():
            set_socket_timeout(peer.socket, seconds)

    def close(self) -> None:
        """End all connections."""
        self._closed = True
        for peer in list(self._peers.values()):
            self._lose(peer, None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2)
        for peer in self._peers.values():
            peer.socket.close()
