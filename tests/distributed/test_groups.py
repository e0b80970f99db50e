"""Making and ending groups, ranks in them, rendezvous."""

import os
import socket
import threading
from datetime import timedelta

import pytest
from processes import message_of, run

import flambeau as torch
import flambeau.distributed as dist
from flambeau.distributed import transport


@pytest.fixture
def alone():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


class TestBefore:
    def test_everything_needs_a_group(self):
        assert dist.is_available() and not dist.is_initialized()
        for call in (
            dist.get_rank,
            dist.get_world_size,
            dist.get_backend,
            lambda: dist.all_reduce(torch.ones(1)),
        ):
            with pytest.raises(ValueError, match="Default process group has not been initialized"):
                call()
        with pytest.raises(AssertionError, match="Process group cannot be None"):
            dist.destroy_process_group()

    def test_what_init_refuses(self, monkeypatch):
        for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.delenv(name, raising=False)
        init = dist.init_process_group
        with pytest.raises(ValueError, match="environment variable RANK expected, but not set"):
            init("gloo")
        with pytest.raises(RuntimeError, match="doesn't have NCCL built in"):
            init("nccl", rank=0, world_size=1)
        with pytest.raises(AssertionError, match="Unknown backend type bogus"):
            init("bogus", rank=0, world_size=1)
        with pytest.raises(AssertionError, match="world_size must be positive if using store"):
            init("gloo", store=dist.HashStore())
        with pytest.raises(AssertionError, match="Cannot specify both init_method and store"):
            init("gloo", init_method="env://", store=dist.HashStore(), rank=0, world_size=1)
        with pytest.raises(RuntimeError, match="No rendezvous handler for zzz://"):
            init("gloo", init_method="zzz://", rank=0, world_size=1)
        with pytest.raises(ValueError, match="rank 3 is not between"):
            init("gloo", store=dist.HashStore(), rank=3, world_size=1)
        with pytest.raises(ValueError, match="world size parameter missing"):
            init("gloo", init_method="tcp://127.0.0.1:1", rank=0)
        assert not dist.is_initialized()


class TestOneProcess:
    def test_names(self, alone):
        world = dist.group.WORLD
        assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "gloo")
        assert (world.rank(), world.size(), world.name(), world.group_name) == (0, 1, "gloo", "0")
        assert world.group_desc == "default_pg" and dist.get_backend_config() == "cpu:gloo,cuda:gloo"
        assert dist.get_process_group_ranks(None) == [0] and dist.get_pg_count() == 1
        with pytest.raises(ValueError, match="initialize the default process group twice"):
            dist.init_process_group("gloo", rank=0, world_size=1)
        dist.destroy_process_group()
        assert not dist.is_initialized() and dist.group.WORLD is None
        with pytest.raises(RuntimeError, match="was destroyed"):
            dist.all_reduce(torch.ones(1), group=world)

    def test_operations(self, alone):
        x = torch.ones(3)
        dist.all_reduce(x)
        dist.broadcast(x, 0)
        dist.barrier()
        out = [torch.zeros(3)]
        dist.all_gather(out, x)
        assert out[0].tolist() == x.tolist() == [1.0] * 3
        dist.all_to_all(out, [x * 2])
        assert out[0].tolist() == [2.0] * 3

    def test_backends(self):
        assert dist.Backend("GLOO") == dist.Backend.GLOO == "gloo"
        assert str(dist.BackendConfig(dist.Backend("cpu:gloo,cuda:nccl"))) == "cpu:gloo,cuda:nccl"
        assert dist.is_gloo_available() and not dist.is_nccl_available() and dist.is_backend_available("gloo")
        assert dist.get_default_backend_for_device("cpu") == "gloo"
        assert (
            repr(dist.ReduceOp.SUM) == "<RedOpType.SUM: 0>"
            and dist.ReduceOp(dist.ReduceOp.MAX) == dist.ReduceOp.MAX
        )


@pytest.mark.parametrize("method", ["env", "tcp", "file"])
def test_rendezvous(method, tmp_path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]

    def work(rank, size):
        own = {"rank": rank, "world_size": size, "timeout": timedelta(seconds=10)}
        if method == "env":
            os.environ.update(
                MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(size)
            )
            dist.init_process_group(timeout=timedelta(seconds=10))
            assert dist.get_backend() == "undefined" and dist.get_backend_config() == "cpu:gloo"
        elif method == "tcp":
            dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", **own)
        else:
            dist.init_process_group("gloo", init_method=f"file://{tmp_path}/found", **own)
        x = torch.ones(1)
        dist.all_reduce(x)
        return x.item()

    assert run(3, work, init=False) == [3, 3, 3]


class TestSubgroups:
    def test_ranks_and_operations(self):
        def work(rank, size):
            odd = dist.new_group([3, 1], group_desc="odd ones")
            x = torch.ones(1) * rank
            if rank % 2 == 0:
                assert odd == dist.GroupMember.NON_GROUP_MEMBER
                assert dist.get_rank(odd) == dist.get_world_size(odd) == -1
                with pytest.warns(UserWarning, match="does not belong to the given group"):
                    dist.all_reduce(x, group=odd)
                return x.item()
            assert (
                dist.get_rank(odd) == rank // 2
                and dist.get_world_size(odd) == 2
                and odd.group_desc == "odd ones"
            )
            assert dist.get_process_group_ranks(odd) == [1, 3]
            assert dist.get_global_rank(odd, 1) == 3 and dist.get_group_rank(odd, 3) == 1
            assert "is not part of group" in message_of(lambda: dist.broadcast(x, 0, group=odd), ValueError)
            dist.broadcast(x, 3, group=odd)
            dist.all_reduce(x, group=odd)
            y = torch.empty(1)
            dist.broadcast(y.fill_(rank), group_src=0, group=odd)
            assert y.item() == 1
            if rank == 1:
                dist.send(x, 3, group=odd)
            else:
                assert dist.recv(y, group=odd) == 1 and y.item() == 6
            dist.destroy_process_group(odd)
            assert "Invalid process group" in message_of(lambda: dist.destroy_process_group(odd), ValueError)
            return x.item()

        assert run(4, work) == [0, 6, 2, 6]

    def test_order_of_ranks(self):
        def work(rank, size):
            kept = dist.new_group([1, 0], sort_ranks=False)
            return dist.get_rank(kept), dist.get_process_group_ranks(kept)

        assert run(2, work) == [(1, [1, 0]), (0, [1, 0])]

    def test_by_size_and_by_enumeration(self):
        def work(rank, size):
            own, all_of_them = dist.new_subgroups(2)
            assert len(all_of_them) == 2 and dist.get_process_group_ranks(own) == [
                rank // 2 * 2,
                rank // 2 * 2 + 1,
            ]
            own, _ = dist.new_subgroups_by_enumeration([[0, 3], [1, 2]])
            x = torch.tensor([rank])
            dist.all_reduce(x, group=own)
            assert x.item() == 3
            pair = dist.new_group([0, 1], use_local_synchronization=True) if rank < 2 else None
            if pair is not None:
                dist.barrier(group=pair)
            third = dist.new_group()  # whose name does not depend on that
            dist.barrier(group=third)
            part = dist.split_group(None, [[0, 2], [1, 3]])
            assert dist.get_process_group_ranks(part) == [rank % 2, rank % 2 + 2]
            for call, text in [
                (lambda: dist.new_group([0, 0]), "duplicate entries"),
                (lambda: dist.new_group([9]), "Rank 9 is out of range"),
                (lambda: dist.new_group(list(range(9))), "less or equal to the world size"),
                (lambda: dist.new_subgroups(9), "must not exceed the world size"),
                (lambda: dist.new_subgroups(3), "must be divisible by group_size"),
                (lambda: dist.new_subgroups_by_enumeration([[0], [0, 1]]), "has appeared in both subgroup"),
            ]:
                assert text in message_of(call, ValueError)

        run(4, work)

    def test_groups_can_be_made_again(self):
        def work(rank, size):
            world = dist.group.WORLD
            store = dist.distributed_c10d._get_default_store().underlying_store
            dist.destroy_process_group()
            assert "was destroyed" in message_of(lambda: dist.barrier(group=world))
            dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
            x = torch.ones(1)
            dist.all_reduce(x)
            return x.item()

        assert run(2, work) == [2, 2]


class TestConnecting:
    def test_those_who_do_not_come_are_named(self):
        with pytest.raises(
            RuntimeError, match=r"rank 0 of 3 could not reach all others within 0.3 s \(ranks \[1, 2\]"
        ):
            dist.init_process_group(
                "gloo", store=dist.HashStore(), rank=0, world_size=3, timeout=timedelta(seconds=0.3)
            )
        assert not dist.is_initialized()

    def test_strangers_are_turned_away(self):
        store = dist.HashStore()
        made = {}

        def make(rank):
            made[rank] = dist.ProcessGroup(store, rank, 2, timedelta(seconds=5))

        first = threading.Thread(target=make, args=(0,))
        first.start()
        port, address = store.get("address/0").decode().split(" ")[2:]
        strangers = []
        for message in (b"", bytes(29), b"flambeau" + bytes(16) + b"\x01\x00\x00\x00\x00"):
            strangers.append(socket.create_connection((address, int(port))))
            strangers[-1].sendall(message)
        strangers.pop(0).close()
        make(1)
        first.join()
        assert made[0].size() == 2
        for sock in strangers:
            sock.close()
        works = [made[rank].allreduce(torch.ones(2) * (rank + 1)) for rank in (0, 1)]
        assert [work.result()[0].tolist() for work in works] == [[3.0, 3.0]] * 2
        for rank in (0, 1):
            made[rank].shutdown()

    def test_over_tcp(self, monkeypatch):
        # As between hosts.
        monkeypatch.delattr(os, "memfd_create")

        def work(rank, size):
            assert not any(link.shared for link in dist.group.WORLD._collectives.links.values())
            for count in (5, 300_000):
                x = torch.arange(float(count)) * (rank + 1)
                dist.all_reduce(x)
                assert torch.equal(x, torch.arange(float(count)) * 6)
                dist.broadcast(x, 1)
                out = [torch.empty(count) for _ in range(size)]
                dist.all_gather(out, x + rank)
                assert torch.equal(out[2], x + 2)
                dist.all_to_all(out, [x + j for j in range(size)])
                assert torch.equal(out[0], x + rank)
            sent = dist.isend(x, (rank + 1) % size)
            dist.recv(torch.empty(count), (rank - 1) % size)
            sent.wait()

        run(3, work)

    def test_the_interface_can_be_named(self, monkeypatch):
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
        assert transport._own_address(None) == "127.0.0.1"
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "none0")
        with pytest.raises(ValueError, match="no such network interface"):
            transport._own_address(None)

    def test_a_forked_process_does_not_keep_connections_open(self):
        def work(rank, size):
            dist.barrier()
            if rank == 1:
                if os.fork() == 0:
                    threading.Event().wait(3)
                    os._exit(0)
                os._exit(1)
            return message_of(lambda: dist.all_reduce(torch.ones(1)))

        assert "Connection closed by peer" in run(2, work, dying=[1])[0]
