"""What study notes on PyTorch say of gradients, a test each; where they are out of date, what PyTorch 2.13 does."""

import pytest

import flambeau as torch
from flambeau import nn


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


# detach


def test_detach_shares_memory_and_cuts_the_graph():
    x = leaf(1.0, 2.0)
    y = x * 2
    d = y.detach()
    assert d.data_ptr() == y.data_ptr() and d.grad_fn is None and not d.requires_grad and d.is_leaf
    d[0] = 7.0
    assert y.tolist() == [7, 4]
    (y.sum() + (d * 100).sum()).backward()
    assert x.grad.tolist() == [2, 2]


def test_detach_between_two_networks_trains_the_second_alone():
    torch.manual_seed(0)
    a, b = nn.Linear(3, 4), nn.Linear(4, 1)
    optimizer = torch.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)
    before = [p.detach().clone() for p in (a.weight, b.weight)]
    z = b(a(torch.ones(2, 3)).detach())
    z.sum().backward()
    optimizer.step()
    assert a.weight.grad is None and a.bias.grad is None
    assert a.weight.equal(before[0]) and not b.weight.equal(before[1])


def test_in_place_change_of_a_detached_tensor_is_caught_if_the_original_was_needed():
    x = leaf(1.0, 2.0)
    y = x.exp()  # keeps its result
    y.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()

    z = x * 2  # keeps nothing of z
    z.detach().zero_()
    z.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_shape_of_a_detached_tensor_can_change_without_the_original():
    y = torch.ones(2, 3, requires_grad=True) * 1
    d = y.detach()
    d.transpose_(0, 1)
    assert d.shape == (3, 2) and y.shape == (2, 3)
    e = y.detach()
    e.resize_(2)
    assert e.shape == (2,) and y.shape == (2, 3) and e.data_ptr() == y.data_ptr()
    f = y.detach()
    f.set_(torch.zeros(5))
    assert f.shape == (5,) and y.shape == (2, 3) and f.data_ptr() != y.data_ptr()
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        y.resize_(3)


def test_detach_in_place():
    x = leaf(1.0, 2.0)
    y = x * 2
    assert y.detach_() is y
    assert y.is_leaf and y.grad_fn is None and not y.requires_grad
    y.requires_grad_()
    (y * 3).sum().backward()
    assert y.grad.tolist() == [3, 3] and x.grad is None


def test_detach_in_place_of_a_view_raises():
    y = torch.ones(2, 3, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="Can't detach views in-place"):
        y[0].detach_()


# hooks of tensors and nodes


def test_gradient_hook_replaces_the_gradient_until_removed():
    x = leaf(1.0, 2.0)
    y = x * 3
    seen = []
    watch = y.register_hook(lambda grad: seen.append(grad.tolist()))
    double = y.register_hook(lambda grad: grad * 2)
    y.sum().backward(retain_graph=True)
    assert seen == [[1, 1]] and x.grad.tolist() == [6, 6]
    double.remove()
    watch.remove()
    x.grad = None
    y.sum().backward()
    assert len(seen) == 1 and x.grad.tolist() == [3, 3]


def test_gradient_hook_on_a_leaf_changes_what_is_accumulated():
    x = leaf(1.0)
    with x.register_hook(lambda grad: grad + 1):
        (x * 5).sum().backward()
    assert x.grad.tolist() == [6]
    (x * 5).sum().backward()
    assert x.grad.tolist() == [11]


def test_gradient_hook_wants_a_tensor_that_requires_grad():
    with pytest.raises(
        RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"
    ):
        torch.ones(1).register_hook(lambda grad: grad)


def test_post_accumulate_grad_hook_sees_the_sum():
    x = leaf(1.0, 2.0)
    seen = []
    handle = x.register_post_accumulate_grad_hook(
        lambda tensor: seen.append((tensor is x, tensor.grad.tolist()))
    )
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert seen == [(True, [2, 2]), (True, [5, 5])]
    handle.remove()
    x.sum().backward()
    assert len(seen) == 2
    with pytest.raises(RuntimeError, match="leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_hooks_on_graph_nodes():
    x = leaf(1.0, 2.0)
    y = x * 3
    seen = []
    pre = y.grad_fn.register_prehook(lambda grads: (grads[0] * 10,))
    post = y.grad_fn.register_hook(
        lambda inputs, outputs: seen.append((inputs[0].tolist(), outputs[0].tolist()))
    )
    y.sum().backward(retain_graph=True)
    assert seen == [([30, 30], [10, 10])] and x.grad.tolist() == [30, 30]
    pre.remove()
    post.remove()
    y.sum().backward()
    assert len(seen) == 1 and x.grad.tolist() == [33, 33]


# hooks of modules


class Affine(nn.Module):
    def forward(self, x, scale=1.0):
        return x * scale + 1


def test_forward_hook_sees_and_replaces_the_output():
    module = Affine()
    seen = []
    handle = module.register_forward_hook(lambda m, args, output: seen.append((m is module, len(args))))
    other = module.register_forward_hook(
        lambda m, args, kwargs, output: output * kwargs["scale"], with_kwargs=True
    )
    assert module(torch.tensor([1.0]), scale=2.0).item() == 6
    assert seen == [(True, 1)]
    handle.remove()
    other.remove()
    assert module(torch.tensor([1.0]), scale=2.0).item() == 3


def test_forward_hooks_in_order_prepended_and_always_called():
    module = Affine()
    order = []
    module.register_forward_hook(lambda *_: order.append("first"))
    module.register_forward_hook(lambda *_: order.append("before it"), prepend=True)
    module.register_forward_hook(lambda *_: order.append("always"), always_call=True)
    module(torch.ones(1))
    assert order == ["before it", "first", "always"]
    order.clear()
    with pytest.raises(TypeError):
        module(torch.ones(1), wrong=1)
    assert order == ["always"]


def test_forward_pre_hook_replaces_arguments():
    module = Affine()
    one = module.register_forward_pre_hook(lambda m, args: args[0] * 10)
    assert module(torch.tensor([1.0])).item() == 11
    one.remove()
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {"scale": 5.0}), with_kwargs=True)
    assert module(torch.tensor([1.0])).item() == 6
    module.register_forward_pre_hook(lambda m, args: (args[0] + 1,), prepend=True)
    assert module(torch.tensor([1.0])).item() == 11


def test_full_backward_hook_and_pre_hook():
    module = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(3.0)
    seen = {}

    def after(m, grad_input, grad_output):
        seen["after"] = (grad_input[0].tolist(), grad_output[0].tolist())
        return (grad_input[0] * 2,)

    def before(m, grad_output):
        seen["before"] = grad_output[0].tolist()
        return (grad_output[0] * 10,)

    handles = [module.register_full_backward_hook(after), module.register_full_backward_pre_hook(before)]
    x = torch.ones(1, 2, requires_grad=True)
    module(x).sum().backward()
    assert seen == {"before": [[1]], "after": ([[30, 30]], [[10]])}
    assert x.grad.tolist() == [[60, 60]] and module.weight.grad.tolist() == [[10, 10]]
    for handle in handles:
        handle.remove()
    x.grad = None
    module(x).sum().backward()
    assert x.grad.tolist() == [[3, 3]]


def test_global_module_hooks():
    module = nn.Sequential(Affine(), nn.ReLU())
    calls = []
    hooks = nn.modules.module
    handles = [
        hooks.register_module_forward_pre_hook(lambda m, args: calls.append(("pre", type(m).__name__))),
        hooks.register_module_forward_hook(lambda m, args, output: calls.append(("post", type(m).__name__))),
        hooks.register_module_full_backward_hook(lambda m, gi, go: calls.append(("back", type(m).__name__))),
    ]
    x = torch.ones(1, requires_grad=True)
    try:
        module(x).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert [c for c in calls if c[0] == "pre"] == [("pre", "Sequential"), ("pre", "Affine"), ("pre", "ReLU")]
    assert [c for c in calls if c[0] == "post"] == [
        ("post", "Affine"),
        ("post", "ReLU"),
        ("post", "Sequential"),
    ]
    assert sorted(c[1] for c in calls if c[0] == "back") == ["Affine", "ReLU", "Sequential"]
    count = len(calls)
    module(x)
    assert len(calls) == count


# Parameter


def test_parameter_is_registered_when_assigned_to_a_module():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.frozen = nn.Parameter(torch.zeros(1), requires_grad=False)
            self.plain = torch.ones(3)

    model = Model()
    assert [name for name, _ in model.named_parameters()] == ["weight", "frozen"]
    assert model.weight.requires_grad and model.weight.is_leaf and not model.frozen.requires_grad
    assert isinstance(model.weight, nn.Parameter) and isinstance(model.weight, torch.Tensor)
    assert list(model.state_dict()) == ["weight", "frozen"]
    with pytest.raises(TypeError, match="cannot assign"):
        model.weight = torch.ones(2)
    model.weight = None
    assert [name for name, _ in model.named_parameters()] == ["frozen"]
    # Made under no_grad it still requires a gradient; the memory is the tensor's.
    source = torch.ones(2)
    with torch.no_grad():
        parameter = nn.Parameter(source)
    assert parameter.requires_grad and parameter.data_ptr() == source.data_ptr()
    assert repr(nn.Parameter(torch.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"
