"""utils.checkpoint."""

import contextlib

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.utils import checkpoint as C


@pytest.fixture(params=[True, False], ids=["reentrant", "plain"])
def reentrant(request):
    return request.param


def leaf(*shape):
    torch.manual_seed(0)
    return torch.randn(*shape, requires_grad=True)


def gradient(function, x, **options):
    """The gradient with a checkpoint, having checked that it is that without."""
    torch.manual_seed(1)
    function(x).sum().backward()
    expected, x.grad = x.grad, None
    torch.manual_seed(1)
    C.checkpoint(function, x, **options).sum().backward()
    assert torch.equal(x.grad, expected)
    return x.grad


class TestBothKinds:
    def test_computes_twice_and_gives_the_same(self, reentrant):
        calls = []

        def function(a):
            calls.append(1)
            return (a.exp() * a).sin()

        gradient(function, leaf(3), use_reentrant=reentrant)
        assert len(calls) == 3  # one of them without a checkpoint

    def test_random_numbers_repeat_and_go_on(self, reentrant):
        dropout = nn.Dropout(0.5)
        gradient(lambda a: dropout(a), leaf(50), use_reentrant=reentrant)
        after = torch.rand(2)
        torch.manual_seed(1)
        dropout(torch.ones(50))
        assert torch.equal(torch.rand(2), after)

    def test_nested(self, reentrant):
        def outer(a):
            return C.checkpoint(lambda b: b.sin().exp(), a.cos(), use_reentrant=reentrant).sin()

        gradient(outer, leaf(3), use_reentrant=reentrant)

    def test_several_results_and_others(self, reentrant):
        x = leaf(3)
        a, number, nothing, b = C.checkpoint(
            lambda v, k: (v * k, 5, None, v * v), x, 2, use_reentrant=reentrant
        )
        (a.sum() + b.sum()).backward()
        assert (number, nothing) == (5, None)
        assert torch.allclose(x.grad, 2 + 2 * x.detach())

    def test_parameters_in_the_closure(self, reentrant):
        torch.manual_seed(0)
        module, x = nn.Linear(3, 2), leaf(4, 3)
        C.checkpoint(module, x, use_reentrant=reentrant).sum().backward()
        assert torch.allclose(module.weight.grad[0], x.detach().sum(0))

    def test_twice_with_retain_graph(self, reentrant):
        x = leaf(3)
        y = C.checkpoint(lambda a: a.exp(), x, use_reentrant=reentrant)
        y.sum().backward(retain_graph=True)
        y.sum().backward()
        assert torch.allclose(x.grad, 2 * x.detach().exp())
        with pytest.raises(RuntimeError, match="second time"):
            y.sum().backward()

    def test_without_recording(self, reentrant):
        with torch.no_grad():
            assert not C.checkpoint(torch.exp, leaf(2), use_reentrant=reentrant).requires_grad

    def test_sequential(self, reentrant):
        torch.manual_seed(0)
        layers = nn.Sequential(*[nn.Linear(3, 3) for _ in range(5)])
        x = leaf(2, 3)
        layers(x).sum().backward()
        expected = [p.grad.clone() for p in layers.parameters()]
        layers.zero_grad()
        C.checkpoint_sequential(layers, 2, x, use_reentrant=reentrant).sum().backward()
        assert all(torch.allclose(p.grad, g) for p, g in zip(layers.parameters(), expected, strict=True))


class TestReentrant:
    def test_needs_an_input_with_gradient(self):
        with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
            y = C.checkpoint(torch.exp, torch.ones(2), use_reentrant=True)
        assert not y.requires_grad

    def test_refuses_gradients_of_some_only(self):
        x, w = leaf(3), leaf(3)
        y = C.checkpoint(lambda a: a * w, x, use_reentrant=True).sum()
        with pytest.raises(RuntimeError, match=r"incompatible with .grad\(\)"):
            torch.autograd.grad(y, x)
        y = C.checkpoint(lambda a: a * w, x, use_reentrant=True).sum()
        with pytest.raises(RuntimeError, match="`inputs`"):
            y.backward(inputs=[x])
        assert w.grad is None

    def test_options_of_the_other_kind(self):
        with pytest.raises(ValueError, match="only supported when use_reentrant=False"):
            C.checkpoint(torch.exp, leaf(2), use_reentrant=True, debug=True)
        with pytest.raises(ValueError, match="Unexpected keyword arguments: foo"):
            C.checkpoint(torch.exp, leaf(2), use_reentrant=True, foo=1)

    def test_is_the_default_with_a_warning(self):
        with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
            y = C.checkpoint(torch.exp, leaf(2))
        assert y.grad_fn.name() == "CheckpointFunctionBackward"


class TestPlain:
    def test_gradients_of_some_and_second_derivatives(self):
        x = leaf(3)
        y = C.checkpoint(lambda a: a * a * a, x, use_reentrant=False)
        (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        assert torch.allclose(second, 6 * x.detach())

    def test_keyword_arguments_and_structures(self):
        x = leaf(3)
        C.checkpoint(lambda d, *, k: d["x"] * k, {"x": x}, k=3, use_reentrant=False).sum().backward()
        assert x.grad.tolist() == [3, 3, 3]

    def test_early_stop(self):
        def run(**options):
            reached = []

            def function(a):
                y = a.exp().sin()
                reached.append(1)
                return y + 1

            C.checkpoint(function, leaf(2), use_reentrant=False, **options).sum().backward()
            return len(reached)

        assert run() == 1 and run(early_stop=False) == 2
        with C.set_checkpoint_early_stop(False):
            assert run() == 2
        assert run() == 1

    def test_contexts_of_both_calls(self):
        entered = []

        @contextlib.contextmanager
        def context(name):
            entered.append(name)
            yield

        C.checkpoint(
            torch.exp, leaf(2), use_reentrant=False, context_fn=lambda: (context("first"), context("second"))
        ).sum().backward()
        assert entered == ["first", "second"]

    @staticmethod
    def changing(first, second):
        """A function whose second call differs."""
        calls = []

        def function(a):
            calls.append(1)
            return (first if len(calls) == 1 else second)(a)

        return function

    def test_other_shapes_are_noticed(self):
        function = self.changing(lambda a: a[:3].exp().sum(), lambda a: a[:2].exp().sum())
        y = C.checkpoint(function, leaf(4), use_reentrant=False)
        with pytest.raises(
            C.CheckpointError, match=r"different metadata.*\n.*position 0:\n.*torch.Size\(\[3\]\)"
        ):
            y.backward()

    def test_more_or_fewer_tensors_are_noticed(self):
        function = self.changing(lambda a: a.exp().cos(), lambda a: a.exp().sin().cos())
        y = C.checkpoint(function, leaf(4), use_reentrant=False, early_stop=False)
        with pytest.raises(C.CheckpointError, match="trying to save more tensors during recomputation"):
            y.sum().backward()
        function = self.changing(lambda a: a.exp().sin().cos(), lambda a: a.exp().cos())
        y = C.checkpoint(function, leaf(4), use_reentrant=False)
        with pytest.raises(C.CheckpointError, match="during forward: 3\nNumber.*recomputation: 2"):
            y.sum().backward()

    def test_debug_shows_both_calls(self):
        function = self.changing(lambda a: a.exp().sin(), lambda a: a.exp())
        with C.set_checkpoint_debug_enabled(True):
            y = C.checkpoint(function, leaf(4), use_reentrant=False)
        with pytest.raises(C.CheckpointError, match=r"(?s)original:.*a\.exp\(\).*recomputation:"):
            y.sum().backward()

    def test_unknown_check(self):
        with pytest.raises(ValueError, match="determinism_check should be one of"):
            C.checkpoint(torch.exp, leaf(2), use_reentrant=False, determinism_check="strict")


def test_helpers():
    x = leaf(2)
    detached = C.detach_variable((x, 3, (x * 2)))
    assert detached[0].requires_grad and detached[2].grad_fn is None and detached[1] == 3
    with pytest.raises(RuntimeError, match="Only tuple of tensors"):
        C.detach_variable([x])
    assert C.get_device_states(x) == ([], []) and C.DefaultDeviceType.get_device_type() == "cpu"
