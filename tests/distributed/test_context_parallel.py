"""Context parallelism: attention over parts of a sequence equals attention in one process."""

import pytest
from processes import message_of, run

import flambeau as torch
import flambeau.distributed as dist
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.distributed.device_mesh import init_device_mesh
from flambeau.distributed.tensor.experimental import context_parallel
from flambeau.distributed.tensor.experimental._attention import (
    _cp_options,
    _HeadTailLoadBalancer,
    context_parallel_unshard,
    set_rotate_method,
)
from flambeau.distributed.tensor.experimental._context_parallel import _context_parallel_shard, ring_attention
from flambeau.distributed.tensor.experimental._context_parallel._load_balancer import part_of


def operands(length, dtype=torch.float64, heads=2, value_size=6):
    torch.manual_seed(0)
    sizes = (8, 8, value_size, value_size)
    return [torch.randn(2, heads, length, size).to(dtype) for size in sizes]  # query, key, value, slope


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_and_gradients_equal_those_of_one_process(size, causal):
    def work(rank, size):
        q, k, v, slope = operands(12 * size)
        whole = [x.clone().requires_grad_() for x in (q, k, v)]
        expected = F.scaled_dot_product_attention(*whole, is_causal=causal)
        (expected * slope).sum().backward()
        for method in ("alltoall", "allgather"):
            set_rotate_method(method)
            for balanced in (True, False):
                own = [part_of(x, 2, rank, size, balanced).clone().requires_grad_() for x in (q, k, v)]
                out = ring_attention(*own, is_causal=causal, load_balance=balanced)
                assert torch.allclose(
                    out, part_of(expected.detach(), 2, rank, size, balanced), rtol=1e-11, atol=1e-13
                )
                (out * part_of(slope, 2, rank, size, balanced)).sum().backward()
                for mine, theirs in zip(own, whole, strict=True):
                    assert torch.allclose(
                        mine.grad, part_of(theirs.grad, 2, rank, size, balanced), rtol=1e-9, atol=1e-12
                    )

    run(size, work)


def test_cross_attention_and_scale():
    def work(rank, size):
        q, _, _, _ = operands(8)
        _, k, v, _ = operands(24)
        expected = F.scaled_dot_product_attention(q, k, v, scale=0.3)
        parts = [x.chunk(size, 2)[rank] for x in (q, k, v)]
        out = ring_attention(*parts, scale=0.3, load_balance=False)
        assert torch.allclose(out, expected.chunk(size, 2)[rank], rtol=1e-11)

    run(2, work)


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float32, 2e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-3)]
)
def test_shorter_dtypes(dtype, tolerance):
    """As near to the exact result as attention in one process: parts are put together in float32."""

    def work(rank, size):
        exact = F.scaled_dot_product_attention(*operands(64)[:3], is_causal=True)
        q, k, v, _ = operands(64, dtype)
        own = [part_of(x, 2, rank, size, True) for x in (q, k, v)]
        out = ring_attention(*own, is_causal=True)
        assert out.dtype is dtype
        assert (out.double() - part_of(exact, 2, rank, size, True)).abs().max().item() < tolerance

    run(2, work)


def test_large_values_do_not_overflow():
    def work(rank, size):
        q, k, v, _ = operands(16, torch.float32)
        expected = F.scaled_dot_product_attention(q * 100, k * 100, v, is_causal=True)
        out = ring_attention(
            *(part_of(x, 2, rank, size, True) for x in (q * 100, k * 100, v)), is_causal=True
        )
        assert torch.allclose(out, part_of(expected, 2, rank, size, True), atol=1e-5)

    run(2, work)


class Block(nn.Module):
    """A transformer's block, with a table of positions."""

    def __init__(self, size, heads):
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = nn.LayerNorm(size), nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.mlp = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size)
        )

    def forward(self, x, positions):
        x = x + positions
        q, k, v = (
            t.view(*x.shape[:2], self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, -1)
        )
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(x.shape))
        return x + self.mlp(x)


def test_a_transformer_in_the_context():
    def work(rank, size):
        mesh = init_device_mesh("cpu", (size,))
        torch.manual_seed(0)
        model = Block(16, 4).double()
        x, positions, y = (torch.randn(s, 32, 16).double() for s in (3, 1, 3))
        expected = model(x, positions)
        ((expected - y) ** 2).sum().backward()
        grads = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        buffers = [x.clone(), positions.clone(), y.clone()]
        with context_parallel(
            mesh, buffers=buffers, buffer_seq_dims=[1, 1, 1], no_restore_buffers={buffers[2]}
        ):
            assert buffers[0].shape == (3, 32 // size, 16)
            out = model(*buffers[:2])
            ((out - buffers[2]) ** 2).sum().backward()
            (whole,) = context_parallel_unshard(mesh, [out], [1])
        assert torch.allclose(whole, expected, rtol=1e-10)
        assert torch.equal(buffers[0], x) and torch.equal(buffers[1], positions)
        assert buffers[2].shape == (3, 32 // size, 16)
        for p, grad in zip(model.parameters(), grads, strict=True):
            dist.all_reduce(p.grad)
            assert torch.allclose(p.grad, grad, rtol=1e-8, atol=1e-10)
        q = torch.randn(1, 1, 4, 4)  # outside, attention is a matter of this process alone
        F.scaled_dot_product_attention(q, q, q)

    run(2, work)


def test_parts_and_order():
    def work(rank, size):
        mesh = init_device_mesh("cpu", (size,))
        x = torch.arange(16.0).view(1, 1, 16, 1)
        with context_parallel(mesh, buffers=[x], buffer_seq_dims=[2]):
            found = x.flatten().tolist()
        assert found == [2.0 * rank, 2.0 * rank + 1, 14.0 - 2 * rank, 15.0 - 2 * rank]
        parts = _context_parallel_shard(mesh, {"x": x}, {"x": 2}, _HeadTailLoadBalancer(16, size, "cpu"))
        assert parts["x"].flatten().tolist() == found
        assert torch.equal(context_parallel_unshard(mesh, [parts["x"]], [2])[0], x)
        _cp_options.enable_load_balance = False
        assert _context_parallel_shard(mesh, [x], [2])[0].flatten().tolist() == [
            4.0 * rank + i for i in range(4)
        ]

    run(4, work)
    balancer = _HeadTailLoadBalancer(12, 3, "cpu")
    order = balancer._generate_indices()
    assert order.shape == (1, 12) and order[0].tolist() == [0, 1, 10, 11, 2, 3, 8, 9, 4, 5, 6, 7]
    assert order[0][balancer._generate_indices(restore=True)[0]].tolist() == list(range(12))


def test_shared_heads():
    def work(rank, size):
        mesh = init_device_mesh("cpu", (size,))
        q, _, _, _ = operands(16, heads=4)
        _, k, v, _ = operands(16, heads=2)
        expected = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        buffers = [q, k, v]
        with context_parallel(mesh, buffers=buffers, buffer_seq_dims=[2] * 3):
            out = F.scaled_dot_product_attention(*buffers, is_causal=True, enable_gqa=True)
            (whole,) = context_parallel_unshard(mesh, [out], [2])
        assert torch.allclose(whole, expected)

    run(2, work)


def test_what_is_refused():
    def work(rank, size):
        mesh = init_device_mesh("cpu", (size,))

        def enter(**kwargs):
            with context_parallel(mesh, **kwargs):
                pass

        x = torch.ones(1, 1, 8, 4)
        for call, kind, text in [
            (
                lambda: enter(buffers=[torch.ones(13)], buffer_seq_dims=[0]),
                ValueError,
                "13 positions cannot be",
            ),
            (
                lambda: enter(buffers=[x], buffer_seq_dims=[0, 1]),
                ValueError,
                "same number of elements as `buffers`",
            ),
            (
                lambda: enter(buffers=[x], buffer_seq_dims=[2], no_restore_buffers={x.clone()}),
                ValueError,
                "subset",
            ),
            (lambda: set_rotate_method("bogus"), NotImplementedError, "does not support using bogus"),
            (
                lambda: ring_attention(x, x[..., :4, :], x[..., :4, :], is_causal=True),
                RuntimeError,
                "as many keys",
            ),
            (lambda: ring_attention(x, x, x[..., :4, :]), RuntimeError, "do not fit each other"),
            (lambda: ring_attention(x, x[0], x), RuntimeError, "same leading dimensions"),
            (lambda: ring_attention(x[..., :0, :], x, x), RuntimeError, "with elements"),
        ]:
            assert text in message_of(call, kind)
        with context_parallel(mesh):
            for kwargs in ({"attn_mask": torch.ones(8, 8).bool()}, {"dropout_p": 0.5}):
                text = message_of(
                    lambda kwargs=kwargs: F.scaled_dot_product_attention(x, x, x, **kwargs),
                    NotImplementedError,
                )
                assert "not written" in text

    run(2, work)
