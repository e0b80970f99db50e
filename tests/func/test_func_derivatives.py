"""grad, vjp, jvp, Jacobians, and what happens when they meet each other and vmap."""

import pytest

import flambeau as torch
from flambeau.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
    vmap,
)

D = torch.float64
x = torch.tensor([0.3, -1.2, 0.7], dtype=D)
W = torch.tensor([[0.5, -0.2, 1.0], [0.3, 0.8, -0.6], [-0.9, 0.1, 0.4]], dtype=D)


def f(v):
    """From three to three numbers, with mixed derivatives."""
    return (W @ v).sin() * v.prod()


def scalar(v):
    return f(v).square().sum()


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


def jacobian(function, at):
    return torch.autograd.functional.jacobian(function, at)


def second(function, at):
    return torch.autograd.functional.hessian(function, at)


# ---- one transform ---------------------------------------------------------------------------------------------------


def test_grad_of_trees_and_of_several_arguments():
    def loss(p, a, *, scale=1.0):
        return (p["w"] * a).sum() * scale + p["b"][0]

    p = {"w": x, "b": [torch.tensor(1.0, dtype=D)]}
    g, ga = grad(loss, argnums=(0, 1))(p, x, scale=2.0)
    close(g["w"], 2 * x)
    close(g["b"][0], torch.tensor(1.0, dtype=D))
    close(ga, 2 * x)
    close(grad(lambda a, b: (a * b).sum(), argnums=-1)(x, 2 * x), x)
    g, aux = grad(lambda a: (a.sum(), a * 2), has_aux=True)(x)
    close(aux, 2 * x)
    g, (value, aux) = grad_and_value(lambda a: (a.square().sum(), a * 2), has_aux=True)(x)
    close(g, 2 * x)
    close(value, x.square().sum())
    assert not value.requires_grad and not aux.requires_grad


def test_grad_touches_nobody_else():
    leaf = x.clone().requires_grad_()
    other = torch.ones(3, dtype=D, requires_grad=True)
    g = grad(lambda a: (a * other).sum())(leaf)
    assert leaf.grad is None and other.grad is None
    assert g.requires_grad  # it is `other`
    close(torch.autograd.grad(g.sum(), other)[0], torch.ones(3, dtype=D))
    assert not grad(lambda a: (a * a).sum())(x).requires_grad
    close(grad(lambda a: torch.tensor(1.0))(x), torch.zeros(3, dtype=D))


def test_grad_mode_outside_and_inside():
    leaf = x.clone().requires_grad_()
    with torch.no_grad():
        g = grad(lambda a: (a * a).sum())(leaf)
    close(g, 2 * x)
    assert not g.requires_grad
    assert grad(lambda a: (a * a).sum())(leaf).requires_grad

    def partly(a):
        with torch.no_grad():
            c = a * a
        return (a * a * a - c).sum()

    close(grad(partly)(x), 3 * x * x)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: grad(lambda a: a * 2)(x), "to return a scalar Tensor, got tensor with 1 dims"),
        (lambda: grad(lambda a: 3)(x), "to return a Tensor, got <class 'int'>"),
        (lambda: grad(lambda a: a.sum())(torch.arange(3)), "only Tensors of floating point"),
        (lambda: grad(lambda a: a.sum(), argnums=1)(x), "Got argnum=1, but only 1 positional inputs"),
        (lambda: grad(lambda a: a.sum(), argnums=())(x), "argnums must be non-empty"),
        (lambda: grad(lambda a: a.sum(), argnums=(0, 0))(x), "argnums elements must be unique"),
        (lambda: grad(lambda a: a.sum(), argnums="a")(x), "argnums must be int or Tuple"),
        (lambda: grad(lambda a: a.sum(), has_aux=True)(x), "should be a tuple: \\(output, aux\\)"),
        (lambda: vjp(lambda a: a * 2, x)[1](torch.ones(2, dtype=D)), "Mismatch in shape"),
        (lambda: vjp(lambda a: (a * 2, a), x)[1](x), "pytree structure of cotangents"),
        (lambda: jvp(f, x, x), "Expected primals to be a tuple"),
        (lambda: jvp(f, (x,), (x[:2],)), "forward gradient that has a different size"),
        (lambda: jvp(f, (), ()), "to contain at least one Tensor"),
        (lambda: jvp(lambda a: torch.ones(2), (x,), (x,), strict=True), "independent of the inputs"),
        (lambda: grad(lambda a: a.requires_grad_().sum())(x), r"requires_grad_\(\)"),
        (lambda: grad(lambda a: a.sum().backward())(x), r"backward\(\) called inside"),
        (lambda: grad(lambda a: a.mul_(2).sum())(x.clone()), "leaf Variable that requires grad"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()
    assert torch._C._transforms() == 0 and not torch._C._in_function(0)


def test_results_have_a_history_only_where_there_is_one_to_have():
    net = torch.nn.Sequential(
        torch.nn.ConvTranspose1d(2, 3, 2), torch.nn.BatchNorm1d(3, track_running_stats=False)
    )
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    data = torch.rand(2, 2, 4)
    loss = lambda p: functional_call(net, p, (data,)).square().sum()  # noqa: E731
    assert not any(g.requires_grad for g in grad(loss)(parameters).values())
    assert not any(r.requires_grad for r in jvp(loss, (parameters,), (parameters,)))
    tangent = jvp(lambda a: a * a, (x,), (x.clone().requires_grad_(),))[1]
    assert tangent.requires_grad


def test_vjp_and_jvp_are_transposes():
    u, t = torch.tensor([1.0, -2.0, 0.5], dtype=D), torch.tensor([0.4, 0.3, -1.0], dtype=D)
    out, pull = vjp(f, x)
    value, tangent = jvp(f, (x,), (t,))
    close(out, f(x))
    close(value, f(x))
    close((u * tangent).sum(), (pull(u)[0] * t).sum())
    close(tangent, jacobian(f, x) @ t)
    close(pull(u)[0], pull(u)[0])  # may be called again
    (out, double), pull, aux = vjp(lambda v: ((f(v), v * 2), v + 1), x, has_aux=True)
    close(pull((u, t))[0], jacobian(f, x).t() @ u + 2 * t)
    close(aux, x + 1)
    out, tangent, aux = jvp(lambda v: (f(v), v + 1), (x,), (t,), has_aux=True)
    close(aux, x + 1)
    close(jvp(lambda v: torch.ones(2, dtype=D), (x,), (t,))[1], torch.zeros(2, dtype=D))


def test_linearize_runs_the_function_once():
    calls = []

    def counted(a, b):
        calls.append(1)
        return f(a) * b

    out, push = linearize(counted, x, 2 * x)
    t = torch.tensor([0.4, 0.3, -1.0], dtype=D)
    for tangents in [(t, t), (t, 0 * t)]:
        close(push(*tangents), jvp(lambda a, b: f(a) * b, (x, 2 * x), tangents)[1])
    close(out, f(x) * 2 * x)
    assert len(calls) == 1 and not push(t, t).requires_grad
    with pytest.raises(RuntimeError, match="shape"):
        push(t[:2], t)


def test_jacobians_of_trees():
    both = lambda a, b: {"p": f(a) * b, "q": (a * b).sum()}  # noqa: E731
    for make in (jacrev, jacfwd):
        j = make(both, argnums=(0, 1))(x, 2 * x)
        close(j["p"][0], jacobian(lambda a: f(a) * 2 * x, x))
        close(j["p"][1], torch.diag(f(x)))
        close(j["q"][1], x)
        close(make(f)(x), jacobian(f, x))
        j, aux = make(lambda a: (f(a), a + 1), has_aux=True)(x)
        close(aux, x + 1)
        close(make(lambda a: torch.ones(2, dtype=D))(x), torch.zeros(2, 3, dtype=D))
    close(jacrev(f, chunk_size=2)(x), jacobian(f, x))
    close(hessian(scalar)(x), second(scalar, x))
    matrix = hessian(lambda a, b: (a * b).prod(), argnums=(0, 1))(x, 2 * x)
    close(matrix[0][1], matrix[1][0].t())


# ---- transforms of transforms ----------------------------------------------------------------------------------------


def test_second_derivatives_in_every_order():
    expected = second(scalar, x)
    for outer in (jacfwd, jacrev):
        for inner in (jacfwd, jacrev, grad):
            close(outer(inner(scalar))(x), expected)


def test_third_derivatives():
    def cubic(v):
        return (v**3).sum() + v.prod()

    expected = jacrev(jacrev(jacrev(cubic)))(x)
    close(jacfwd(jacfwd(jacfwd(cubic)))(x), expected)
    close(jacfwd(jacrev(jacfwd(cubic)))(x), expected)
    number = torch.tensor(2.0, dtype=D)
    close(grad(grad(grad(lambda a: a**4)))(number), torch.tensor(48.0, dtype=D))
    up = lambda g: lambda a: jvp(g, (a,), (torch.ones_like(a),))[1]  # noqa: E731
    close(up(up(up(lambda a: a**4)))(number), torch.tensor(48.0, dtype=D))


def test_tangents_of_different_levels_are_kept_apart():
    one = torch.tensor(1.0, dtype=D)
    inner = lambda a: jvp(lambda b: a + b, (one,), (one,))[1]  # noqa: E731
    close(jvp(lambda a: a * inner(a), (one,), (one,))[1], one)
    close(grad(lambda a: a * grad(lambda b: a + b)(one))(one), one)


def test_per_example_gradients():
    data, w = torch.stack([x, 2 * x, -x]), torch.tensor([1.0, -0.5, 0.3], dtype=D)
    loss = lambda w, a: ((w * a).sin().sum()) ** 2  # noqa: E731
    expected = torch.stack([grad(loss)(w, a) for a in data])
    close(vmap(grad(loss), (None, 0))(w, data), expected)
    close(vmap(grad(loss, argnums=1), (None, 0))(w, data), torch.stack([grad(loss, 1)(w, a) for a in data]))
    close(grad(lambda w: vmap(loss, (None, 0))(w, data).sum())(w), expected.sum(0))
    squared = lambda w: vmap(grad(loss), (None, 0))(w, data).square().sum()  # noqa: E731
    close(grad(squared)(w), torch.autograd.functional.jacobian(squared, w))
    leaf = w.clone().requires_grad_()
    squared(leaf).backward()
    close(leaf.grad, grad(squared)(w))
    close(
        vmap(hessian(loss), (None, 0))(w, data),
        torch.stack([second(lambda w, a=a: loss(w, a), w) for a in data]),
    )
    close(
        jvp(lambda w: vmap(grad(loss), (None, 0))(w, data), (w,), (w,))[1],
        torch.stack([second(lambda w, a=a: loss(w, a), w) @ w for a in data]),
    )
    nested = vmap(vmap(grad(loss), (None, 0)), (0, None))(torch.stack([w, 2 * w]), data)
    close(nested[1], vmap(grad(loss), (None, 0))(2 * w, data))


def test_per_example_gradients_of_a_network():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.GroupNorm(1, 2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(8, 5), torch.nn.LayerNorm(5), torch.nn.GELU(), torch.nn.Linear(5, 3),
    ).double()  # fmt: skip
    parameters = dict(net.named_parameters())
    images, labels = torch.rand(4, 1, 4, 4, dtype=D), torch.tensor([0, 2, 1, 2])

    def loss(p, image, label):
        logits = functional_call(net, p, (image.unsqueeze(0),))
        return torch.nn.functional.cross_entropy(logits, label.unsqueeze(0))

    detached = {name: p.detach() for name, p in parameters.items()}
    found = vmap(grad(loss), (None, 0, 0))(detached, images, labels)
    for i in range(4):
        net.zero_grad()
        loss(parameters, images[i], labels[i]).backward()
        for name, p in parameters.items():
            close(found[name][i], p.grad)
    assert not any(g.requires_grad for g in found.values())


def test_in_place_writes_inside_a_gradient_per_example():
    def function(a):
        b = a * 1
        b[0] = a[1] * 2
        b[1:].mul_(a[1:])
        c = a.new_zeros(3)
        c[:2] = b[1:]
        return (b * c).sum()

    data = torch.stack([x, 2 * x])
    expected = torch.stack([torch.autograd.functional.jacobian(function, a) for a in data])
    close(vmap(grad(function))(data), expected)
    close(torch.stack([jacfwd(function)(a) for a in data]), expected)
    close(vmap(jacfwd(function))(data), expected)


def test_complex_tangents_and_gradients():
    z = torch.tensor([0.3 + 0.4j, -0.2 + 0.9j])
    t = torch.tensor([1.0 - 1j, 0.5 + 0.2j])
    for function, derivative in [
        (lambda a: a.exp(), lambda a: a.exp()),
        (lambda a: a * a, lambda a: 2 * a),
        (lambda a: a.sin(), lambda a: a.cos()),
    ]:
        torch.testing.assert_close(jvp(function, (z,), (t,))[1], derivative(z) * t)
    torch.testing.assert_close(jvp(torch.abs, (z,), (t,))[1], (z.conj() * t).real / z.abs())
    torch.testing.assert_close(vmap(grad(lambda a: a.abs() ** 2))(z), 2 * z)


def test_jacobians_of_one_number_by_one_number():
    at = torch.tensor(2.0, dtype=D)
    for transform in (jacrev, jacfwd):
        close(transform(lambda a: a**3)(at), torch.tensor(12.0, dtype=D))
    close(hessian(lambda a: a**3)(at), torch.tensor(12.0, dtype=D))
    close(vmap(hessian(lambda a: a**3))(x), 6 * x)


@pytest.mark.parametrize("order", (0.5, 1, 1.5, 2, 3, float("inf")))
def test_the_tangent_of_a_norm_is_zero_at_zero(order):
    def norm(v):
        return torch.linalg.vector_norm(v, order)

    zero = torch.zeros(3, dtype=D)
    assert jvp(norm, (zero,), (x,))[1].item() == 0
    assert grad(norm)(zero).tolist() == [0, 0, 0]
