"""Custom Functions inside transforms: their own rules for batches and tangents, or the generated ones."""

import pytest

import flambeau as torch
from flambeau.autograd import Function
from flambeau.func import grad, jacfwd, jvp, vmap

x = torch.tensor([[0.3, -1.2, 0.7], [1.5, 0.2, -0.4]], dtype=torch.float64)


class Square(Function):
    """Its derivative is declared, three times too large, so that it is seen whether it is used."""

    @staticmethod
    def forward(a):
        return a * a

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return 6 * ctx.saved_tensors[0] * g

    @staticmethod
    def jvp(ctx, da):
        return 6 * ctx.saved_tensors[0] * da


class Generated(Square):
    generate_vmap_rule = True


class Ruled(Square):
    seen = []

    @staticmethod
    def vmap(info, in_dims, a):
        Ruled.seen.append((info.batch_size, info.randomness, in_dims))
        return Ruled.apply(a), in_dims[0]


class Old(Function):
    @staticmethod
    def forward(ctx, a):
        return a * a

    @staticmethod
    def backward(ctx, g):
        return g


def close(actual, expected):
    torch.testing.assert_close(actual, expected)


def test_gradients_and_tangents():
    close(grad(lambda a: Square.apply(a).sum())(x), 6 * x)
    close(jvp(Square.apply, (x,), (torch.ones_like(x),))[1], 6 * x)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        close(torch.autograd.forward_ad.unpack_dual(Square.apply(dual)).tangent, 6 * x)


@pytest.mark.parametrize("function", [Generated, Ruled])
def test_batches(function):
    close(vmap(function.apply)(x), x * x)
    close(vmap(function.apply, in_dims=1, out_dims=1)(x), x * x)
    close(vmap(grad(lambda a: function.apply(a).sum()))(x), 6 * x)
    close(grad(lambda a: vmap(function.apply)(a).sum())(x), 6 * x)
    close(vmap(vmap(function.apply))(x), x * x)
    close(vmap(jacfwd(function.apply))(x), torch.diag_embed(6 * x))
    close(jvp(vmap(function.apply), (x,), (torch.ones_like(x),))[1], 6 * x)


def test_what_a_rule_is_told():
    Ruled.seen.clear()
    vmap(Ruled.apply, in_dims=1)(x)
    assert Ruled.seen == [(3, "error", (1,))]


def test_several_arguments_of_which_some_are_batches():
    class Product(Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(a, b, power):
            return a * b**power, a + b

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs[:2])
            ctx.power = inputs[2]

        @staticmethod
        def backward(ctx, g, h):
            a, b = ctx.saved_tensors
            return g * b**ctx.power + h, ctx.power * g * a * b ** (ctx.power - 1) + h, None

    w = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    f = lambda w, a: sum(o.sum() for o in Product.apply(w, a, 2))  # noqa: E731
    expected = torch.stack([grad(f)(w, a) for a in x])
    close(vmap(grad(f), (None, 0))(w, x), expected)
    close(grad(lambda w: vmap(f, (None, 0))(w, x).sum())(w), expected.sum(0))


def test_refusals():
    with pytest.raises(RuntimeError, match="does not have vmap support"):
        vmap(Square.apply)(x)
    with pytest.raises(RuntimeError, match="must override the setup_context staticmethod"):
        vmap(Old.apply)(x)

    class Both(Ruled):
        generate_vmap_rule = True

    with pytest.raises(RuntimeError, match="both generate_vmap_rule=True and an overridden vmap"):
        vmap(Both.apply)(x)

    class NoTangent(Square):
        jvp = Function.jvp

    with pytest.raises(NotImplementedError, match="implement the jvp function"):
        jvp(NoTangent.apply, (x,), (x,))
