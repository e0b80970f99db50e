"""Custom Functions."""

import pytest

import flambeau
from flambeau.autograd import Function
from flambeau.autograd.function import once_differentiable


def leaf(*values):
    return flambeau.tensor(list(values), dtype=flambeau.float64, requires_grad=True)


class Scale(Function):
    """Input times a Python number."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.factor, None


class Cube(Function):
    """Saves an input and an output."""

    @staticmethod
    def forward(x):
        square = x * x
        return square * x, square

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0], output[1], None)
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, grad, _):
        x, square, none = ctx.saved_tensors
        assert none is None
        return grad * 3 * (x * x)


def test_forward_with_ctx():
    x = leaf(1.0, 2.0)
    y = Scale.apply(x, 3)
    assert type(y.grad_fn).__name__ == y.grad_fn.name() == "ScaleBackward"
    assert y.grad_fn.factor == 3 and y.grad_fn.next_functions[0][0].variable is x
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_setup_context_and_second_derivative():
    x = leaf(2.0)
    y, square = Cube.apply(x)
    assert not square.requires_grad and square.tolist() == [4.0]
    (g,) = flambeau.autograd.grad(y.sum(), x, create_graph=True)
    (gg,) = flambeau.autograd.grad(g.sum(), x)
    assert g.tolist() == [12.0] and gg.tolist() == [12.0]


def test_saved_output_carries_its_history():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * x
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, grad):
            x, y = ctx.saved_tensors
            return grad * (y + x * x) * 0.5

    x = leaf(3.0)
    (g,) = flambeau.autograd.grad(Square.apply(x).sum(), x, create_graph=True)
    (gg,) = flambeau.autograd.grad(g.sum(), x)
    # g = (y + x^2) / 2, and dy/dx is the custom rule itself: 9; so gg = (9 + 6) / 2.
    assert g.tolist() == [9.0] and gg.tolist() == [7.5]


def test_needs_input_grad_and_unused_outputs():
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a * 1, b * 2

        @staticmethod
        def backward(ctx, ga, gb):
            seen.append((ctx.needs_input_grad, ga.tolist(), gb.tolist()))
            return ga, gb * 2

    a, b = leaf(1.0), leaf(1.0).detach()
    Two.apply(a, b)[0].sum().backward()
    assert seen == [((True, False), [1.0], [0.0])] and a.grad.tolist() == [1.0]


def test_undefined_gradients_can_stay_none():
    class Two(Function):
        @staticmethod
        def forward(ctx, a):
            ctx.set_materialize_grads(False)
            return a * 1, a * 2

        @staticmethod
        def backward(ctx, ga, gb):
            assert gb is None
            return ga

    a = leaf(1.0)
    Two.apply(a)[0].sum().backward()
    assert a.grad.tolist() == [1.0]


class AddOne(Function):
    """In place."""

    @staticmethod
    def forward(ctx, x):
        x.add_(1)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def test_in_place():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = AddOne.apply(y)
    assert z is y and y.grad_fn.name() == "AddOneBackward" and y.tolist() == [2.0, 3.0]
    z.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        AddOne.apply(x)


def test_in_place_on_a_view():
    x = leaf(1.0, 2.0)
    y = x * 1
    AddOne.apply(y[0])
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 1.0]


def test_an_input_returned_as_it_is():
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = leaf(1.0)
    y = Same.apply(x)
    assert y is not x and y.grad_fn.name() == "SameBackward" and x.is_leaf
    y.sum().backward()
    assert x.grad.tolist() == [2.0]
    with pytest.raises(RuntimeError, match="This view was created inside a custom Function"):
        Same.apply(x * 1).add_(1)
    with flambeau.no_grad():
        assert not Same.apply(x).requires_grad


def test_outputs_that_are_no_tensors():
    class Mixed(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, "text", 3

        @staticmethod
        def backward(ctx, grad, a, b):
            return grad * 2

    x = leaf(1.0)
    y, text, number = Mixed.apply(x)
    assert (text, number) == ("text", 3)
    y.sum().backward()
    assert x.grad.tolist() == [2.0]


def test_once_differentiable():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @once_differentiable
        def backward(ctx, grad):
            return grad * 2

    x = leaf(1.0)
    (g,) = flambeau.autograd.grad((Once.apply(x) * x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="trying to differentiate twice a function that was marked with"):
        g.sum().backward()


def make(backward=None, forward=None):
    """A Function of a tensor and a number whose backward returns what `backward` gives."""
    body = {"forward": staticmethod(forward or (lambda ctx, x, n: x * n))}
    if backward is not None:
        body["backward"] = staticmethod(backward)
    return type("F", (Function,), body)


def dirty_not_returned(ctx, x, n):
    ctx.mark_dirty(x)
    return x * n


def saves_a_number(ctx, x, n):
    ctx.save_for_backward(x, n)
    return x * n


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (
            make(lambda ctx, g: g),
            RuntimeError,
            r"function FBackward returned an incorrect number of gradients \(expected 2, got 1\)",
        ),
        (
            make(lambda ctx, g: (g, g)),
            RuntimeError,
            "a gradient different than None at position 2, but the corresponding",
        ),
        (make(lambda ctx, g: (3, None)), RuntimeError, r"expected Variable or None \(got int\)"),
        (
            make(lambda ctx, g: (g[0], None)),
            RuntimeError,
            "Function FBackward returned an invalid gradient at index 0",
        ),
        (make(), NotImplementedError, "You must implement either the backward or vjp method"),
        (
            make(forward=dirty_not_returned),
            RuntimeError,
            "Some elements marked as dirty during the forward method were not",
        ),
        (
            make(forward=saves_a_number),
            TypeError,
            "save_for_backward can only save variables, but argument 1 is of type int",
        ),
    ],
)
def test_errors(function, error, message):
    x = flambeau.ones(2, 3, requires_grad=True)
    with pytest.raises(error, match=message):
        function.apply(x, 2).sum().backward()


def test_no_forward_and_no_instances():
    with pytest.raises(NotImplementedError, match="You must implement the forward function"):
        type("F", (Function,), {}).apply(leaf(1.0))
    with pytest.raises(RuntimeError, match="should not be instantiated"):
        Scale()


def test_saved_tensors_are_freed_and_checked():
    x = leaf(2.0)
    y, _ = Cube.apply(x)
    node = y.grad_fn
    y.sum().backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        node.saved_tensors  # noqa: B018
    a = x * 1
    y, _ = Cube.apply(a)
    a.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
