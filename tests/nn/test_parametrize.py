"""nn.utils.parametrize and nn.utils.parametrizations."""

import copy
import pickle

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn.utils import parametrizations
from flambeau.nn.utils import parametrize as P


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, x):
        return x.triu()


class Twice(nn.Module):
    def forward(self, x):
        return x * 2


class Halved(nn.Module):
    def forward(self, x):
        return x / 2

    def right_inverse(self, x):
        return x * 2


class Product(nn.Module):
    def forward(self, a, b):
        return a @ b

    def right_inverse(self, x):
        return x, torch.eye(x.size(1))


def linear(*names):
    torch.manual_seed(0)
    module = nn.Linear(3, 3)
    for parametrization in names:
        P.register_parametrization(module, "weight", parametrization())
    return module


class TestRegister:
    def test_the_tensor_is_computed(self):
        module = linear(Symmetric)
        assert bool((module.weight == module.weight.mT).all())
        assert list(module.state_dict()) == ["bias", "parametrizations.weight.original"]
        assert type(module).__name__ == "ParametrizedLinear" and isinstance(module, nn.Linear)
        assert P.type_before_parametrizations(module) is nn.Linear
        assert "weight" not in module._parameters

    def test_the_original_is_the_same_parameter(self):
        module = nn.Linear(3, 3)
        weight = module.weight
        P.register_parametrization(module, "weight", Symmetric())
        assert module.parametrizations.weight.original is weight
        assert bool((weight == weight.triu()).all())

    def test_only_the_first_changes_the_original(self):
        module = linear(Symmetric)
        seen, original = module.weight.detach().clone(), module.parametrizations.weight.original
        before = original.detach().clone()
        P.register_parametrization(module, "weight", Halved())
        assert module.parametrizations.weight.original is original and torch.equal(original, before)
        assert torch.equal(module.weight, seen / 2)

    def test_each_gets_the_result_of_the_one_before(self):
        module = linear(Symmetric, Twice)
        start = module.parametrizations.weight.original
        assert torch.equal(module.weight, 2 * (start.triu() + start.triu(1).mT))
        assert len(module.parametrizations.weight) == 2

    def test_a_sequence_of_originals(self):
        module = linear(Product)
        chain = module.parametrizations.weight
        assert (chain.ntensors, chain.is_tensor) == (2, False)
        assert [name for name, _ in module.named_parameters()][1:] == [
            "parametrizations.weight.original0",
            "parametrizations.weight.original1",
        ]

    def test_gradients_reach_the_original(self):
        module = linear(Twice)
        module(torch.ones(1, 3)).sum().backward()
        assert module.parametrizations.weight.original.grad.tolist() == [[2.0] * 3] * 3

    def test_buffers_stay_buffers(self):
        module = nn.Module()
        module.register_buffer("b", torch.ones(2))
        P.register_parametrization(module, "b", Twice())
        assert [name for name, _ in module.named_buffers()] == ["parametrizations.b.original"]
        assert module.b.tolist() == [2, 2]

    @pytest.mark.parametrize(
        ("parametrization", "message"),
        [
            (lambda x: x[:1], "may not change the shape"),
            (lambda x: x.double(), "may not change the dtype"),
            (lambda x: (x,), "must return a tensor. Got tuple"),
        ],
    )
    def test_refuses_what_changes_the_tensor(self, parametrization, message):
        class Bad(nn.Module):
            def forward(self, x):
                return parametrization(x)

        module = nn.Linear(3, 3)
        with pytest.raises(ValueError, match=message):
            P.register_parametrization(module, "weight", Bad())
        assert not P.is_parametrized(module) and isinstance(module.weight, nn.Parameter)

    def test_unsafe_lets_it_pass(self):
        class Row(nn.Module):
            def forward(self, x):
                return x[:1]

        module = P.register_parametrization(nn.Linear(3, 3), "weight", Row(), unsafe=True)
        assert module.weight.shape == (1, 3)

    def test_unknown_name(self):
        with pytest.raises(
            ValueError, match="does not have a parameter, a buffer, or a parametrized element"
        ):
            P.register_parametrization(nn.Linear(3, 3), "scale", Twice())


class TestAssignAndRemove:
    def test_assignment_goes_through_right_inverse(self):
        module = linear(Symmetric)
        module.weight = torch.ones(3, 3)
        assert module.parametrizations.weight.original.tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]
        with pytest.raises(RuntimeError, match="Twice does not implement right_inverse"):
            linear(Twice).weight = torch.ones(3, 3)

    def test_remove_keeps_the_value_and_the_parameter(self):
        module = linear(Symmetric)
        value, original = module.weight, module.parametrizations.weight.original
        P.remove_parametrizations(module, "weight")
        assert type(module) is nn.Linear and module.weight is original
        assert torch.equal(module.weight, value) and not hasattr(module, "parametrizations")

    def test_remove_back_to_the_original(self):
        module = linear(Twice)
        before = module.parametrizations.weight.original.detach().clone()
        P.remove_parametrizations(module, "weight", leave_parametrized=False)
        assert torch.equal(module.weight, before)

    def test_a_sequence_has_no_way_back(self):
        with pytest.raises(ValueError, match="Cannot leave unparametrized"):
            P.remove_parametrizations(linear(Product), "weight", leave_parametrized=False)

    def test_not_parametrized(self):
        with pytest.raises(ValueError, match="does not have a parametrization on weight"):
            P.remove_parametrizations(nn.Linear(2, 2), "weight")


class TestCopies:
    def test_deepcopy_is_apart(self):
        module = linear(Symmetric)
        other = copy.deepcopy(module)
        assert type(other) is type(module) and torch.equal(other.weight, module.weight)
        other.weight = torch.zeros(3, 3)
        assert not torch.equal(other.weight, module.weight)

    def test_pickling_says_what_to_do(self):
        with pytest.raises(RuntimeError, match=r"only supported through state_dict\(\)"):
            pickle.dumps(linear(Symmetric))

    def test_state_dict_loads(self):
        one, two = linear(Symmetric), linear(Symmetric)
        two.weight = torch.zeros(3, 3)
        two.load_state_dict(one.state_dict())
        assert torch.equal(one.weight, two.weight)

    def test_cached(self):
        module = linear(Symmetric)
        with P.cached():
            first = module.weight
            assert module.weight is first
        assert module.weight is not first and not P._cache

    def test_transfer(self):
        module, other = linear(Product), nn.Linear(3, 3, bias=False)
        P.transfer_parametrizations_and_params(module, other)
        assert torch.equal(module.weight, other.weight)


SHAPES = [(3, 3), (4, 2), (2, 4), (5, 3, 3), (2, 4, 3)]


class TestOrthogonal:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
    @pytest.mark.parametrize("use_trivialization", [True, False])
    def test_is_orthogonal_and_learns(self, shape, orthogonal_map, use_trivialization):
        torch.manual_seed(0)
        module = nn.Module()
        module.weight = nn.Parameter(torch.randn(shape, dtype=torch.float64))
        parametrizations.orthogonal(
            module, orthogonal_map=orthogonal_map, use_trivialization=use_trivialization
        )
        original = module.parametrizations.weight.original
        target = torch.randn(shape, dtype=torch.float64)
        for _ in range(3):
            weight = module.weight
            tall = weight if shape[-2] >= shape[-1] else weight.mT
            identity = torch.eye(tall.size(-1), dtype=torch.float64)
            assert torch.allclose(tall.mT @ tall, identity.expand(*shape[:-2], -1, -1), atol=1e-12)
            loss = ((weight - target) ** 2).sum()
            (slope,) = torch.autograd.grad(loss, original)
            with torch.no_grad():
                original -= 0.01 * slope
        assert ((module.weight - target) ** 2).sum() < loss

    @pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
    def test_derivative(self, orthogonal_map):
        torch.manual_seed(1)
        layer = parametrizations._Orthogonal(torch.zeros(4, 3), orthogonal_map, use_trivialization=False)
        start = torch.randn(4, 3, dtype=torch.float64)
        start.diagonal().fill_(1.0)
        lower = start.tril(-1).requires_grad_()
        fixed = torch.eye(4, 3, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda x: layer(x.tril(-1) + fixed), (lower,))

    def test_assignment(self):
        torch.manual_seed(5)
        module = parametrizations.orthogonal(nn.Linear(3, 3))
        q, _ = torch.linalg.qr(torch.randn(3, 3))
        module.weight = q
        assert torch.allclose(module.weight, q, atol=1e-6)
        fixed = parametrizations.orthogonal(nn.Linear(3, 3), use_trivialization=False)
        with pytest.raises(NotImplementedError, match="use_trivialization=False"):
            fixed.weight = q

    def test_complex(self):
        module = parametrizations.orthogonal(nn.Linear(3, 3, dtype=torch.complex64))
        product = module.weight @ module.weight.mH
        assert torch.allclose(product, torch.eye(3, dtype=torch.complex64), atol=1e-5)
        with pytest.raises(ValueError, match="does not support complex"):
            parametrizations.orthogonal(nn.Linear(3, 3, dtype=torch.complex64), orthogonal_map="householder")

    def test_errors(self):
        with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
            parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map="polar")
        with pytest.raises(ValueError, match="Expected a matrix or batch of matrices"):
            parametrizations.orthogonal(nn.Linear(3, 3), "bias")


class TestWeightNorm:
    def test_magnitude_and_direction(self):
        module = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            module.weight.copy_(torch.tensor([[3.0, 4.0], [6.0, 8.0]]))
        before = module.weight.detach().clone()
        parametrizations.weight_norm(module)
        chain = module.parametrizations.weight
        assert chain.original0.tolist() == [[5], [10]] and torch.allclose(module.weight, before)
        with torch.no_grad():
            chain.original0.fill_(1.0)
        assert module.weight[0].tolist() == pytest.approx([0.6, 0.8])

    def test_loads_states_of_the_older_form(self):
        with pytest.warns(FutureWarning, match="deprecated"):
            older = nn.utils.weight_norm(nn.Linear(3, 2))
        newer = parametrizations.weight_norm(nn.Linear(3, 2))
        newer.load_state_dict(older.state_dict())
        assert torch.equal(newer.weight, older.weight)

    def test_all_dimensions(self):
        module = parametrizations.weight_norm(nn.Linear(3, 2), dim=None)
        assert module.parametrizations.weight.original0.shape == ()

    def test_magnitudes_of_the_wrong_number(self):
        with pytest.raises(RuntimeError, match="g must have 2 elements"):
            torch._weight_norm(torch.ones(2, 3, 2), torch.ones(5, 1, 1), 0)


class TestSpectralNorm:
    def test_largest_singular_value_becomes_one(self):
        torch.manual_seed(0)
        module = parametrizations.spectral_norm(nn.Linear(4, 3), n_power_iterations=20)
        largest = torch.linalg.vector_norm(module.weight.mT @ module.weight @ torch.ones(4))
        assert largest > 0
        v = torch.randn(4)
        for _ in range(200):
            v = nn.functional.normalize(module.weight.mT @ (module.weight @ v), dim=0)
        assert torch.linalg.vector_norm(module.weight @ v).item() == pytest.approx(1, abs=1e-4)

    def test_evaluation_leaves_the_vectors(self):
        module = parametrizations.spectral_norm(nn.Linear(4, 3)).eval()
        before = module.parametrizations.weight[0]._u.clone()
        _ = module.weight
        assert torch.equal(module.parametrizations.weight[0]._u, before)
        module.train()
        _ = module.weight
        assert not torch.equal(module.parametrizations.weight[0]._u, before)

    def test_errors(self):
        with pytest.raises(ValueError, match="n_power_iterations to be positive"):
            parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
        with pytest.raises(IndexError, match="Dimension out of range"):
            parametrizations.spectral_norm(nn.Linear(2, 2), dim=5)
        with pytest.raises(ValueError, match="no parameter or buffer with name"):
            parametrizations.spectral_norm(nn.Linear(2, 2), "scale")
