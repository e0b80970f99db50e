"""Modes that answer in the place of operators, and what is made of them: counting operations, selective checkpoints."""

import gc
import threading
from functools import partial

import pytest

import flambeau as torch
from flambeau.overrides import TorchFunctionMode
from flambeau.utils._python_dispatch import TorchDispatchMode
from flambeau.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from flambeau.utils.flop_counter import FlopCounterMode, register_flop_formula

aten = torch.ops.aten


class Log(TorchDispatchMode):
    def __init__(self):
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


# ---- modes


def test_operators_of_forward_and_backward_come_by():
    x = torch.ones(2, requires_grad=True)
    with Log() as log:
        (x.exp() * 3).sum().backward()
    assert log.seen[:3] == ["aten.exp.default", "aten.mul.Tensor", "aten.sum.default"]
    assert log.seen.count("aten.mul.Tensor") == 3
    assert torch.equal(x.grad, 3 * torch.ones(2).exp())


def test_a_mode_sees_the_arguments_without_defaults_and_may_answer_itself():
    class Answers(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is aten.sum.default:
                return (args, kwargs)
            return func(*args, **kwargs)

    x = torch.ones(2, 3)
    with Answers():
        assert x.sum() == ((x,), {})
        assert x.sum(1, True, dtype=torch.float64) == ((x, 1, True), {"dtype": torch.float64})
        assert x.max(1).values.tolist() == [1, 1]
    assert x.sum().item() == 6


def test_modes_nest_and_the_inner_one_is_asked_first():
    order = []

    class Named(TorchDispatchMode):
        def __init__(self, name):
            self.name = name

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            order.append(self.name)
            if self.name == "inner":
                with Log() as log:  # entered while a mode answers
                    torch.zeros(1)
                assert log.seen == ["aten.zeros.default"]
                order.append("|")
            return func(*args, **kwargs)

    with Named("outer"), Named("inner"):
        torch.ones(1)
    assert order == ["inner", "outer", "|", "outer"]


def test_an_exception_leaves_the_modes_as_they_were():
    class Fails(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            raise KeyError(str(func))

    with Log() as log:
        with Fails(), pytest.raises(KeyError, match="aten.ones.default"):
            torch.ones(1)
        torch.ones(1)
    assert log.seen == ["aten.ones.default"]
    torch.ones(1)
    assert log.seen == ["aten.ones.default"]
    with pytest.raises(RuntimeError, match="no mode is entered"):
        torch._C._pop_mode()
    with pytest.raises(TypeError, match="callable"):
        torch._C._push_mode(3)


def test_modes_belong_to_a_thread_and_meet_transforms_and_autocast():
    with Log() as log:
        thread = threading.Thread(target=lambda: torch.ones(1))
        thread.start()
        thread.join()
        assert log.seen == []
        torch.func.vmap(lambda x: x.exp())(torch.ones(3, 2))
        assert "aten.exp.default" in log.seen
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_an_object_that_answers_for_operators_is_asked_even_if_it_is_a_number_too():
    class Wrapper:
        def __index__(self):
            raise TypeError("no number at present")

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func.__name__

    x = torch.ones(2)
    assert x * Wrapper() == torch.mul(x, Wrapper()) == x.mul(Wrapper()) == "mul"


def test_function_modes():
    class Doubles(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            return result * 2 if func is torch.add else result

    with Doubles():
        assert (torch.ones(1) + 1).item() == 4
    assert (torch.ones(1) + 1).item() == 2


def test_a_given_result_is_recorded():
    x = torch.ones(2, requires_grad=True)
    y = torch._C._call_with_result(torch.exp, (x,), {}, torch.full((2,), 5.0))
    y.sum().backward()
    assert y.tolist() == [5, 5] and x.grad.tolist() == [5, 5]  # the rule of exp takes its result
    for op, args, result in ((torch.exp, (x,), 3), (torch.t, (x,), x), (torch.linalg.qr, (x,), (x,))):
        with pytest.raises(RuntimeError, match="can be given"):
            torch._C._call_with_result(op, args, {}, result)
    assert torch.ones(1).exp().item() == pytest.approx(2.71828, 1e-5)


# ---- counting operations


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, stride=2)
        )
        self.head = torch.nn.Linear(8 * 49, 10)
        self.up = torch.nn.ConvTranspose2d(8, 4, 2, stride=2)

    def forward(self, x):
        h = self.body(x)
        up = self.up(h)
        return self.head(h.flatten(1)).sum() + up.sum()


def test_operations_by_module_and_operator():
    net, x = Net(), torch.ones(2, 3, 16, 16)
    with FlopCounterMode(display=False) as counter:
        net(x)
    first, second = 2 * 2 * 256 * 8 * 27, 2 * 2 * 49 * 8 * 72
    head, up = 2 * 2 * 392 * 10, 2 * 2 * 49 * 8 * 4 * 4
    assert counter.get_total_flops() == first + second + head + up
    with FlopCounterMode(display=False) as counter:
        net(x).backward()
    # PyTorch counts the same; the input needs no gradient.
    assert counter.get_total_flops() == 2 * first + 3 * (second + head + up) == 903360
    by_module = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    assert by_module["Net.body.0"] == 2 * first and by_module["Net.body.2"] == 3 * second
    assert by_module["Net.head"] == 3 * head and by_module["Net.up"] == 3 * up


def test_products_and_attention(capsys):
    q = torch.ones(2, 4, 16, 8, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.scaled_dot_product_attention(q, q, q).sum().backward()
    assert counter.get_total_flops() == 65536 + 163840
    a = torch.ones(3, 4, 5)
    with FlopCounterMode() as counter:
        a.bmm(a.mT)
        torch.addmm(torch.ones(4, 4), a[0], a[0].t())
        torch.matmul(a, a[0].t())
    assert counter.get_total_flops() == 2 * 80 * 7
    shown = capsys.readouterr().out
    assert "aten.bmm" in shown and "Global" in shown and "100.00%" in shown


def test_formulas_of_ones_own():
    def weigh(x, *, out_shape=None):
        return 7 * x[0]

    with FlopCounterMode(display=False, custom_mapping={aten.exp: weigh}) as counter:
        torch.ones(3).exp()
    assert counter.get_total_flops() == 21
    register_flop_formula(aten.erfinv.default, get_raw=True)(
        lambda x, out_val=None: x.numel() + out_val.numel()
    )
    with FlopCounterMode(display=False) as counter:
        torch.zeros(3).erfinv()
    assert counter.get_total_flops() == 6


# ---- selective checkpoints


def wave(x, w):
    return (x @ w).sin().exp()


def contexts(policy, **options):
    return {
        "use_reentrant": False,
        "context_fn": partial(create_selective_checkpoint_contexts, policy, **options),
    }


@pytest.mark.parametrize(
    "policy",
    [[aten.matmul.default], lambda *_, **__: True, lambda *_, **__: CheckpointPolicy.MUST_RECOMPUTE],
)
def test_gradients_are_those_without(policy):
    torch.manual_seed(0)
    x, w = (torch.rand(4, 4, requires_grad=True) for _ in range(2))
    expected = torch.autograd.grad(wave(x, w).sum(), (x, w))
    found = torch.autograd.grad(checkpoint(wave, x, w, **contexts(policy)).sum(), (x, w))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_what_is_kept_does_not_run_again():
    asked, ran = [], []

    class Runs(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            ran.append(str(func))
            return func(*args, **kwargs)

    def policy(context, op, *args, **kwargs):
        asked.append((context.is_recompute, str(op)))
        return CheckpointPolicy.MUST_SAVE if op is aten.matmul.default else CheckpointPolicy.PREFER_RECOMPUTE

    x, w = (torch.rand(4, 4, requires_grad=True) for _ in range(2))
    y = checkpoint(wave, x, w, **contexts(policy)).sum()
    assert asked == [(False, "aten.matmul.default"), (False, "aten.sin.default"), (False, "aten.exp.default")]
    before = len(asked)
    with Runs():
        y.backward()
    assert len(asked) == before and ran.count("aten.sin.default") == 1
    assert (
        ran.count("aten.matmul.default") + ran.count("aten.mm.default") == 2
    )  # the two gradients, and not the product


def test_operators_with_several_results_and_layers_with_dropout():
    q = torch.rand(2, 3, 4, 5, requires_grad=True)

    def attend(q):
        return torch.nn.functional.scaled_dot_product_attention(q, q, q).sin()

    expected = torch.autograd.grad(attend(q).sum(), q)[0]
    found = torch.autograd.grad(checkpoint(attend, q, **contexts(lambda *_, **__: True)).sum(), q)[0]
    assert torch.equal(expected, found)
    layer, x = (
        torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        torch.rand(2, 3, 8, requires_grad=True),
    )
    torch.manual_seed(1)
    expected = torch.autograd.grad(layer(x).sum(), x)[0]
    torch.manual_seed(1)
    found = torch.autograd.grad(checkpoint(layer, x, **contexts([aten.linear.default])).sum(), x)[0]
    assert torch.equal(expected, found)


def test_misuse_of_selective_checkpoints():
    x, w = (torch.rand(4, 4, requires_grad=True) for _ in range(2))
    with pytest.raises(TypeError, match="either a function or a list of ops"):
        create_selective_checkpoint_contexts(3)
    with pytest.raises(ValueError, match="Expected op in `op_list` to be an OpOverload"):
        create_selective_checkpoint_contexts([torch.mm])
    y = checkpoint(wave, x, w, **contexts([aten.matmul.default])).sum()
    y.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="Trying to backward an extra time"):
        y.backward()

    def writes(x, w):
        h = x @ w
        h.add_(1)
        return h.sin()

    y = checkpoint(writes, x, w, **contexts([aten.matmul.default])).sum()
    with pytest.raises(RuntimeError, match="has been mutated"):
        y.backward()


def test_nothing_is_kept_after_backward():
    x = torch.rand(1 << 16, requires_grad=True)
    y = checkpoint(lambda x: x.sin().exp(), x, **contexts(lambda *_, **__: True)).sum()
    held = torch._C._memory_stats()["in_use"]
    y.backward()
    del y
    gc.collect()
    assert torch._C._memory_stats()["in_use"] < held
