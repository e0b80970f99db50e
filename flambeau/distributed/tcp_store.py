"""A store that one process serves over TCP.

A request is an operation and a list of byte strings, a reply a status and a list of byte strings. The server has a
thread per client, so that a client may wait for a key as long as it likes. Lengths that come from the network are
bounded before anything is allocated.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import weakref
from datetime import timedelta

from .constants import default_store_timeout, seconds_of
from .errors import DistNetworkError, DistStoreError, QueueEmptyError
from .store import Store, Table, as_bytes

__all__ = ["TCPStore"]

_GREETING = b"flambeau store 1"
_HEAD = struct.Struct("<BI")  # operation or status, number of strings
_LENGTH = struct.Struct("<I")
_MOST_STRINGS = 1 << 16
_LONGEST_MESSAGE = 1 << 28
_GREETING_SECONDS = 10.0
_JOINED = "init/"
_OK, _NOT_IN_TIME, _BAD_VALUE = 0, 1, 2


def _receive_exactly(sock: socket.socket, count: int) -> bytes:
    buffer = bytearray(count)
    view, at = memoryview(buffer), 0
    while at < count:
        got = sock.recv_into(view[at:])
        if got == 0:
            raise ConnectionError("the connection was closed")
        at += got
    return bytes(buffer)


def _send_message(sock: socket.socket, code: int, strings) -> None:
    parts = [_HEAD.pack(code, len(strings))]
    for string in strings:
        parts += (_LENGTH.pack(len(string)), string)
    sock.sendall(b"".join(parts))


def _receive_message(sock: socket.socket) -> tuple[int, list[bytes]]:
    code, count = _HEAD.unpack(_receive_exactly(sock, _HEAD.size))
    if count > _MOST_STRINGS:
        raise ConnectionError(f"a message of {count} strings is no message of a store")
    strings, total = [], 0
    for _ in range(count):
        (length,) = _LENGTH.unpack(_receive_exactly(sock, _LENGTH.size))
        total += length
        if total > _LONGEST_MESSAGE:
            raise ConnectionError(f"a store's messages have at most {_LONGEST_MESSAGE} bytes")
        strings.append(_receive_exactly(sock, length))
    return code, strings


def _listen(host: str, port: int) -> socket.socket:
    """A socket at the first of the host's addresses that this machine has."""
    failure = OSError(f"{host} has no address")
    for family, kind, proto, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as error:
            failure = error
            continue
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(2048)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


class _Server:
    """Answers for a table. Every client has a thread, which ends with the connection."""

    def __init__(self, sock: socket.socket):
        self.table = Table()
        self._socket = sock
        self.port = sock.getsockname()[1]
        self._clients: weakref.WeakSet = weakref.WeakSet()
        self._closed = False
        _servers_here.add(self)
        threading.Thread(target=self._accept, daemon=True, name="flambeau-store").start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self._clients.add(client)
            if self._closed:  # since, and perhaps without having seen this client
                client.close()
                return
            threading.Thread(
                target=self._serve, args=(client,), daemon=True, name="flambeau-store-client"
            ).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                client.settimeout(_GREETING_SECONDS)
                if _receive_exactly(client, len(_GREETING)) != _GREETING:
                    return
                client.settimeout(None)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while True:
                    _send_message(client, *self._answer(*_receive_message(client)))
            except (OSError, struct.error):
                return

    def _answer(self, operation: int, strings: list[bytes]) -> tuple[int, list[bytes]]:
        try:
            result = _OPERATIONS[operation](self.table, *strings)
        except (IndexError, TypeError, ValueError) as error:
            return _BAD_VALUE, [str(error).encode()]
        return (_NOT_IN_TIME, []) if result is None else (_OK, result)

    def close(self) -> None:
        self._closed = True
        for sock in (self._socket, *self._clients):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


def _truth(value: bool) -> list[bytes]:
    return [b"1" if value else b"0"]


def _done(unused) -> list[bytes]:
    return []


def _one(value) -> list[bytes] | None:
    return None if value is None else [value]


# The operations by number: (table, strings of the request) -> strings of the reply, None if a key did not come in time.
_OPERATIONS = [
    lambda table, key, value: _done(table.set(key, value)),
    lambda table, key, seconds: _one(table.get(key, float(seconds))),
    lambda table, key, amount: [b"%d" % table.add(key, int(amount))],
    lambda table, key, expected, desired: [table.compare_set(key, expected, desired)],
    lambda table, *keys: _truth(table.check(keys)),
    lambda table, key: _truth(table.delete(key)),
    lambda table: table.keys(),
    lambda table, key, value: _done(table.append(key, value)),
    lambda table, seconds, *keys: [] if table.wait(keys, float(seconds)) else None,
    lambda table, key, value: _done(table.push(key, value)),
    lambda table, key, seconds: _one(table.pop(key, float(seconds))),
    lambda table, key: [b"%d" % table.queue_len(key)],
]
_SET, _GET, _ADD, _COMPARE_SET, _CHECK, _DELETE, _KEYS, _APPEND, _WAIT, _PUSH, _POP, _QUEUE_LEN = range(12)

_servers: weakref.WeakValueDictionary = weakref.WeakValueDictionary()  # by port, of stores that share one
_servers_here: weakref.WeakSet = weakref.WeakSet()
_clients_here: weakref.WeakSet = weakref.WeakSet()


def _close_in_child() -> None:
    # A forked process must not keep connections open that its parent's end is to close.
    for server in list(_servers_here):
        for sock in (server._socket, *server._clients):
            sock.close()
    for client in list(_clients_here):
        client._socket.close()


os.register_at_fork(after_in_child=_close_in_child)


class TCPStore(Store):
    """A store that the process with ``is_master=True`` serves to all others.

    Args:
        host_name: the address to serve at or to connect to. The server listens there and nowhere else.
        port: the port; 0 lets the server choose one, which `port` tells.
        world_size: how many processes there will be; the server waits for them. None: it waits for none.
        is_master: serve. Default: False.
        timeout: how long to wait for connections, and for keys. Default: 300 s.
        wait_for_workers: whether the server waits for the others to connect. Default: True.
        multi_tenant: several stores of a process may share one server at a port. Default: False.
        master_listen_fd: a socket that listens already, for the server.

    >>> from datetime import timedelta
    >>> store = flambeau.distributed.TCPStore("127.0.0.1", 0, 1, True, timedelta(seconds=5))
    >>> store.set("key", "value")
    >>> store.get("key")
    b'value'
    """

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        timeout: timedelta = default_store_timeout,
        wait_for_workers: bool = True,
        multi_tenant: bool = False,
        master_listen_fd: int | None = None,
        use_libuv: bool = True,
    ):
        super().__init__()
        if not 0 <= int(port) < 65536:
            raise ValueError(f"TCPStore: port {port} is not between 0 and 65535")
        self._host, self._timeout = host_name, timeout
        self._lock = threading.Lock()
        self._server = None
        if is_master:
            self._server = self._serve(host_name, int(port), multi_tenant, master_listen_fd)
            port = self._server.port
        self._port = int(port)
        self._socket = self._connect(seconds_of(timeout))
        _clients_here.add(self)
        if wait_for_workers:
            self.add(_JOINED, 1)
            if is_master and world_size is not None and world_size > 0:
                self._wait_for_workers(world_size)

    @staticmethod
    def _serve(host: str, port: int, multi_tenant: bool, descriptor: int | None) -> _Server:
        if multi_tenant and port in _servers:
            return _servers[port]
        if descriptor is not None:
            return _Server(socket.socket(fileno=descriptor))
        try:
            server = _Server(_listen(host, port))
        except OSError as error:
            raise DistNetworkError(
                f"The server socket has failed to listen on any local network address. host: {host}, port: {port}, "
                f"code: {-(error.errno or 0)}, message: {error.strerror or error}"
            ) from error
        _servers[server.port] = server
        return server

    def _connect(self, seconds: float) -> socket.socket:
        end = time.monotonic() + seconds
        pause = 0.01
        while True:
            left = end - time.monotonic()
            try:
                sock = socket.create_connection((self._host, self._port), timeout=max(left, 0.001))
                sock.settimeout(None)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(_GREETING)
                return sock
            except OSError as error:
                left = end - time.monotonic()
                if left <= 0:
                    raise DistNetworkError(
                        f"The client socket has timed out after {int(seconds * 1000)}ms while trying to connect to "
                        f"({self._host}, {self._port}): {error}"
                    ) from error
                time.sleep(min(pause, left))  # the server may not be there yet
                pause = min(2 * pause, 0.5)

    def _wait_for_workers(self, world_size: int) -> None:
        seconds = seconds_of(self._timeout)
        end = time.monotonic() + seconds
        while (joined := self.add(_JOINED, 0)) < world_size:
            if time.monotonic() >= end:
                raise DistStoreError(
                    f"Timed out after {int(seconds) + 1} seconds waiting for clients. {joined}/{world_size} clients joined."
                )
            time.sleep(0.01)

    def _ask(self, operation: int, *strings: bytes, seconds: float = 0.0) -> list[bytes]:
        # The server minds the time that it was given; the socket's own limit is for one that no longer answers.
        with self._lock:
            try:
                self._socket.settimeout(seconds + seconds_of(self._timeout) + 60)
                _send_message(self._socket, operation, strings)
                status, reply = _receive_message(self._socket)
            except (OSError, struct.error) as error:
                self._socket.close()
                raise DistNetworkError(
                    f"Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or "
                    f"crash? ({self._host}, {self._port}): {error}"
                ) from error
        if status == _BAD_VALUE:
            raise ValueError(b" ".join(reply).decode(errors="replace"))
        if status == _NOT_IN_TIME:
            raise _NotInTime
        return reply

    def _waited(self, keys, timeout, operation: int, *strings: bytes) -> list[bytes]:
        seconds = seconds_of(self._timeout if timeout is None else timeout)
        try:
            return self._ask(operation, *strings, seconds=seconds)
        except _NotInTime:
            listed = ", ".join(f"/{key}" for key in keys)
            raise DistStoreError(f"wait timeout after {int(seconds * 1000)}ms, keys: {listed}") from None

    @property
    def host(self) -> str:
        """The name that was given."""
        return self._host

    @property
    def port(self) -> int:
        """The server's port."""
        return self._port

    @property
    def libuvBackend(self) -> bool:
        """True, as of PyTorch's present server; this one has threads."""
        return True

    def __repr__(self) -> str:
        role = "server" if self._server is not None else "client"
        return f"TCPStore({role} of {self._host}:{self._port})"

    def set(self, key, value):
        self._ask(_SET, key.encode(), as_bytes("set", value))

    def get(self, key):
        seconds = b"%r" % seconds_of(self._timeout)
        return self._waited([key], None, _GET, key.encode(), seconds)[0]

    def add(self, key, amount):
        return int(self._ask(_ADD, key.encode(), b"%d" % int(amount))[0])

    def compare_set(self, key, expected_value, desired_value):
        expected, desired = as_bytes("compare_set", expected_value), as_bytes("compare_set", desired_value)
        return self._ask(_COMPARE_SET, key.encode(), expected, desired)[0]

    def check(self, keys):
        return self._ask(_CHECK, *(key.encode() for key in keys)) == [b"1"]

    def delete_key(self, key):
        return self._ask(_DELETE, key.encode()) == [b"1"]

    def num_keys(self):
        return len(self._ask(_KEYS))

    def list_keys(self):
        return [key.decode() for key in self._ask(_KEYS) if key != _JOINED.encode()]

    def append(self, key, value):
        self._ask(_APPEND, key.encode(), as_bytes("append", value))

    def wait(self, keys, timeout=None):
        seconds = b"%r" % seconds_of(self._timeout if timeout is None else timeout)
        self._waited(keys, timeout, _WAIT, seconds, *(key.encode() for key in keys))

    def queue_push(self, key, value):
        """Put a value at the end of a queue."""
        self._ask(_PUSH, key.encode(), as_bytes("queue_push", value))

    def queue_pop(self, key, block=True):
        """Take the first value of a queue, waiting for one if `block` is true."""
        if not block:
            try:
                return self._ask(_POP, key.encode(), b"0")[0]
            except _NotInTime:
                raise QueueEmptyError(f"queue is empty: {key}") from None
        return self._waited([key], None, _POP, key.encode(), b"%r" % seconds_of(self._timeout))[0]

    def queue_len(self, key):
        """How many values wait in a queue."""
        return int(self._ask(_QUEUE_LEN, key.encode())[0])

    def clone(self):
        return TCPStore(self._host, self._port, timeout=self._timeout, wait_for_workers=False)

    def _local_address(self):
        return self._socket.getsockname()[0]

    def __del__(self):
        sock = getattr(self, "_socket", None)
        if sock is not None:
            sock.close()
        # The server ends with the last store on it: `_servers` holds it weakly, its threads do hold it.
        server, self._server = getattr(self, "_server", None), None
        if server is not None and not any(c is not self and c._server is server for c in list(_clients_here)):
            server.close()


class _NotInTime(Exception):
    """The server's answer when a key did not come."""
