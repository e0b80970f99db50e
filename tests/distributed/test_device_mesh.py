"""Grids of processes, collectives with gradients, and those that return new tensors."""

from processes import message_of, run

import flambeau as torch
import flambeau.distributed as dist
from flambeau.distributed import _functional_collectives as funcol
from flambeau.distributed.device_mesh import DeviceMesh, init_device_mesh
from flambeau.distributed.nn import functional as F


def test_groups_along_dimensions():
    def work(rank, size):
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        assert repr(mesh) == "DeviceMesh((dp=2, tp=2), 'cpu', stride=(2, 1))"
        assert mesh.mesh.tolist() == [[0, 1], [2, 3]] and mesh.mesh.dtype is torch.int32
        assert mesh.get_coordinate() == (rank // 2, rank % 2) and (mesh.ndim, mesh.shape, mesh.size()) == (
            2,
            (2, 2),
            4,
        )
        assert mesh.get_local_rank("dp") == mesh.get_local_rank(0) == rank // 2
        for name, ranks in (("dp", [rank % 2, rank % 2 + 2]), ("tp", [rank // 2 * 2, rank // 2 * 2 + 1])):
            assert dist.get_process_group_ranks(mesh.get_group(name)) == mesh[name].mesh.tolist() == ranks
            assert mesh.get_group(name).group_desc == f"mesh_{name}" and mesh[
                name
            ].get_group() is mesh.get_group(name)
            x = torch.tensor([rank])
            dist.all_reduce(x, group=mesh[name].get_group())
            assert x.item() == sum(ranks)
        assert repr(mesh["dp"]) == "DeviceMesh((dp=2), 'cpu', stride=(2,))"
        assert (
            mesh["dp", "tp"] is mesh
            and mesh["dp"] == mesh["dp"] != mesh["tp"]
            and len({mesh["dp"], mesh["dp"]}) == 1
        )
        flat = mesh._flatten("all")
        assert flat.mesh.tolist() == [0, 1, 2, 3] and mesh["all"] is flat and flat.get_group().size() == 4
        cube = init_device_mesh("cpu", (1, 2, 2), mesh_dim_names=("a", "b", "c"))
        pairs = cube["a", "b"]._flatten("ab")
        assert pairs.get_group().size() == 2 and dist.get_process_group_ranks(pairs.get_group()) == [
            rank % 2,
            rank % 2 + 2,
        ]
        plain = DeviceMesh("cpu", [[0, 1], [2, 3]])
        assert (
            plain.mesh_dim_names is None
            and plain.get_group(1).size() == 2
            and len(plain.get_all_groups()) == 2
        )
        half = DeviceMesh("cpu", [0, 2])
        assert half.get_coordinate() == ((rank // 2,) if rank % 2 == 0 else None)
        made = DeviceMesh.from_group(mesh.get_group("dp"), "cpu")
        assert made.mesh.tolist() == mesh["dp"].mesh.tolist()
        for call, kind, text in [
            (lambda: mesh["zz"], KeyError, "Valid mesh_dim_names are ['dp', 'tp']"),
            (lambda: mesh["tp", "dp"], KeyError, "ascending order"),
            (lambda: mesh["dp"]["tp"], KeyError, "Invalid mesh_dim_names ('tp',)"),
            (lambda: plain["dp"], RuntimeError, "Cannot slice a DeviceMesh without mesh_dim_names!"),
            (lambda: mesh.get_group(), RuntimeError, "needs to be specified when device_mesh.ndim > 1"),
            (lambda: mesh.get_local_rank(), RuntimeError, "needs to be specified"),
            (
                lambda: init_device_mesh("cpu", (5,)),
                RuntimeError,
                "Mesh should not be bigger than default world size 4",
            ),
            (
                lambda: init_device_mesh("cpu", (1,), mesh_dim_names=("a", "b")),
                RuntimeError,
                "should have same length",
            ),
            (lambda: init_device_mesh("cpu", (1, 1), mesh_dim_names="aa"), RuntimeError, "must be unique"),
            (
                lambda: init_device_mesh("cuda:0", (1,)),
                RuntimeError,
                "Device type with index is not supported",
            ),
            (lambda: DeviceMesh("cpu", [0, 0]), RuntimeError, "duplicate values"),
        ]:
            assert text in message_of(call, kind)

    run(4, work)


def test_gradients_of_collectives():
    """Losses are weighted by process, so that gradients show where they come from."""

    def work(rank, size):
        def leaf():
            return (torch.arange(3.0) + rank).requires_grad_()

        weight = torch.tensor([1.0, 10.0, 100.0]) * (rank + 1)
        summed = torch.tensor([1.0, 10.0, 100.0]) * 3  # over both processes

        x = leaf()
        (F.all_reduce(x) * weight).sum().backward()
        assert torch.equal(x.grad, summed)
        x = leaf()
        (F.all_reduce(x, op=dist.ReduceOp.AVG) * weight).sum().backward()
        assert torch.equal(x.grad, summed / 2)
        x = leaf()
        (F.broadcast(x, 1) * weight).sum().backward()
        assert torch.equal(x.grad, summed if rank == 1 else summed * 0)
        x = leaf()
        out = F.reduce(x, 1)
        assert rank == 0 or out.tolist() == [1.0, 3.0, 5.0]
        (out * weight).sum().backward()
        assert torch.equal(x.grad, torch.tensor([1.0, 10.0, 100.0]) * 2)
        x = leaf()
        parts = F.all_gather(x)
        assert [p.tolist() for p in parts] == [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
        (parts[0] * weight + parts[1] * 2 * weight).sum().backward()
        assert torch.equal(x.grad, summed * (rank + 1))
        x = leaf()
        parts = F.gather(x, 1)
        (parts[0] * weight + parts[1] * 3 * weight).sum().backward()
        assert torch.equal(x.grad, torch.tensor([1.0, 10.0, 100.0]) * 2 * (1 if rank == 0 else 3))
        xs = [leaf(), leaf()]
        (F.scatter(xs, 0) * weight).sum().backward()
        for i, each in enumerate(xs):
            assert torch.equal(each.grad, torch.tensor([1.0, 10.0, 100.0]) * ((i + 1) if rank == 0 else 0))
        xs = [leaf(), leaf()]
        out = F.reduce_scatter(torch.empty(3), xs)
        assert out.tolist() == [1.0, 3.0, 5.0]
        (out * weight).sum().backward()
        assert all(
            torch.equal(each.grad, torch.tensor([1.0, 10.0, 100.0]) * (i + 1)) for i, each in enumerate(xs)
        )
        xs = [torch.full((i + 1,), float(rank)).requires_grad_() for i in range(2)]
        out = F.all_to_all([torch.empty(rank + 1) for _ in range(2)], xs)
        assert [o.tolist() for o in out] == [[0.0] * (rank + 1), [1.0] * (rank + 1)]
        ((out[0] + 5 * out[1]) * (rank + 1)).sum().backward()
        assert [each.grad.tolist() for each in xs] == [[5.0**rank * (i + 1)] * (i + 1) for i in range(2)]
        x = (torch.arange(3.0) + 10 * rank).requires_grad_()
        sent = [1, 2] if rank == 0 else [2, 1]
        received = [1, 2] if rank == 0 else [2, 1]
        out = F.all_to_all_single(torch.empty(3), x, received, sent)
        assert out.tolist() == ([0.0, 10.0, 11.0] if rank == 0 else [1.0, 2.0, 12.0])
        (out * weight).sum().backward()
        assert x.grad.tolist() == ([1.0, 2.0, 20.0] if rank == 0 else [10.0, 100.0, 200.0])
        x = leaf()  # twice through
        y = F.all_reduce(x)
        (grad,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(grad.sum(), x)
        assert second.tolist() == [8.0] * 3
        assert "SUM and AVG" in message_of(lambda: F.all_reduce(x, op=dist.ReduceOp.MAX))

    run(2, work)


def test_functional_collectives():
    def work(rank, size):
        mesh = init_device_mesh("cpu", (2,))
        x = torch.arange(4.0).view(2, 2) + rank
        assert funcol.wait_tensor(funcol.all_reduce(x, "sum", mesh)).tolist() == [[1.0, 3.0], [5.0, 7.0]]
        assert funcol.all_reduce(x, "max", dist.group.WORLD).tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert funcol.broadcast(x, 0, "0").tolist() == [[0.0, 1.0], [2.0, 3.0]]
        assert funcol.all_gather_tensor(x, 1, (mesh, 0)).tolist() == [
            [0.0, 1.0, 1.0, 2.0],
            [2.0, 3.0, 3.0, 4.0],
        ]
        assert funcol.reduce_scatter_tensor(x, "sum", 1, mesh).tolist() == [
            [1.0 + 2 * rank],
            [5.0 + 2 * rank],
        ]
        assert funcol.all_to_all_single(x, None, None, mesh).tolist() == [
            [2.0 * rank, 2 * rank + 1.0],
            [2 * rank + 1.0, 2 * rank + 2.0],
        ]
        assert torch.equal(funcol.permute_tensor(x, [1, 0], mesh), torch.arange(4.0).view(2, 2) + 1 - rank)
        y = x.clone().requires_grad_()
        funcol.all_gather_tensor_autograd(y, 0, mesh).sum().backward()
        assert y.grad.tolist() == [[2.0] * 2] * 2
        y = x.clone().requires_grad_()
        (funcol.reduce_scatter_tensor_autograd(y, "sum", 0, mesh) * (rank + 1)).sum().backward()
        assert y.grad.tolist() == [[1.0] * 2, [2.0] * 2]
        assert "must be a multiple of group_size" in message_of(
            lambda: funcol.reduce_scatter_tensor(torch.ones(3), "sum", 0, mesh), AssertionError
        )

    run(2, work)
