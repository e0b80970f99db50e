"""The hook forms of weight_norm and spectral_norm, fusion, skip_init and memory formats of weights."""

import copy
import pickle

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import utils


def linear(out=3, into=3):
    torch.manual_seed(0)
    return nn.Linear(into, out)


@pytest.fixture(autouse=True)
def quiet(recwarn):
    """weight_norm warns of its own age in every test."""


class TestWeightNorm:
    def test_round_trip(self):
        module = linear()
        before = module.weight.detach().clone()
        utils.weight_norm(module)
        assert list(module.state_dict()) == ["bias", "weight_g", "weight_v"]
        assert module.weight_g.shape == (3, 1) and torch.allclose(module.weight, before)
        utils.remove_weight_norm(module)
        assert isinstance(module.weight, nn.Parameter) and torch.allclose(module.weight, before)
        assert not module._forward_pre_hooks

    def test_gradient_of_the_direction_is_orthogonal_to_it(self):
        module = utils.weight_norm(linear())
        module(torch.ones(1, 3)).sum().backward()
        along = (module.weight_v.grad * module.weight_v).sum(1)
        assert along.abs().max().item() < 1e-6 and module.weight_g.grad.abs().min() > 0

    def test_twice_and_never(self):
        with pytest.raises(RuntimeError, match="Cannot register two weight_norm hooks"):
            utils.weight_norm(utils.weight_norm(linear()))
        with pytest.raises(ValueError, match="weight_norm of 'weight' not found"):
            utils.remove_weight_norm(linear())

    def test_pickle_and_deepcopy(self):
        module = utils.weight_norm(linear())
        again = pickle.loads(pickle.dumps(module))
        assert torch.equal(again(torch.ones(1, 3)), module(torch.ones(1, 3)))
        with pytest.raises(RuntimeError, match="deepcopy protocol"):
            copy.deepcopy(module)

    def test_lazy_modules_have_to_run_first(self):
        with pytest.raises(ValueError, match="uninitialized parameters"):
            utils.weight_norm(nn.LazyLinear(3))


class TestSpectralNorm:
    def test_known_singular_value(self):
        module = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            module.weight.copy_(torch.tensor([[0.0, 5.0], [2.0, 0.0]]))
        utils.spectral_norm(module, n_power_iterations=30)
        module(torch.ones(1, 2))
        assert torch.allclose(module.weight, torch.tensor([[0.0, 1.0], [0.4, 0.0]]), atol=1e-6)
        utils.remove_spectral_norm(module)
        assert list(module.state_dict()) == ["weight"] and not module._state_dict_hooks
        assert module.weight[0, 1].item() == pytest.approx(1)

    def test_state_and_version(self):
        module = utils.spectral_norm(linear())
        state = module.state_dict()
        assert list(state) == ["bias", "weight_orig", "weight_u", "weight_v"]
        assert state._metadata[""]["spectral_norm"] == {"weight.version": 1}
        other = utils.spectral_norm(linear())
        module(torch.ones(1, 3))
        other.load_state_dict(module.state_dict())
        assert torch.equal(other.weight_u, module.weight_u)

    def test_states_of_version_0_get_their_v(self):
        module = utils.spectral_norm(linear())
        for _ in range(50):
            module(torch.ones(1, 3))
        state, v = module.state_dict(), module.weight_v.clone()
        del state._metadata[""]["spectral_norm"], state["weight_v"]
        state["weight"] = module.weight.detach().clone()
        other = utils.spectral_norm(linear())
        other.load_state_dict(state)
        # At the fixed point u = W v / sigma: the least-norm solution is v.
        assert torch.allclose(other.weight_v, v, atol=1e-4)

    def test_transposed_convolutions_count_their_second_dimension(self):
        assert utils.spectral_norm(nn.ConvTranspose2d(2, 3, 2)).weight_u.shape == (3,)


class TestFusion:
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("transpose", [True, False])
    def test_convolutions(self, bias, transpose):
        torch.manual_seed(0)
        layer = (nn.ConvTranspose2d if transpose else nn.Conv2d)(2, 3, 3, bias=bias)
        bn = nn.BatchNorm2d(3)
        nn.init.uniform_(bn.weight)
        bn(layer(torch.randn(4, 2, 6, 6)))
        x = torch.randn(2, 2, 5, 5)
        fused = utils.fuse_conv_bn_eval(layer.eval(), bn.eval(), transpose)
        assert torch.allclose(fused(x), bn(layer(x)), atol=1e-5)
        assert fused is not layer and isinstance(fused.bias, nn.Parameter)

    def test_linear(self):
        layer, bn = linear(), nn.BatchNorm1d(3)
        bn(layer(torch.randn(8, 3)))
        x = torch.randn(2, 3)
        assert torch.allclose(utils.fuse_linear_bn_eval(layer.eval(), bn.eval())(x), bn(layer(x)), atol=1e-5)

    def test_only_in_evaluation(self):
        with pytest.raises(AssertionError, match="only for eval"):
            utils.fuse_conv_bn_eval(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1).eval())
        with pytest.raises(AssertionError, match="out_features == bn.num_features"):
            utils.fuse_linear_bn_eval(linear().eval(), nn.BatchNorm1d(2).eval())


def test_skip_init():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    module = utils.skip_init(nn.Linear, 3, 2)
    assert module.weight.shape == (2, 3) and module.weight.device.type == "cpu"
    assert torch.equal(torch.rand(1), expected), "nothing may be drawn"
    with pytest.raises(RuntimeError, match="must support a 'device' arg"):
        utils.skip_init(nn.ReLU)
    with pytest.raises(RuntimeError, match="Expected a Module"):
        utils.skip_init(dict)


def test_memory_formats_of_weights():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv3d(2, 4, 3))
    values = [parameter.detach().clone() for parameter in module.parameters()]
    utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert module[1].weight.is_contiguous()
    utils.convert_conv3d_weight_memory_format(module, torch.channels_last_3d)
    assert module[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), values, strict=True))


def test_functions_stay_functions_when_their_modules_are_imported():
    from flambeau.nn.utils.spectral_norm import SpectralNorm
    from flambeau.nn.utils.weight_norm import WeightNorm

    assert callable(utils.weight_norm) and callable(utils.spectral_norm)
    assert WeightNorm("w", None).dim == -1 and SpectralNorm().n_power_iterations == 1


def test_what_operators_make_of_a_parameter_is_a_plain_tensor():
    parameter = nn.Parameter(torch.ones(2, 3))
    for result in (parameter[0], parameter[:1], parameter[..., None], parameter.t(), parameter * 1):
        assert type(result) is torch.Tensor
