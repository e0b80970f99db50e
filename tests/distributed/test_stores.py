"""Stores: values, counters, waits that end, hostile clients."""

import contextlib
import gc
import os
import socket
import struct
import threading
import time
from datetime import timedelta

import pytest

import flambeau.distributed as dist
from flambeau.distributed import tcp_store

SHORT = timedelta(milliseconds=150)


def tcp():
    return dist.TCPStore("127.0.0.1", 0, 1, True, timedelta(seconds=5))


@pytest.fixture(params=["hash", "file", "tcp", "prefix"])
def store(request, tmp_path):
    if request.param == "hash":
        return dist.HashStore()
    if request.param == "file":
        return dist.FileStore(str(tmp_path / "store"), 1)
    if request.param == "tcp":
        return tcp()
    return dist.PrefixStore("some/prefix", dist.HashStore())


class TestValues:
    def test_set_and_get(self, store):
        store.set("key", "value")
        store.set("bytes", b"\x00\xff")
        assert store.get("key") == b"value" and store.get("bytes") == b"\x00\xff"
        store.set("key", "")
        assert store.get("key") == b""

    def test_add_counts(self, store):
        assert [store.add("n", 3), store.add("n", 4), store.add("n", -10)] == [3, 7, -3]
        assert store.get("n") == b"-3"

    def test_add_needs_a_number(self, store):
        store.set("text", "abc")
        with pytest.raises(ValueError, match="stoll"):
            store.add("text", 1)
        store.set("after", "works")
        assert store.get("after") == b"works"

    def test_compare_set(self, store):
        assert store.compare_set("k", "", "v") == b"v"
        assert store.compare_set("k", "v", "w") == b"w"
        assert store.compare_set("k", "x", "y") == b"w"
        assert store.compare_set("absent", "x", "y") == b"x"
        assert not store.check(["absent"])

    def test_delete_and_check(self, store):
        store.multi_set(["a", "b"], ["1", "2"])
        assert store.multi_get(["a", "b"]) == [b"1", b"2"]
        assert store.check(["a", "b"]) and not store.check(["a", "c"])
        assert store.delete_key("a") and not store.delete_key("a")
        assert not store.check(["a"])

    def test_append(self, store):
        store.append("x", "1")
        store.append("x", "2")
        assert store.get("x") == b"12"

    def test_num_keys_counts(self, store):
        before = store.num_keys()
        store.set("one", "1")
        store.add("two", 1)
        assert store.num_keys() == before + 2
        assert {"one", "two"} <= set(store.list_keys())

    def test_values_are_text_or_bytes(self, store):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            store.set("k", 3)


class TestWaiting:
    def test_reads_give_up(self, store):
        store.set_timeout(SHORT)
        start = time.monotonic()
        with pytest.raises(RuntimeError, match="(?i)timeout"):
            store.get("absent")
        with pytest.raises(RuntimeError, match="(?i)wait timeout"):
            store.wait(["absent"], SHORT)
        assert 0.25 < time.monotonic() - start < 60

    def test_a_wait_ends_when_the_key_comes(self, store):
        other = store.clone()
        thread = threading.Timer(0.05, lambda: other.set("late", "here"))
        thread.start()
        store.wait(["late"], timedelta(seconds=5))
        assert store.get("late") == b"here"
        thread.join()

    def test_queues(self):
        for store in (dist.HashStore(), tcp()):
            store.queue_push("q", "1")
            store.queue_push("q", "2")
            assert store.queue_len("q") == 2
            assert [store.queue_pop("q"), store.queue_pop("q")] == [b"1", b"2"]
            with pytest.raises(dist.QueueEmptyError):
                store.queue_pop("q", block=False)


class TestPrefix:
    def test_prefix_is_put_before(self):
        inner = dist.HashStore()
        outer = dist.PrefixStore("p", inner)
        outer.set("k", "v")
        assert inner.get("p/k") == b"v" and outer.underlying_store is inner
        assert outer.list_keys() == ["k"]


class TestFile:
    def test_processes_see_each_other(self, tmp_path):
        path = str(tmp_path / "store")
        first, second = dist.FileStore(path, 2), dist.FileStore(path, 2)
        first.set("a", "1")
        assert second.get("a") == b"1" and second.add("n", 1) == 1 and first.add("n", 1) == 2
        second.delete_key("a")
        assert not first.check(["a"])

    def test_the_last_one_removes_the_file(self, tmp_path):
        path = str(tmp_path / "store")
        first, second = dist.FileStore(path, 2), dist.FileStore(path, 2)
        del first
        gc.collect()
        assert os.path.exists(path)
        del second
        gc.collect()
        assert not os.path.exists(path)

    def test_half_a_record_is_no_record(self, tmp_path):
        path = tmp_path / "store"
        store = dist.FileStore(str(path))
        store.set("a", "1")
        with open(path, "ab") as file:
            file.write(struct.pack("<IQ", 5, 1 << 40) + b"tor")
        assert store.get("a") == b"1" and not store.check(["torn!"])
        store.set("b", "2")
        assert dist.FileStore(str(path)).get("b") == b"2"


class TestTcp:
    def test_clients_share(self):
        server = tcp()
        client = dist.TCPStore("127.0.0.1", server.port, timeout=SHORT, wait_for_workers=False)
        client.set("k", "v")
        assert server.get("k") == b"v" and client.host == "127.0.0.1" and client.port == server.port

    def test_nobody_there(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        with pytest.raises(dist.DistNetworkError, match="timed out after 150ms while trying to connect"):
            dist.TCPStore("127.0.0.1", port, 2, False, SHORT)

    def test_port_in_use(self):
        server = tcp()
        with pytest.raises(dist.DistNetworkError, match="failed to listen on any local network address"):
            dist.TCPStore("127.0.0.1", server.port, 1, True, SHORT)
        shared = dist.TCPStore("127.0.0.1", server.port, 1, True, SHORT, multi_tenant=True)
        shared.set("k", "v")
        assert server.get("k") == b"v"

    def test_a_name_with_several_addresses(self, monkeypatch):
        found = socket.getaddrinfo("127.0.0.1", 0, type=socket.SOCK_STREAM)
        elsewhere = [(*found[0][:4], ("192.0.2.1", 0))]  # for documentation: no machine has it
        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", lambda *args, **kwargs: elsewhere + found)
            sock = tcp_store._listen("name", 0)
        with sock:
            assert sock.getsockname()[0] == "127.0.0.1"
        with pytest.raises(dist.DistNetworkError, match="failed to listen on any local network address"):
            dist.TCPStore("192.0.2.1", 0, 1, True, SHORT)

    def test_the_server_waits_for_workers(self):
        with pytest.raises(dist.DistStoreError, match="1/2 clients joined"):
            dist.TCPStore("127.0.0.1", 0, 2, True, SHORT)

    def test_the_server_ends_with_its_store(self):
        server = tcp()
        client = dist.TCPStore("127.0.0.1", server.port, timeout=timedelta(seconds=2), wait_for_workers=False)
        del server
        gc.collect()
        with pytest.raises(dist.DistNetworkError, match="Connection was likely closed"):
            client.get("k")

    @pytest.mark.parametrize(
        "message",
        [
            b"GET / HTTP/1.1\r\n\r\n" + bytes(100),
            b"flambeau store 1" + struct.pack("<BI", 0, 1 << 31),
            b"flambeau store 1" + struct.pack("<BI", 0, 2) + struct.pack("<I", 0xFFFFFFFF),
            b"flambeau store 1" + struct.pack("<BI", 250, 0),
            b"flambeau store 1" + struct.pack("<BI", 0, 0),
        ],
    )
    def test_strangers_do_no_harm(self, message):
        server = tcp()
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.settimeout(3)
            sock.sendall(message)
            with contextlib.suppress(OSError):  # it may have hung up by now
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
        server.set("k", "v")
        assert server.get("k") == b"v"
