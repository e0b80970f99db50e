"""send and recv: tags, any source, sizes, both directions at once, deaths, strangers."""

import os
import time
from datetime import timedelta

import pytest
from processes import message_of, run

import flambeau as torch
import flambeau.distributed as dist

LARGE = 300_000


def test_tags_are_received_in_any_order():
    def work(rank, size):
        if rank == 0:
            sent = [
                dist.isend(torch.full((n,), float(tag)), 1, tag=tag)
                for tag, n in enumerate((5, LARGE, 1, LARGE))
            ]
            for work in sent:
                work.wait()
        else:
            for tag, n in ((2, 1), (3, LARGE), (0, 5), (1, LARGE)):
                x = torch.empty(n)
                assert dist.recv(x, 0, tag=tag) == 0
                assert (x == tag).all()

    run(2, work)


def test_messages_of_one_tag_keep_their_order():
    def work(rank, size):
        counts = (3, 3, 3)
        if rank == 0:
            for i, n in enumerate(counts):
                dist.send(torch.full((n,), float(i)), 1)
        else:
            time.sleep(0.1)
            found = []
            for n in counts:
                x = torch.empty(n)
                dist.recv(x, 0)
                found.append(x[0].item())
            assert found == [0, 1, 2]

    run(2, work)


@pytest.mark.parametrize("count", [0, 4, LARGE])
def test_any_source(count):
    def work(rank, size):
        if rank:
            dist.send(torch.full((count,), float(rank)), 0)
            return None
        seen = []
        for _ in range(size - 1):
            x = torch.empty(count)
            who = dist.recv(x)
            assert (x == who).all()
            seen.append(who)
        return sorted(seen)

    assert run(4, work)[0] == [1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.complex64, torch.int16])
def test_everybody_sends_to_everybody(dtype):
    def work(rank, size):
        ops, received = [], []
        for peer in range(size):
            if peer != rank:
                for count in (7, LARGE):
                    ops.append(dist.P2POp(dist.isend, torch.full((count,), rank).to(dtype), peer, tag=count))
                    received.append((peer, torch.empty(count, dtype=dtype)))
                    ops.append(dist.P2POp(dist.irecv, received[-1][1], peer, tag=count))
        for work in dist.batch_isend_irecv(ops):
            assert work.wait()
        for peer, x in received:
            assert torch.equal(x, torch.full(x.shape, peer).to(dtype))

    run(3, work)


def test_messages_and_collectives_do_not_wait_for_each_other():
    def work(rank, size):
        x = torch.empty(LARGE)
        waiting = dist.irecv(x, 1 - rank)
        y = torch.ones(LARGE)
        dist.all_reduce(y)
        dist.send(y * (rank + 1), 1 - rank)
        waiting.wait()
        assert (x == 2 * (2 - rank)).all() and waiting.source_rank() == 1 - rank

    run(2, work)


def test_errors():
    def work(rank, size):
        one = torch.ones(1)
        assert "Invalid destination rank" in message_of(lambda: dist.send(one, rank), ValueError)
        assert "Invalid source rank" in message_of(lambda: dist.recv(one, rank), ValueError)
        assert "invalid destination rank: 9" in message_of(lambda: dist.send(one, 9))
        assert "Must specify" in message_of(lambda: dist.send(one), ValueError)
        assert "has to be contiguous" in message_of(lambda: dist.send(torch.ones(3, 2)[:, 0], 1 - rank))
        assert "Expected ``op``" in message_of(lambda: dist.P2POp(dist.all_reduce, one, 1 - rank), ValueError)
        assert "Each op is expected" in message_of(lambda: dist.batch_isend_irecv([1]), ValueError)
        assert "a tag is" in message_of(lambda: dist.send(one, 1 - rank, tag=-1), ValueError)
        for count in (3, LARGE):
            sent = dist.isend(torch.ones(count), 1 - rank)
            text = message_of(lambda count=count: dist.recv(torch.ones(count + 1), 1 - rank))
            assert f"sent {4 * count} bytes" in text
            if count == 3:
                sent.wait()

    run(2, work)


def test_a_large_message_waits_for_its_receiver():
    def work(rank, size):
        dist.distributed_c10d._set_pg_timeout(timedelta(seconds=0.3))
        text = message_of(lambda: dist.send(torch.ones(LARGE), 1 - rank))  # both of them, and nobody receives
        return "Timed out waiting 300ms for send operation" in text or "Connection closed by peer" in text

    assert run(2, work) == [True, True]


def test_a_receipt_gives_up():
    def work(rank, size):
        x = torch.empty(1)
        dist.distributed_c10d._set_pg_timeout(timedelta(seconds=0.4))
        if rank == 0:
            start = time.monotonic()
            text = message_of(lambda: dist.recv(x, 1))
            assert "Timed out waiting 400ms for recv operation to complete" in text
            assert 0.3 < time.monotonic() - start < 20
            assert "200ms" in message_of(lambda: dist.irecv(x, 1, tag=5).wait(timedelta(seconds=0.2)))
        else:
            time.sleep(0.8)
            dist.send(x + 7, 0, tag=1)
        if rank == 0:
            time.sleep(0.3)
            dist.recv(x, 1, tag=1)

    run(2, work)


@pytest.mark.parametrize("count", [1, LARGE])
def test_a_dead_process_is_an_error(count):
    def work(rank, size):
        if rank == 1:
            time.sleep(0.2)
            os._exit(1)
        start = time.monotonic()
        call = (
            (lambda: dist.recv(torch.empty(count), 1))
            if rank == 0
            else (lambda: dist.recv(torch.empty(count), 0))
        )
        if rank == 2:
            dist.recv(torch.empty(1), 0)  # of a living process, after the death
            return None
        assert "Connection closed by peer" in message_of(call)
        assert "Connection closed by peer" in message_of(lambda: dist.send(torch.empty(count), 1))
        dist.send(torch.empty(1), 2)
        return time.monotonic() - start

    assert run(3, work, dying=[1])[0] < 20  # well before the timeout


def test_what_is_no_message_ends_the_connection():
    def work(rank, size):
        dist.barrier()
        if rank == 1:
            dist.group.WORLD._messages._peers[0].socket.sendall(b"\x09" + bytes(23))
            dist.barrier()
            return None
        text = message_of(lambda: dist.recv(torch.empty(1), 1))
        dist.barrier()
        return text

    assert "it sent something of kind 9" in run(2, work)[0]


def test_what_is_kept_is_bounded(monkeypatch):
    from flambeau.distributed import p2p

    monkeypatch.setattr(p2p, "_MOST_KEPT", 10_000)

    def work(rank, size):
        if rank == 1:
            works = [dist.isend(torch.ones(100), 0, tag=1) for _ in range(40)]
            dist.barrier()
            return len(works)
        dist.barrier()
        return message_of(lambda: [dist.recv(torch.empty(100), 1, tag=2) for _ in range(2)])

    assert "more than can be kept" in run(2, work)[0]


@pytest.mark.parametrize("kind, nbytes", [(1, 1 << 40), (3, 8), (4, 8)])
def test_sizes_from_the_network_are_checked(kind, nbytes):
    def work(rank, size):
        from flambeau.distributed.p2p import _FRAME

        if rank == 1:
            dist.group.WORLD._messages._peers[0].socket.sendall(_FRAME.pack(kind, 77, 0, nbytes))
            dist.barrier()
            return None
        text = message_of(lambda: dist.recv(torch.empty(2), 1))
        dist.barrier()
        return text

    assert "Connection closed by peer" in run(2, work)[0]
