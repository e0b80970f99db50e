"""autograd.graph: nodes and edges seen from Python, hooks on several gradients and on what the graph saves."""

import pytest

import flambeau as torch
from flambeau.autograd import graph


def leaf(*values):
    return torch.tensor(values or (1.0, 2.0), requires_grad=True)


class TestNodes:
    def test_names_and_edges(self):
        x = leaf()
        sine = (x * 2).sin().grad_fn
        (product, number), *others = sine.next_functions
        assert (sine.name(), product.name(), number, others) == ("SinBackward0", "MulBackward0", 0, [])
        accumulate = product.next_functions[0][0]
        assert accumulate.variable is x and accumulate.next_functions == ()
        assert isinstance(sine, graph.Node) and sine.next_functions[0][0] is product

    def test_hooks(self):
        x, seen = leaf(), []
        y = x * 2
        y.grad_fn.register_prehook(lambda grads: (grads[0] * 3,))
        handle = y.grad_fn.register_hook(lambda into, out: seen.append((into[0].tolist(), out[0].tolist())))
        y.sum().backward(retain_graph=True)
        handle.remove()
        y.sum().backward()
        assert seen == [([6, 6], [3, 3])] and x.grad.tolist() == [12, 12]

    def test_gradient_edges(self):
        x = leaf()
        y = x * 2
        z = (y * y).sum()
        edge = graph.get_gradient_edge(y)
        assert edge.node is y.grad_fn and edge.output_nr == 0
        assert torch.autograd.grad(z, edge, retain_graph=True)[0].tolist() == [4, 8]
        torch.autograd.backward(graph.get_gradient_edge(z), inputs=[graph.get_gradient_edge(x)])
        assert x.grad.tolist() == [8, 16]
        with pytest.raises(RuntimeError, match="does not require gradients"):
            graph.get_gradient_edge(torch.ones(2))


class TestMultiGradHook:
    def test_all_waits_for_those_that_take_part(self):
        a, b, c, seen = leaf(), leaf(), leaf(), []
        handle = graph.register_multi_grad_hook(
            (a, b, c), lambda grads: seen.append([None if g is None else g.tolist() for g in grads])
        )
        (a * 2 + b).sum().backward()
        (a + b + c).sum().backward()
        handle.remove()
        a.sum().backward()
        assert seen == [[[2, 2], [1, 1], None], [[1, 1]] * 3]

    def test_results_on_the_way(self):
        a, seen = leaf(), []
        b = a * 2
        graph.register_multi_grad_hook((a, b), seen.append)
        b.sum().backward()
        assert [grad.tolist() for grad in seen[0]] == [[2, 2], [1, 1]] and len(seen) == 1

    def test_any_takes_the_first(self):
        a, b, seen = leaf(), leaf(), []
        with graph.register_multi_grad_hook((a, b), lambda g: seen.append(g.tolist()), mode="any"):
            (a * 2 + b * 2).sum().backward()
            (b * 3).sum().backward()
        (b * 3).sum().backward()
        assert seen == [[2, 2], [3, 3]]

    def test_errors(self):
        with pytest.raises(ValueError, match="mode to be one of"):
            graph.register_multi_grad_hook((leaf(),), print, mode="some")
        with pytest.raises(AssertionError, match="Expected gradient function to be set"):
            graph.register_multi_grad_hook((torch.ones(2),), print)


class TestSavedTensors:
    def test_hooks_see_what_is_saved(self):
        x, packed = leaf(), []

        def pack(tensor):
            packed.append(tensor.detach().clone())
            return len(packed) - 1

        with graph.saved_tensors_hooks(pack, lambda i: packed[i]):
            y = x * x.exp()
        y.sum().backward()
        assert len(packed) == 3
        assert torch.allclose(x.grad, (1 + x.detach()) * x.detach().exp())

    def test_the_innermost_pair_is_taken(self):
        x, seen = leaf(), []
        with graph.saved_tensors_hooks(lambda t: seen.append("outer"), lambda t: t):
            with graph.saved_tensors_hooks(lambda t: seen.append("inner"), lambda t: t):
                x.exp()
            x.exp()
        assert seen == ["inner", "outer"]

    def test_save_on_cpu(self):
        x = leaf()
        with graph.save_on_cpu(pin_memory=True):
            y = x * x
        y.sum().backward()
        assert x.grad.tolist() == [2, 4]

    def test_disabled(self):
        x = leaf()
        with graph.disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"):
            with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
                x.exp()
        with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            x.exp()

    def test_wrong_results(self):
        x = leaf()
        with graph.saved_tensors_hooks(lambda t: 3, lambda i: i):
            y = x.exp()
        with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
            y.sum().backward()


class TestMutation:
    def test_saved_tensors_may_be_written(self):
        x = leaf()
        with graph.allow_mutation_on_saved_tensors():
            y = x.exp()
            z = y * y
            y.zero_()
            z.sum().backward()
        assert torch.allclose(x.grad, 2 * (2 * x.detach()).exp())

    def test_only_inside(self):
        x, factor = leaf(), torch.ones(2)
        with graph.allow_mutation_on_saved_tensors() as context:
            y = x * factor
            assert len(context.cloned) == 1
        with pytest.raises(AssertionError, match="outside of the 'allow_mutation"):
            y.sum().backward()
        with graph.allow_mutation_on_saved_tensors(), pytest.raises(RuntimeError, match="cannot be nested"):
            with graph.allow_mutation_on_saved_tensors():
                pass

    def test_increment_version(self):
        x, y = leaf(), torch.ones(2)
        z = x * y
        graph.increment_version([y])
        assert y._version == 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()
