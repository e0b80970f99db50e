"""The module `functorch`: functions of transforms and of modules by their older names."""

import pytest

import flambeau as torch
from flambeau import _functorch as functorch
from flambeau import nn

pytestmark = pytest.mark.filterwarnings("ignore:`functorch:FutureWarning")


def test_a_module_as_a_function_of_its_parameters():
    model, x = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), torch.randn(4, 2)
    function, params = functorch.make_functional(model)
    assert torch.equal(function(params, x), model(x)) and all(p.requires_grad for p in params)
    assert params[0] is not model[0].weight and function.param_names[0] == "0.weight"
    found = functorch.grad(lambda p: function(p, x).sum())(params)
    model(x).sum().backward()
    torch.testing.assert_close(found, tuple(p.grad for p in model.parameters()))
    assert not functorch.make_functional(model, disable_autograd_tracking=True)[1][0].requires_grad
    assert all(p.device.type == "meta" for p in function.parameters())


def test_a_module_with_buffers():
    model, x = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), torch.randn(4, 2)
    with pytest.raises(RuntimeError, match="use make_functional_with_buffers"):
        functorch.make_functional(model)
    function, params, buffers = functorch.make_functional_with_buffers(model)
    assert function.buffer_names == ("1.running_mean", "1.running_var", "1.num_batches_tracked")
    assert torch.equal(function(params, buffers, x), model(x))
    assert torch.equal(buffers[0], model[1].running_mean)  # written where the caller has them


def test_modules_alike_as_an_ensemble():
    models, x = [nn.Linear(2, 3) for _ in range(4)], torch.randn(5, 2)
    function, params, buffers = functorch.combine_state_for_ensemble(models)
    assert [p.shape for p in params] == [(4, 3, 2), (4, 3)] and buffers == () and not params[0].requires_grad
    found = functorch.vmap(function, in_dims=(0, 0, None))(params, buffers, x)
    torch.testing.assert_close(found, torch.stack([m(x) for m in models]))
    for bad, reason in (
        ([], "at least one"),
        ([models[0], nn.ReLU()], "same class"),
        ([models[0], nn.Linear(2, 3).eval()], "same training/eval mode"),
    ):
        with pytest.raises(RuntimeError, match=reason):
            functorch.combine_state_for_ensemble(bad)


def test_older_names_say_what_to_use():
    with pytest.warns(FutureWarning, match="functorch.vmap.*`torch.vmap`"):
        functorch.vmap(torch.sin)
    x = torch.tensor([1.0, 2.0])
    assert torch.equal(functorch.jacrev(torch.sin)(x), functorch.jacfwd(torch.sin)(x))
    assert torch.equal(functorch.hessian(lambda a: (a**3).sum())(x), torch.diag(6 * x))
