"""Collective operations: values against closed forms, the same bits everywhere, forms of tensors, errors."""

import os
import time
from datetime import timedelta

import pytest
from processes import message_of, run

import flambeau as torch
import flambeau.distributed as dist

R = dist.ReduceOp
# Empty, direct, through a ring, by several pieces of shared memory.
COUNTS = (0, 1, 5, 20_000, 70_001, 400_003)


def numbers(count, rank, dtype):
    return ((torch.arange(count) * 7 + rank * 3) % 5 + 1).to(dtype)


def all_of(count, size, dtype):
    return [numbers(count, rank, dtype) for rank in range(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_values(size):
    def work(rank, size):
        for dtype in (torch.float32, torch.bfloat16, torch.int64):
            for count in COUNTS:
                parts = all_of(count, size, dtype)
                mine, total = parts[rank], sum(parts, torch.zeros(count, dtype=dtype))
                x = mine.clone()
                dist.all_reduce(x)
                assert torch.equal(x, total)
                x, root = mine.clone(), size - 1
                dist.broadcast(x, root)
                assert torch.equal(x, parts[root])
                x = mine.clone()
                dist.reduce(x, root)
                assert torch.equal(x, total if rank == root else mine)
                out = [torch.empty(count, dtype=dtype) for _ in parts]
                dist.all_gather(out, mine)
                assert all(map(torch.equal, out, parts))
                out = [torch.empty(count, dtype=dtype) for _ in parts] if rank == root else None
                dist.gather(mine, out, dst=root)
                assert rank != root or all(map(torch.equal, out, parts))
                x = torch.empty(count, dtype=dtype)
                dist.scatter(x, [p + 1 for p in parts] if rank == root else None, src=root)
                assert torch.equal(x, mine + 1)
                dist.reduce_scatter(x, [mine + i for i in range(size)])
                assert torch.equal(x, total + rank * size)
                out = [torch.empty(count, dtype=dtype) for _ in parts]
                dist.all_to_all(out, [mine + i for i in range(size)])
                assert all(torch.equal(o, p + rank) for o, p in zip(out, parts, strict=True))
                stacked = torch.empty(size * count, dtype=dtype)
                dist.all_gather_single(stacked, mine)
                assert torch.equal(stacked, torch.cat(parts))
                dist.reduce_scatter_single(x, torch.cat([mine + i for i in range(size)]))
                assert torch.equal(x, total + rank * size)
        dist.barrier()

    run(size, work)


def test_operations_and_dtypes():
    floats = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    integers = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]

    def work(rank, size):
        for count in (4, 40_000):
            for dtype in (*floats, *integers):
                a, b = all_of(count, size, dtype)
                expected = {
                    R.SUM: a + b,
                    R.PRODUCT: a * b,
                    R.MIN: torch.minimum(a, b),
                    R.MAX: torch.maximum(a, b),
                }
                if dtype in floats:
                    expected[R.AVG] = (a + b) / 2
                else:
                    expected |= {R.BAND: a & b, R.BOR: a | b, R.BXOR: a ^ b}
                for op, value in expected.items():
                    x = (a, b)[rank].clone()
                    dist.all_reduce(x, op=op)
                    assert x.dtype is dtype and torch.equal(x, value), (op, dtype)
            a, b = (p > 2 for p in all_of(count, size, torch.int64))
            for op, value in {
                R.SUM: a | b,
                R.PRODUCT: a & b,
                R.MIN: a & b,
                R.MAX: a | b,
                R.BXOR: a ^ b,
            }.items():
                x = (a, b)[rank].clone()
                dist.all_reduce(x, op=op)
                assert torch.equal(x, value), op
            for dtype in (torch.complex64, torch.complex128):
                a, b = (torch.complex(p, -p).to(dtype) for p in all_of(count, size, torch.float32))
                x = (a, b)[rank].clone()
                dist.all_reduce(x, op=R.AVG)
                assert torch.equal(x, (a + b) / 2)
        x = torch.tensor([1.0]).requires_grad_()
        dist.all_reduce(x, op=dist.ReduceOp(R.SUM))
        assert x.item() == 2 and x.requires_grad and x.is_leaf
        assert "does not support" in message_of(
            lambda: dist.all_reduce(torch.ones(1, dtype=torch.complex64), op=R.MAX), ValueError
        )
        assert "non-integral dtype" in message_of(lambda: dist.all_reduce(torch.ones(1), op=R.BAND))
        assert "result type Float can't be cast" in message_of(
            lambda: dist.all_reduce(torch.ones(1).long(), op=R.AVG)
        )

    run(2, work)


def test_everybody_gets_the_same_bits_each_time():
    def work(rank, size):
        torch.manual_seed(rank)
        results = []
        for count in (1000, 200_000):
            mine = torch.randn(count) * 10 ** torch.randn(count)
            for _ in range(2):
                x = mine.clone()
                dist.all_reduce(x)
                results.append(bytes(memoryview(x.untyped_storage())))
        return results

    first, *others = run(4, work)
    assert first[0] == first[1] and first[2] == first[3]
    assert all(other == first for other in others)


def test_forms_of_tensors():
    def work(rank, size):
        for rows in (3, 300):
            base = torch.arange(float(rows * 400)).reshape(rows, 400)
            for view in (
                lambda t: t.t(),
                lambda t: t[:, 1],
                lambda t: t[::2, ::3],
                lambda t: t[0, 0],
                lambda t: t[1:2],
            ):
                x = base * (rank + 1)
                rest = x.clone()
                dist.all_reduce(view(x))
                view(rest).mul_(0).add_(view(base) * 3)
                assert torch.equal(x, rest)
                x = base * (rank + 1)
                dist.broadcast(view(x), 1)
                assert torch.equal(view(x), view(base) * 2)
                out = [view(torch.zeros(rows, 400)) for _ in range(2)]
                dist.all_gather(out, view(base) + rank)
                assert torch.equal(out[1], view(base) + 1)
        # Of two dimensions: stacked as well as concatenated.
        out = torch.empty(2, 3, 4)
        dist.all_gather_single(out, torch.full((3, 4), float(rank)))
        assert out[:, 0, 0].tolist() == [0, 1]
        z = torch.tensor([1 + 2j, 3 - 1j]).conj()
        gathered = [torch.empty(2, dtype=torch.complex64) for _ in range(2)]
        dist.all_gather(gathered, z)
        assert gathered[1 - rank].tolist() == [1 - 2j, 3 + 1j]

    run(2, work)


def test_uneven_parts():
    def work(rank, size):
        # Process i sends i + j + 1 rows to process j.
        sent, received = [rank + j + 1 for j in range(size)], [rank + j + 1 for j in range(size)]
        source = torch.cat([torch.full((rows, 5), float(10 * rank + j)) for j, rows in enumerate(sent)])
        out = torch.empty(sum(received), 5)
        dist.all_to_all_single(out, source, received, sent)
        assert torch.equal(
            out, torch.cat([torch.full((rows, 5), float(10 * j + rank)) for j, rows in enumerate(received)])
        )
        out = [torch.empty(3 * j + 1) for j in range(size)]
        dist.all_to_all(out, [torch.full((3 * rank + 1,), float(rank)) for _ in range(size)])
        assert [o.tolist() for o in out] == [[float(j)] * (3 * j + 1) for j in range(size)]
        long = [100_000 if (rank, j) in ((0, 1), (1, 2)) else 3 for j in range(size)]
        there = [100_000 if (j, rank) in ((0, 1), (1, 2)) else 3 for j in range(size)]
        out = torch.empty(sum(there))
        dist.all_to_all_single(out, torch.full((sum(long),), float(rank)), there, long)
        assert torch.equal(out, torch.cat([torch.full((n,), float(j)) for j, n in enumerate(there)]))
        even = torch.empty(size)
        dist.all_to_all_single(even, torch.arange(float(size)) + 10 * rank)
        assert even.tolist() == [10.0 * j + rank for j in range(size)]
        x = torch.empty(rank + 1)
        dist.reduce_scatter(x, [torch.full((j + 1,), float(rank + 1)) for j in range(size)])
        assert x.tolist() == [6.0] * (rank + 1)

    run(3, work)


def test_asynchronous_operations_keep_their_order():
    def work(rank, size):
        tensors = [torch.full((count,), float(rank + 1)) for count in (10, 300_000, 1, 70_000)]
        works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
        x = torch.ones(3)
        dist.all_reduce(x)  # behind those
        assert all(work.is_completed() for work in works) and x.tolist() == [3.0] * 3
        assert all(work.wait() and work.is_success() and work.exception() is None for work in works)
        assert all((tensor == 6).all() for tensor in tensors)
        done = dist.all_reduce(x, async_op=True).get_future().then(lambda f: f.value()[0].sum().item())
        assert done.wait() == 27
        assert dist.barrier(async_op=True).wait()
        gathered = [torch.zeros(2) for _ in range(size)]
        dist.all_gather(gathered, torch.full((2,), float(rank)), async_op=True).wait()
        assert [g[0].item() for g in gathered] == [0, 1, 2]

    run(3, work)


def test_coalesced():
    def work(rank, size):
        tensors = [torch.ones(2) * rank, torch.ones(3) * rank]
        dist.all_reduce_coalesced(tensors)
        assert [t.tolist() for t in tensors] == [[1.0] * 2, [1.0] * 3]
        outputs = [[torch.empty(2), torch.empty(1)] for _ in range(size)]
        dist.all_gather_coalesced(outputs, [torch.full((2,), float(rank)), torch.full((1,), rank + 5.0)])
        assert [[t.tolist() for t in each] for each in outputs] == [[[0.0] * 2, [5.0]], [[1.0] * 2, [6.0]]]

    run(2, work)


def test_objects():
    def work(rank, size):
        found = [None] * size
        dist.all_gather_object(found, {"rank": rank, "text": "x" * (1000 * rank)})
        assert [len(f["text"]) for f in found] == [0, 1000, 2000]
        values = ["a", {1: 2}, None] if rank == 1 else [None] * 3
        dist.broadcast_object_list(values, src=1)
        assert values == ["a", {1: 2}, None]
        found = [None] * size if rank == 2 else None
        dist.gather_object(rank * "z", found, dst=2)
        assert rank != 2 or found == ["", "z", "zz"]
        out = [None]
        dist.scatter_object_list(out, ["p", "longer", 3] if rank == 0 else None)
        assert out == [["p", "longer", 3][rank]]
        if rank == 0:
            dist.send_object_list([1, "two"], dst=1)
        elif rank == 1:
            got = [None, None]
            assert dist.recv_object_list(got, src=0) == 0 and got == [1, "two"]
        assert "size at least 1" in message_of(lambda: dist.scatter_object_list([], [1]), ValueError)

    run(3, work)


def test_arguments_are_checked_before_anything_is_sent():
    def work(rank, size):
        one = torch.ones(1)
        for call, kind, text in [
            (lambda: dist.all_reduce([1]), TypeError, "Expected parameter `tensor` of type torch.Tensor"),
            (lambda: dist.all_gather(one, one), TypeError, "Expected parameter `tensor_list` of type List"),
            (lambda: dist.broadcast(one, src=7), RuntimeError, "broadcast: invalid root rank: 7"),
            (lambda: dist.broadcast(one, src=-1), RuntimeError, "invalid root rank: -1"),
            (lambda: dist.broadcast(one), ValueError, "Must specify global_rank or group_rank"),
            (lambda: dist.all_gather([one], one), RuntimeError, "expected length 2, got 1"),
            (
                lambda: dist.all_gather([torch.ones(2)] * 2, one),
                RuntimeError,
                "invalid tensor size at index 0",
            ),
            (lambda: dist.all_gather([one, one], one.int()), ValueError, "different dtypes"),
            (
                lambda: dist.all_gather_single(torch.ones(3), one),
                RuntimeError,
                "invalid tensor size at index 0",
            ),
            (lambda: dist.reduce_scatter(one, [one]), RuntimeError, "must be world size"),
            (lambda: dist.reduce_scatter_single(one, torch.ones(3)), RuntimeError, "worldSize"),
            (
                lambda: dist.all_to_all_single(torch.ones(3), torch.ones(3), [1, 2], [1, 1]),
                RuntimeError,
                "Split sizes",
            ),
            (lambda: dist.all_to_all_single(one, one, [1], [1]), RuntimeError, "Number of tensor splits"),
            (
                lambda: dist.all_to_all_single(torch.ones(3), torch.ones(4)),
                RuntimeError,
                "does not divide equally",
            ),
            (lambda: dist.all_reduce(one.to(torch.complex32)), RuntimeError, "Invalid scalar type"),
            (lambda: dist.all_reduce(torch.ones(1, device="meta")), RuntimeError, "device type meta"),
        ]:
            assert text in message_of(call, kind)
        name = "gather_list" if rank == 0 else "scatter_list"
        call = (lambda: dist.gather(one)) if rank == 0 else (lambda: dist.scatter(one, src=1))
        assert f"``{name}`` must be specified on" in message_of(call, ValueError)
        dist.all_reduce(one)
        return one.item()

    assert run(2, work) == [2, 2]


class TestFailures:
    @pytest.mark.parametrize("count", [4, 500_000])
    def test_a_dead_process_is_an_error_in_the_others(self, count):
        def work(rank, size):
            dist.all_reduce(torch.ones(1))
            if rank == 1:
                os._exit(1)
            start = time.monotonic()
            text = message_of(lambda: [dist.all_reduce(torch.ones(count)) for _ in range(3)])
            assert "Connection closed by peer" in text
            assert "no longer be used" in message_of(lambda: dist.barrier())
            return time.monotonic() - start

        times = run(3, work, dying=[1])
        assert max(times[0], times[2]) < 20  # well before the timeout

    def test_an_asynchronous_operation_fails_in_wait(self):
        def work(rank, size):
            if rank == 1:
                time.sleep(0.2)
                os._exit(1)
            works = [dist.all_reduce(torch.ones(3), async_op=True) for _ in range(2)]
            assert "Connection closed by peer" in message_of(works[0].wait)
            assert "an earlier operation failed" in message_of(works[1].wait)
            assert works[0].is_completed() and not works[0].is_success()
            assert works[0].exception() is not None

        run(2, work, dying=[1])

    def test_a_process_that_does_not_come_is_waited_for_no_longer_than_the_timeout(self):
        def work(rank, size):
            dist.distributed_c10d._set_pg_timeout(timedelta(seconds=0.5))
            dist.barrier()
            start = time.monotonic()
            if rank == 0:
                assert "Timed out waiting 500ms" in message_of(lambda: dist.all_reduce(torch.ones(1)))
                return time.monotonic() - start
            time.sleep(1.5)
            return None

        assert 0.4 < run(2, work)[0]

    @pytest.mark.parametrize(
        "call",
        [
            lambda rank: dist.all_reduce(torch.ones(4 + rank)),
            lambda rank: dist.all_reduce(torch.ones(100_000 + rank)),
            lambda rank: dist.all_reduce(torch.ones(4, dtype=(torch.float32, torch.int32)[rank])),
            lambda rank: dist.all_reduce(torch.ones(4), op=(R.SUM, R.MAX)[rank]),
            lambda rank: dist.all_reduce(torch.ones(4)) if rank else dist.broadcast(torch.ones(4), 0),
            lambda rank: dist.barrier() if rank else dist.all_reduce(torch.ones(400_000)),
        ],
    )
    def test_operations_that_do_not_match(self, call):
        def work(rank, size):
            def twice():
                call(rank)
                dist.barrier()

            return message_of(twice)

        texts = run(2, work)
        assert any("do not match: rank" in text for text in texts)
        assert all("do not match" in t or "Connection closed" in t or "no longer" in t for t in texts)

    def test_barrier_with_a_timeout_of_its_own(self):
        def work(rank, size):
            dist.barrier(timeout=timedelta(seconds=2))
            if rank == 0:
                assert "Timed out waiting 200ms" in message_of(
                    lambda: dist.barrier(timeout=timedelta(seconds=0.2))
                )
            else:
                time.sleep(0.5)

        run(2, work)

    def test_monitored_barrier_names_who_is_missing(self):
        def work(rank, size):
            dist.monitored_barrier()
            short = timedelta(seconds=0.3)
            if rank == 0:
                text = message_of(lambda: dist.monitored_barrier(timeout=short, wait_all_ranks=True))
                assert text.startswith("[Rank 0]: Ranks 1, 2 failed to pass monitoredBarrier in 300 ms")
            else:
                time.sleep(0.6)
                text = message_of(lambda: dist.monitored_barrier(timeout=short))
                assert "successfully reached monitoredBarrier, but received errors" in text
            x = torch.ones(1)
            dist.all_reduce(x)  # which goes on
            return x.item()

        assert run(3, work) == [3, 3, 3]
