"""Connections between the processes of a group, and the memory that those on one host share.

Note [Links]: every pair of processes has one socket for each direction of collective operations. What a process sends
on its own (a header and the payload, or a byte for each piece that it has put into shared memory) goes one way; the
bytes with which the other gives pieces back go the other way. Each half of a socket therefore carries one kind of message
in an order that both know, and nothing has to be sorted. A third socket is for `send` and `recv` (see p2p.py).

Processes on one host use Unix sockets in the abstract namespace and share a few slots of memory for each direction;
others use TCP. A process that connects has to show the token that the listener left in the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import select
import socket
import struct
import time
import weakref

import flambeau

from .constants import seconds_of
from .errors import DistNetworkError

__all__ = ["Link", "connect_all"]

#: Payloads up to this size travel in the socket, in one go: less than what the kernel surely takes without a reader.
INLINE = 1 << 16
#: Slots of shared memory per direction, and their size: several fit a core's cache.
SLOTS, SLOT_SIZE = 4, 1 << 19

_HELLO = struct.Struct("<8s16sIB")  # magic, the listener's token, rank, channel
_MAGIC = b"flambeau"
_HELLO_SECONDS = 5.0
_TIMEVAL = struct.Struct("@ll")
_CHANNELS = 3  # lower to higher rank, higher to lower, point to point


def _host_identity() -> str:
    """A name for this host's kernel, or this process's own where there is none: equal for processes on one host."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return os.urandom(8).hex()


def _interface_address(name: str) -> str:
    SIOCGIFADDR = 0x8915
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            reply = fcntl.ioctl(sock, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        except OSError as error:
            raise ValueError(
                f"ProcessGroupGloo: GLOO_SOCKET_IFNAME is {name!r}, and there is no such network interface with an "
                f"IPv4 address: {error}"
            ) from error
    return socket.inet_ntoa(reply[20:24])


def _own_address(store) -> str:
    name = os.environ.get("GLOO_SOCKET_IFNAME", "").split(",")[0].strip()
    if name:
        return _interface_address(name)
    local = getattr(store, "_local_address", None)  # a store of the user's own need not know
    return local() if local is not None else "127.0.0.1"


def set_socket_timeout(sock: socket.socket, seconds: float) -> None:
    """The kernel's own limit on a call, which costs nothing per call; 0 is none."""
    limit = _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1e6)) if seconds < 1e9 else _TIMEVAL.pack(0, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


# ---- finding each other


class _Listener:
    """Where other processes connect to this one while a group is being made."""

    def __init__(self, address: str):
        self.token = os.urandom(16)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        tcp = socket.socket(family, socket.SOCK_STREAM)
        self.sockets = [tcp]
        tcp.bind((address, 0))
        local = "-"
        if hasattr(os, "memfd_create"):
            name = f"flambeau-{os.urandom(16).hex()}"
            unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            unix.bind("\0" + name)
            self.sockets.append(unix)
            local = f"{_host_identity()}/{name}"
        for sock in self.sockets:
            sock.listen(1024)
            sock.setblocking(False)
        self.description = f"{self.token.hex()} {local} {tcp.getsockname()[1]} {address}".encode()

    def accept(self, end: float) -> tuple[socket.socket, int, int]:
        """The next process that shows the token: (socket, rank, channel)."""
        from hmac import compare_digest

        while True:
            left = end - time.monotonic()
            ready, _, _ = select.select(self.sockets, (), (), max(left, 0))
            if not ready:
                raise TimeoutError
            try:
                sock, _ = ready[0].accept()
            except OSError:
                continue
            sock.settimeout(min(_HELLO_SECONDS, max(left, 0.001)))
            try:
                hello = b""
                while len(hello) < _HELLO.size:
                    part = sock.recv(_HELLO.size - len(hello))
                    if not part:
                        break
                    hello += part
                magic, token, rank, channel = _HELLO.unpack(hello)
            except (OSError, struct.error):
                sock.close()
                continue
            if magic == _MAGIC and compare_digest(token, self.token) and channel < _CHANNELS:
                return sock, rank, channel
            sock.close()

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


def _connect(description: bytes, rank: int, channel: int, end: float) -> socket.socket:
    token, local, port, address = description.decode().split(" ", 3)
    sock = None
    host, _, name = local.partition("/")
    if name and host == _host_identity():
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect("\0" + name)
        except OSError:  # in another network namespace
            sock.close()
            sock = None
    if sock is None:
        sock = socket.create_connection((address, int(port)), timeout=max(end - time.monotonic(), 0.001))
    sock.settimeout(max(end - time.monotonic(), 0.001))
    sock.sendall(_HELLO.pack(_MAGIC, bytes.fromhex(token), rank, channel))
    return sock


def connect_all(store, rank: int, size: int, timeout) -> tuple[dict, dict]:
    """Connect this process of a group to all others.

    Returns:
        The links by rank, and the sockets for `send` and `recv` by rank.
    """
    seconds = seconds_of(timeout)
    end = time.monotonic() + seconds
    sockets: dict[tuple[int, int], socket.socket] = {}
    listener = _Listener(_own_address(store))
    links: dict[int, Link] = {}
    try:
        store.set(f"address/{rank}", listener.description)
        for peer in range(rank):
            key = f"address/{peer}"
            store.wait([key], timeout)
            description = store.get(key)
            for channel in range(_CHANNELS):
                sockets[peer, channel] = _connect(description, rank, channel, end)
        while len(sockets) < _CHANNELS * (size - 1):
            sock, peer, channel = listener.accept(end)
            if not rank < peer < size or (peer, channel) in sockets:
                sock.close()
                continue
            sockets[peer, channel] = sock
        for peer in sorted({peer for peer, _ in sockets}):
            lower, higher = sockets[peer, 0], sockets[peer, 1]
            out, back = (lower, higher) if rank < peer else (higher, lower)
            links[peer] = Link(rank, peer, out, back, seconds)
        # Everybody who needed this address is connected. Nobody is through before the slots are handed over, so that who
        # makes a group of the same name next does not find it.
        with contextlib.suppress(Exception):  # a store of the user's own need not be able to
            store.delete_key(f"address/{rank}")
        # Every slot is handed over before any is asked for: the calls below can wait for nobody who waits for us.
        for link in links.values():
            link.offer_slots()
        for link in links.values():
            link.take_slots()
    except (OSError, TimeoutError) as error:
        for sock in sockets.values():
            sock.close()
        missing = sorted(set(range(size)) - {rank} - {peer for peer, _ in sockets})
        what = f"ranks {missing} did not connect" if missing else "a connection was lost"
        raise DistNetworkError(
            f"Gloo connectFullMesh failed: rank {rank} of {size} could not reach all others within {seconds:g} s ({what})"
            f": {error or type(error).__name__}"
        ) from error
    finally:
        listener.close()
    direct = {peer: sockets[peer, 2] for peer in links}
    for sock in direct.values():
        _prepare(sock, seconds)
        _open_sockets.add(sock)
    return links, direct


def _prepare(sock: socket.socket, seconds: float) -> None:
    sock.settimeout(None)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        if sock.getsockopt(socket.SOL_SOCKET, option) < 4 * INLINE:
            sock.setsockopt(socket.SOL_SOCKET, option, 4 * INLINE)
    set_socket_timeout(sock, seconds)


_open_sockets: weakref.WeakSet = weakref.WeakSet()


def _close_in_child() -> None:
    # A forked process, a loader's worker say, must not keep a connection open whose end tells others of a death.
    for sock in list(_open_sockets):
        sock.close()


os.register_at_fork(after_in_child=_close_in_child)

# ---- a pair of processes


def bytes_of(tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    size = tensor.element_size()
    start = tensor.storage_offset() * size
    return memoryview(tensor.untyped_storage()).cast("B")[start : start + tensor.numel() * size]


class PeerLost(RuntimeError):
    """The other process closed the connection, or did not answer in time."""


class Link:
    """This process's connection with another of its group, for collective operations: see the note *Links*.

    `put` and `take` move a tensor of one dimension; large ones are moved by pieces, which a caller who sends and receives
    at once has to interleave: `pieces` says where they begin and end.
    """

    def __init__(self, rank: int, peer: int, out: socket.socket, back: socket.socket, seconds: float):
        self.rank, self.peer, self.seconds = rank, peer, seconds
        self._out, self._in = out, back
        self.shared = False
        self._scratch = None
        for sock in (out, back):
            _prepare(sock, seconds)
            _open_sockets.add(sock)
        self.place = self._place(out)

    @staticmethod
    def _place(sock: socket.socket) -> str:
        if sock.family == socket.AF_UNIX:
            return "[localhost]"
        host, port = sock.getpeername()[:2]
        return f"[{host}]:{port}"

    # -- slots of shared memory

    def offer_slots(self) -> None:
        """Send the other end the memory through which this one will send."""
        if self._out.family != socket.AF_UNIX:
            return
        descriptor = os.memfd_create("flambeau-slots", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, SLOTS * SLOT_SIZE)
            fcntl.fcntl(
                descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            )
            self._out_slots = _slots(descriptor)
            socket.send_fds(self._out, [b"S"], [descriptor])
        finally:
            os.close(descriptor)
        self._credits = SLOTS
        self._sent = self._taken = 0
        self.shared = True

    def take_slots(self) -> None:
        """Receive the memory through which the other end will send."""
        if self._in.family != socket.AF_UNIX:
            return
        message, descriptors, _, _ = socket.recv_fds(self._in, 1, 1)
        if message != b"S" or len(descriptors) != 1:
            raise ConnectionError(f"rank {self.peer} sent no memory")
        try:
            if os.fstat(descriptors[0]).st_size != SLOTS * SLOT_SIZE or not (
                fcntl.fcntl(descriptors[0], fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
            ):
                raise ConnectionError(f"rank {self.peer} sent memory of another size")
            self._in_slots = _slots(descriptors[0])
        finally:
            os.close(descriptors[0])

    # -- messages

    def _failed(self, error: OSError | None, what: str) -> PeerLost:
        if isinstance(error, BlockingIOError):
            return PeerLost(
                f"Timed out waiting {int(self.seconds * 1000)}ms for {what} operation to complete: rank {self.rank} waits "
                f"for rank {self.peer} at {self.place}"
            )
        reason = "Connection closed by peer" if error is None or error.errno in (32, 104, 9) else str(error)
        return PeerLost(f"{reason} {self.place}: rank {self.peer} has ended, or its group has failed")

    def _send(self, parts: list) -> None:
        try:
            sent = self._out.sendmsg(parts)
            total = sum(len(part) for part in parts)
            while sent < total:  # interrupted by a signal
                rest = memoryview(b"".join(parts))[sent:]
                sent += self._out.send(rest)
        except OSError as error:
            raise self._failed(error, "send") from None

    def _receive(self, view: memoryview) -> None:
        at, count = 0, len(view)
        try:
            while at < count:
                got = self._in.recv_into(view[at:] if at else view)
                if got == 0:
                    raise self._failed(None, "recv")
                at += got
        except OSError as error:
            raise self._failed(error, "recv") from None

    def send_small(self, header: bytes, payload: memoryview) -> None:
        """A header and a payload of INLINE bytes at most, in one go."""
        self._send([header, payload])

    def receive_small(self, header: bytes, buffer: bytearray | memoryview) -> None:
        """What `send_small` sent, into a buffer for header and payload. The header has to be the one expected."""
        view = memoryview(buffer)
        size, at = len(header), 0
        try:
            while at < len(view):
                got = self._in.recv_into(view[at:] if at else view)
                if got == 0:
                    raise self._failed(None, "recv")
                at += got
                if at >= size and view[:size] != header:
                    raise Mismatch(self.peer, bytes(view[:size]))
        except OSError as error:
            raise self._failed(error, "recv") from None

    def receive_header(self, header: bytes) -> None:
        """The header that precedes pieces."""
        self.receive_small(header, bytearray(len(header)))

    def send_header(self, header: bytes) -> None:
        """Announce pieces."""
        self._send([header])

    # -- pieces

    def pieces(self, count: int, itemsize: int) -> list[tuple[int, int]]:
        """Beginnings and ends of the pieces of a tensor with `count` elements."""
        step = (SLOT_SIZE if self.shared else INLINE) // itemsize
        return [(at, min(at + step, count)) for at in range(0, count, step)]

    def put(self, piece, header: bytes = b"") -> None:
        """Send a piece, the first one with the header."""
        if not self.shared:
            self._send([header, bytes_of(piece)])
            return
        if self._credits == 0:
            try:
                self._credits = len(self._out.recv(64))
            except OSError as error:
                raise self._failed(error, "send") from None
            if self._credits == 0:
                raise self._failed(None, "send")
        self._credits -= 1
        slot = self._out_slots[self._sent % SLOTS]
        self._sent += 1
        slot[: piece.numel() * piece.element_size()].view(piece.dtype).copy_(piece)
        self._send([header + b"R"])

    def take(self, like):
        """The piece that comes next, as a tensor of the size and dtype of `like`, until `give_back` is called."""
        if not self.shared:
            if self._scratch is None:
                self._scratch = flambeau.empty(INLINE, dtype=flambeau.uint8)
            self._receive(
                memoryview(self._scratch.untyped_storage()).cast("B")[: like.numel() * like.element_size()]
            )
            return self._scratch[: like.numel() * like.element_size()].view(like.dtype)
        self._receive(memoryview(bytearray(1)))
        slot = self._in_slots[self._taken % SLOTS]
        self._taken += 1
        return slot[: like.numel() * like.element_size()].view(like.dtype)

    def take_into(self, piece) -> None:
        """The piece that comes next, into a tensor."""
        if not self.shared:
            self._receive(bytes_of(piece))
            return
        piece.copy_(self.take(piece))
        self.give_back()

    def give_back(self) -> None:
        """The piece that was taken is no longer needed."""
        if self.shared:
            try:
                self._in.send(b"A")
            except OSError:
                pass  # the other end is done and gone: it needs no slot

    def set_timeout(self, seconds: float) -> None:
        """How long a call may wait from now on."""
        self.seconds = seconds
        for sock in (self._out, self._in):
            set_socket_timeout(sock, seconds)

    def shut_down(self) -> None:
        """End the connection: both ends' calls that wait return, with an error."""
        for sock in (self._out, self._in):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self.shut_down()
        for sock in (self._out, self._in):
            sock.close()
        self._out_slots = self._in_slots = None


class Mismatch(RuntimeError):
    """The other process is in another operation."""

    def __init__(self, peer: int, header: bytes):
        super().__init__(peer, header)
        self.peer, self.header = peer, header


def _slots(descriptor: int) -> list:
    memory = mmap.mmap(descriptor, SLOTS * SLOT_SIZE)  # lives as long as the tensors on it
    whole = flambeau.frombuffer(memory, dtype=flambeau.uint8)
    return list(whole.view(SLOTS, SLOT_SIZE).unbind())
