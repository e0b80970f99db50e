"""nn.utils.prune."""

import pickle

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn.utils import prune

WEIGHT = [[1.0, -8.0, 3.0, 4.0], [-5.0, 6.0, -7.0, 2.0]]


def layer():
    module = nn.Linear(4, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(WEIGHT))
    return module


def zeros(module, name="weight"):
    return (getattr(module, name + "_mask") == 0).nonzero().tolist()


class TestMethods:
    def test_l1(self):
        module = prune.l1_unstructured(layer(), "weight", amount=3)
        assert zeros(module) == [[0, 0], [0, 2], [1, 3]]
        assert list(module.state_dict()) == ["bias", "weight_orig", "weight_mask"]
        assert module.weight_orig.tolist() == WEIGHT and module.weight[0, 0] == 0

    def test_scores_decide_in_its_place(self):
        scores = torch.arange(8.0).reshape(2, 4)
        assert zeros(prune.l1_unstructured(layer(), "weight", 2, importance_scores=scores)) == [
            [0, 0],
            [0, 1],
        ]
        with pytest.raises(AssertionError, match="same shape"):
            prune.l1_unstructured(layer(), "weight", 2, importance_scores=torch.ones(8))

    def test_ln(self):
        assert zeros(prune.ln_structured(layer(), "weight", 1, n=2, dim=1)) == [[0, 3], [1, 3]]
        assert zeros(prune.ln_structured(layer(), "weight", 0.5, n=float("inf"), dim=0)) == [
            [1, 0], [1, 1], [1, 2], [1, 3],
        ]  # fmt: skip

    def test_random_draws_follow_the_seed(self):
        # The draws and what is chosen of them are PyTorch's.
        torch.manual_seed(1)
        module = prune.random_unstructured(nn.Linear(5, 4), "bias", 2)
        assert len(zeros(module, "bias")) == 2
        torch.manual_seed(1)
        module = prune.random_structured(layer(), "weight", 2, dim=1)
        assert module.weight_mask.sum(0).sort().values.tolist() == [0, 0, 2, 2]

    def test_identity_and_custom(self):
        assert zeros(prune.identity(layer(), "weight")) == []
        mask = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 1]])
        assert zeros(prune.custom_from_mask(layer(), "weight", mask)) == [[0, 1], [1, 0]]

    def test_on_a_tensor_alone(self):
        method, values = prune.L1Unstructured(amount=2), torch.tensor([1.0, -2, 3, -0.5])
        assert method.prune(values).tolist() == [0, -2, 3, 0]
        assert method.prune(values, default_mask=torch.tensor([1.0, 0, 1, 1])).tolist() == [0, 0, 3, 0]

    def test_gradients_are_masked(self):
        module = prune.l1_unstructured(layer(), "weight", 0.5)
        module(torch.ones(1, 4)).sum().backward()
        assert torch.equal(module.weight_orig.grad, module.weight_mask)


class TestRepeated:
    def test_prunes_what_is_left(self):
        module = layer()
        prune.l1_unstructured(module, "weight", 2)
        prune.l1_unstructured(module, "weight", 2)
        prune.ln_structured(module, "weight", 1, n=2, dim=1)
        (hook,) = module._forward_pre_hooks.values()
        assert isinstance(hook, prune.PruningContainer) and len(hook) == 3
        assert [type(method).__name__ for method in hook] == ["L1Unstructured"] * 2 + ["LnStructured"]
        assert zeros(module) == [[0, 0], [0, 2], [0, 3], [1, 0], [1, 3]]

    def test_a_refused_pruning_leaves_the_module(self):
        module = layer()
        with pytest.raises(ValueError, match="smaller than the number of parameters"):
            prune.l1_unstructured(module, "weight", 500)
        assert list(module.state_dict()) == ["weight", "bias"] and not prune.is_pruned(module)
        prune.l1_unstructured(module, "weight", 2)
        with pytest.raises(ValueError, match="smaller than the number of parameters"):
            prune.l1_unstructured(module, "weight", 500)
        assert zeros(module) == [[0, 0], [1, 3]] and prune.is_pruned(module)

    def test_container_takes_its_own_parameter_only(self):
        one, other = prune.Identity(), prune.Identity()
        one._tensor_name, other._tensor_name = "x", "y"
        container = prune.PruningContainer(one)
        with pytest.raises(ValueError, match="parameter named 'x'"):
            container.add_pruning_method(other)
        with pytest.raises(TypeError, match="not a BasePruningMethod subclass"):
            container.add_pruning_method(3)


class TestGlobal:
    def test_chooses_among_all(self):
        one, two = layer(), nn.Linear(2, 1)
        with torch.no_grad():
            two.weight.copy_(torch.tensor([[0.5, 9.0]]))
        prune.global_unstructured([(one, "weight"), (two, "weight")], prune.L1Unstructured, amount=3)
        assert zeros(one) == [[0, 0], [1, 3]] and zeros(two) == [[0, 0]]

    def test_unstructured_only(self):
        with pytest.raises(TypeError, match='Only "unstructured"'):
            prune.global_unstructured([(layer(), "weight")], prune.LnStructured, amount=1, n=2)
        with pytest.raises(TypeError, match="must be of type dict"):
            prune.global_unstructured([(layer(), "weight")], prune.L1Unstructured, [1], amount=1)


class TestRemove:
    def test_makes_it_permanent(self):
        module = prune.l1_unstructured(layer(), "weight", 3)
        original = module.weight_orig
        assert prune.remove(module, "weight") is module
        assert sorted(module.state_dict()) == ["bias", "weight"] and module.weight is original
        assert (module.weight == 0).sum() == 3 and not prune.is_pruned(module)

    def test_nothing_to_remove(self):
        with pytest.raises(ValueError, match="has to be pruned before pruning can be removed"):
            prune.remove(layer(), "weight")

    def test_pickle_and_state(self):
        module = prune.l1_unstructured(layer(), "weight", 3)
        again = pickle.loads(pickle.dumps(module))
        assert zeros(again) == zeros(module) and prune.is_pruned(nn.Sequential(again))
        other = prune.identity(layer(), "weight")
        other.load_state_dict(module.state_dict())
        other(torch.ones(1, 4))
        assert torch.equal(other.weight, module.weight)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: prune.l1_unstructured(layer(), "weight", 1.5), ValueError, r"float in the range \[0, 1\]"),
        (lambda: prune.l1_unstructured(layer(), "weight", -1), ValueError, "non-negative integer"),
        (lambda: prune.l1_unstructured(layer(), "weight", "a"), TypeError, "Must be int or float"),
        (lambda: prune.random_structured(layer(), "bias", 1, 0), ValueError, "multidimensional"),
        (lambda: prune.random_structured(layer(), "weight", 1, 3), IndexError, "Invalid index 3"),
        (lambda: prune.ln_structured(layer(), "weight", 9, 2, 0), ValueError, "smaller than the number"),
        (lambda: prune.BasePruningMethod(), TypeError, "abstract"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
