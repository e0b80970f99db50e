"""Modules as functions of their parameters, DataParallel on a CPU, gradients of convolutions by name, printed nodes."""

import pytest

import flambeau as torch
from flambeau import nn


class TestFunctionalCall:
    def test_several_dictionaries(self):
        module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        parameters = {name: torch.ones_like(p) for name, p in module.named_parameters()}
        buffers = dict(module.named_buffers())
        own = module[0].weight
        out = torch.func.functional_call(module, (parameters, buffers), (torch.randn(3, 2),))
        assert out.shape == (3, 2) and module[0].weight is own
        assert buffers["1.num_batches_tracked"].item() == 1
        with pytest.raises(ValueError, match=r"\['0.bias', .*appeared in multiple dictionaries"):
            torch.func.functional_call(module, (parameters, parameters), torch.ones(1, 2))

    def test_names_must_be_right(self):
        module, x = nn.Linear(2, 2), torch.ones(1, 2)
        with pytest.raises(AttributeError, match="Linear has no attribute `a`"):
            torch.func.functional_call(module, {"a.b": x}, x)
        with pytest.raises(RuntimeError, match="reparametrizing for Linear:\n.*Missing.*'bias'"):
            torch.func.functional_call(module, {"weight": torch.ones(2, 2)}, x, strict=True)
        with pytest.raises(TypeError, match="not an instance of torch.Tensor"):
            torch.func.functional_call(module, {"weight": 3}, x)
        with pytest.raises(ValueError, match="to be a dict, or a list/tuple of dicts"):
            torch.func.functional_call(module, 3, x)

    def test_other_attributes_are_set_for_the_call(self):
        class Scaled(nn.Module):
            def forward(self, x):
                return x * self.scale

        module = Scaled()
        assert torch.func.functional_call(module, {"scale": torch.tensor(3.0)}, torch.ones(1)).item() == 3
        assert not hasattr(module, "scale")

    def test_tied_weights(self):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = self.b = nn.Parameter(torch.ones(1))

            def forward(self, x):
                return x * self.a + self.b

        module, one = Tied(), torch.ones(1)
        assert torch.func.functional_call(module, {"b": one * 5}, one).item() == 10
        assert torch.func.functional_call(module, {"b": one * 5}, one, tie_weights=False).item() == 6
        with pytest.raises(ValueError, match="tied"):
            torch.func.functional_call(module, {"a": one, "b": one * 2}, one)

    def test_an_error_inside_leaves_the_module(self):
        module = nn.Linear(2, 2)
        own = module.weight
        with pytest.raises(RuntimeError):
            torch.func.functional_call(module, {"weight": torch.ones(2, 2)}, torch.ones(1, 5))
        assert module.weight is own


def test_stack_module_state():
    models = [nn.BatchNorm1d(2) for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(models)
    assert parameters["weight"].shape == (3, 2) and parameters["weight"].is_leaf
    assert parameters["weight"].requires_grad and buffers["num_batches_tracked"].tolist() == [0, 0, 0]
    for wrong, message in (
        ([], "at least one model"),
        ([nn.Linear(1, 1), nn.ReLU()], "same class"),
        ([nn.ReLU(), nn.ReLU().eval()], "same training/eval mode"),
    ):
        with pytest.raises(RuntimeError, match=message):
            torch.func.stack_module_state(wrong)


def test_replace_all_batch_norm_modules():
    root = torch.func.replace_all_batch_norm_modules_(nn.Sequential(nn.BatchNorm1d(2)))
    assert root[0].running_mean is None and not root[0].track_running_stats
    x = torch.randn(5, 2)
    assert torch.equal(root.eval()(x), root.train()(x))


class TestParallel:
    def test_data_parallel_calls_the_module(self):
        module = nn.Linear(2, 3)
        parallel = nn.DataParallel(module)
        x = torch.ones(4, 2)
        assert torch.equal(parallel(x), module(x))
        assert list(parallel.state_dict()) == ["module.weight", "module.bias"]
        assert torch.equal(nn.parallel.data_parallel(module, x), module(x))
        with pytest.raises(RuntimeError, match="Leave device_ids out"):
            nn.DataParallel(module, device_ids=[0])

    def test_distributed_says_that_there_is_no_group(self):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            nn.parallel.DistributedDataParallel(nn.Linear(1, 1))

    def test_sync_batch_norm_is_batch_norm_on_one_process(self):
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        x = torch.randn(4, 1, 5, 5)
        expected = plain(x)
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(plain)
        assert isinstance(converted[1], nn.SyncBatchNorm)
        assert torch.equal(converted(x), expected)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_gradients_of_convolutions(n):
    torch.manual_seed(0)
    x = torch.randn(2, 4, *(5, 6, 7)[:n], requires_grad=True)
    weight = torch.randn(6, 2, *(3, 2, 2)[:n], requires_grad=True)
    options = (2, 1, 1, 2)
    y = getattr(nn.functional, f"conv{n}d")(x, weight, None, *options)
    grad = torch.randn_like(y)
    expected = torch.autograd.grad(y, (x, weight), grad)
    of_input = getattr(nn.grad, f"conv{n}d_input")(x.shape, weight.detach(), grad, *options)
    of_weight = getattr(nn.grad, f"conv{n}d_weight")(x.detach(), weight.shape, grad, *options)
    assert torch.allclose(of_input, expected[0], atol=1e-5)
    assert torch.allclose(of_weight, expected[1], atol=1e-5)


class TestUninitialized:
    def test_numbers_of_elements_are_unknown(self):
        for ask in ("numel", "dim", "tolist"):
            with pytest.raises(ValueError, match=f"uninitialized parameter in Tensor.{ask}"):
                getattr(nn.UninitializedParameter(), ask)()

    def test_materialized_ones_answer(self):
        parameter = nn.UninitializedParameter()
        parameter.materialize((2, 3))
        assert type(parameter) is nn.Parameter and parameter.numel() == 6


def test_printed_tensors_name_pytorchs_nodes():
    x = torch.ones(2, 2, requires_grad=True)
    for result, name in (
        (nn.Linear(2, 2)(x), "AddmmBackward0"),
        (x.reshape(4), "ViewBackward0"),
        (x.double(), "ToCopyBackward0"),
        (x @ x, "MmBackward0"),
        (x.narrow(0, 0, 1), "SliceBackward0"),
    ):
        assert result.grad_fn.name() == name and f"grad_fn=<{name}>" in repr(result)
