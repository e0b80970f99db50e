"""Module: registration, attributes, hooks, state dictionaries, printing."""

import copy
import pickle

import pytest

import flambeau as torch
from flambeau import nn


class Scale(nn.Module):
    def __init__(self, size=2):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.register_buffer("offset", torch.zeros(size))

    def forward(self, x):
        return x * self.weight + self.offset

    def extra_repr(self):
        return f"{self.weight.numel()}"


class Tree(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Scale()
        self.b = nn.ModuleList([Scale(), Scale()])

    def forward(self, x):
        for module in (self.a, *self.b):
            x = module(x)
        return x


def test_assignment_registers_in_one_place():
    m = nn.Module()
    m.x = torch.zeros(1)
    assert not list(m.parameters()) and "x" in m.__dict__
    m.x = nn.Parameter(torch.zeros(1))
    assert [name for name, _ in m.named_parameters()] == ["x"] and "x" not in m.__dict__
    with pytest.raises(TypeError, match="as parameter 'x'"):
        m.x = nn.Module()
    del m.x
    m.x = nn.Module()
    assert not list(m.parameters()) and [name for name, _ in m.named_children()] == ["x"]
    del m.x
    assert not hasattr(m, "x")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m: setattr(m, "weight", 3), TypeError, "cannot assign 'int' as parameter 'weight'"),
        (lambda m: setattr(m, "offset", 3), TypeError, "cannot assign 'int' as buffer 'offset'"),
        (lambda m: m.register_buffer("a.b", None), KeyError, "buffer name can't contain"),
        (lambda m: m.register_buffer("weight", None), KeyError, "attribute 'weight' already exists"),
        (lambda m: m.register_parameter("", None), KeyError, "parameter name can't be empty string"),
        (lambda m: m.register_parameter(3, None), TypeError, "parameter name should be a string. Got int"),
        (lambda m: m.add_module("q", 3), TypeError, "int is not a Module subclass"),
        (lambda m: m.nothing, AttributeError, "'Scale' object has no attribute 'nothing'"),
        (lambda m: m.get_submodule("x"), AttributeError, "Scale has no attribute `x`"),
        (lambda m: m.train(3), ValueError, "training mode is expected to be boolean"),
        (lambda m: nn.Module()(1), NotImplementedError, 'missing the required "forward"'),
        (lambda m: nn.Module(1), TypeError, "takes 1 positional argument but 2 were given"),
        (lambda m: m.to(torch.int32), TypeError, "only accepts floating point or complex"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call(Scale())
    assert text in str(caught.value).replace('\\"', '"').replace("\\'", "'")


def test_assignment_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.p = nn.Parameter(torch.zeros(1))

    with pytest.raises(AttributeError, match="cannot assign parameters before Module.__init__"):
        Early()


def test_traversal_names():
    m = Tree()
    assert [n for n, _ in m.named_parameters()] == ["a.weight", "b.0.weight", "b.1.weight"]
    assert [n for n, _ in m.named_buffers()] == ["a.offset", "b.0.offset", "b.1.offset"]
    assert [n for n, _ in m.named_modules()] == ["", "a", "b", "b.0", "b.1"]
    m.b[1] = m.a
    assert [n for n, _ in m.named_parameters()] == ["a.weight", "b.0.weight"]
    assert len(list(m.named_parameters(remove_duplicate=False))) == 3


def test_printing():
    assert repr(Tree()) == ("Tree(\n  (a): Scale(2)\n  (b): ModuleList(\n    (0-1): 2 x Scale(2)\n  )\n)")


def test_train_and_eval_reach_children():
    m = Tree().eval()
    assert not any(module.training for module in m.modules())
    assert all(module.training for module in m.train().modules())


def test_state_dict_round_trip():
    source, target = Tree(), Tree()
    with torch.no_grad():
        source.a.weight.fill_(3)
    result = target.load_state_dict(source.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert target.a.weight.tolist() == [3, 3]
    assert source.state_dict()._metadata["b.0"] == {"version": 1}


def test_state_dict_errors_name_every_key():
    state = Tree().state_dict()
    del state["a.weight"]
    state["z.y"] = torch.zeros(1)
    state["b.0.weight"] = torch.zeros(5)
    with pytest.raises(RuntimeError) as caught:
        Tree().load_state_dict(state)
    text = str(caught.value)
    assert text.startswith("Error(s) in loading state_dict for Tree:\n\t")
    assert 'Missing key(s) in state_dict: "a.weight". ' in text
    assert 'Unexpected key(s) in state_dict: "z.y". ' in text
    assert (
        "size mismatch for b.0.weight: copying a param with shape torch.Size([5]) from checkpoint, "
        "the shape in current model is torch.Size([2])." in text
    )


def test_load_with_assign_takes_the_tensors():
    m, value = Scale(), torch.full((2,), 7.0)
    m.load_state_dict({"weight": value, "offset": torch.ones(2)}, assign=True)
    assert m.weight.data_ptr() == value.data_ptr() and isinstance(m.weight, nn.Parameter)


def test_state_dict_hooks():
    m, seen = Scale(), []
    m.register_state_dict_pre_hook(lambda module, prefix, keep: seen.append("pre"))
    m.register_state_dict_post_hook(lambda module, state, prefix, meta: state.popitem() and None)
    assert list(m.state_dict()) == ["weight"] and seen == ["pre"]
    m.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    m.load_state_dict({"weight": torch.zeros(2)})


def test_extra_state():
    class Extra(Scale):
        def get_extra_state(self):
            return {"n": 3}

        def set_extra_state(self, state):
            self.n = state["n"]

    m = Extra()
    assert m.state_dict()["_extra_state"] == {"n": 3}
    m.load_state_dict(m.state_dict())
    assert m.n == 3


def test_forward_hooks():
    m, order = Scale(), []
    m.register_forward_pre_hook(lambda module, args: order.append("pre") or (args[0] * 2,))
    m.register_forward_pre_hook(lambda module, args: order.append("first") and None, prepend=True)
    handle = m.register_forward_hook(lambda module, args, out: out + 1)
    assert m(torch.ones(2)).tolist() == [3, 3]
    assert order == ["first", "pre"]
    handle.remove()
    assert m(torch.ones(2)).tolist() == [2, 2]


def test_forward_hooks_with_kwargs():
    class Add(nn.Module):
        def forward(self, x, *, y):
            return x + y

    m = Add()
    m.register_forward_pre_hook(lambda module, args, kwargs: (args, {"y": 5}), with_kwargs=True)
    m.register_forward_hook(lambda module, args, kwargs, out: out * kwargs["y"], with_kwargs=True)
    assert m(torch.ones(1), y=1).item() == 30


def test_always_called_hook_runs_after_an_error():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    m, seen = Broken(), []
    m.register_forward_hook(lambda module, args, out: seen.append(out), always_call=True)
    with pytest.raises(ValueError, match="no"):
        m(1)
    assert seen == [None]


def test_full_backward_hooks():
    m, seen = Scale(), []
    m.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 10,))
    m.register_full_backward_hook(
        lambda module, gi, go: seen.append((gi[0].tolist(), go[0].tolist())) and None
    )
    x = torch.ones(2, requires_grad=True)
    m(x).sum().backward()
    assert seen == [([10, 10], [10, 10])]
    assert x.grad.tolist() == [10, 10]


def test_full_backward_hooks_of_inputs_without_gradient_run_with_a_warning():
    m, seen = nn.Linear(2, 1), []
    m.register_full_backward_hook(lambda module, gi, go: seen.append((gi, go[0].tolist())))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        m(torch.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[1.0]])]


def test_full_backward_hook_replaces_the_gradient():
    m = Scale()
    m.register_full_backward_hook(lambda module, gi, go: (gi[0] * 3,))
    x = torch.ones(2, requires_grad=True)
    m(x).sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_global_hooks():
    from flambeau.nn.modules.module import register_module_forward_hook

    seen = []
    with register_module_forward_hook(lambda module, args, out: seen.append(type(module).__name__)):
        Tree()(torch.ones(2))
    Tree()(torch.ones(2))
    assert seen == ["Scale", "Scale", "Scale", "Tree"]


def test_error_carries_the_module_path():
    m = nn.Sequential(Tree(), Scale())
    with pytest.raises(Exception) as caught:
        m(torch.ones(3))
    (note,) = caught.value.__notes__
    assert note == "raised in module '0.a' of Sequential: Scale(2)"


def test_to_keeps_parameter_objects():
    m = Tree()
    before = list(m.parameters())
    m.double()
    assert all(a is b for a, b in zip(before, m.parameters(), strict=True))
    assert m.a.weight.dtype == torch.float64 and m.a.offset.dtype == torch.float64


def test_meta_and_to_empty():
    m = Scale().to("meta")
    assert m.weight.is_meta and isinstance(m.weight, nn.Parameter)
    assert not m.to_empty(device="cpu").weight.is_meta


def test_deepcopy_and_pickle():
    m = Tree()
    for twin in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert repr(twin) == repr(m)
        assert twin.a.weight is not m.a.weight and isinstance(twin.a.weight, nn.Parameter)


def test_parameter_and_buffer():
    p = nn.Parameter(torch.zeros(2))
    assert repr(p) == "Parameter containing:\ntensor([0., 0.], requires_grad=True)"
    assert isinstance(p, nn.Parameter) and isinstance(p, torch.Tensor)
    m = nn.Module()
    m.b = nn.Buffer(torch.zeros(2), persistent=False)
    assert list(dict(m.named_buffers())) == ["b"] and not m.state_dict()


def test_zero_grad():
    m = Scale()
    m(torch.ones(2)).sum().backward()
    m.zero_grad(set_to_none=False)
    assert m.weight.grad.tolist() == [0, 0]
    m.zero_grad()
    assert m.weight.grad is None


def test_a_subclass_with_its_own_getattr_is_asked_for_parameters_buffers_and_modules():
    asked = []

    class Curious(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.layer = nn.Parameter(torch.ones(1)), nn.Linear(1, 1)
            self.register_buffer("count", torch.zeros(1))
            self.plain = 3

        def __getattr__(self, name):
            asked.append(name)
            return "answer" if name == "nothing" else super().__getattr__(name)

    module = Curious()
    asked.clear()
    assert module.weight is module._parameters["weight"] and module.layer is module._modules["layer"]
    assert module.count is module._buffers["count"] and module.plain == 3 and module.nothing == "answer"
    assert asked == ["weight", "layer", "count", "nothing"]
    with pytest.raises(AttributeError, match="'Curious' object has no attribute 'missing'"):
        module.missing  # noqa: B018


def test_objects_that_answer_for_operators_are_loaded_when_they_are_copied():
    class Later:
        """Stands for a tensor in a file."""

        shape = torch.Size([2, 3])
        asked = 0

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.asked += 1
            return func(
                *(torch.ones(2, 3) if isinstance(arg, cls) else arg for arg in args), **(kwargs or {})
            )

    layer = torch.nn.Linear(3, 2, bias=False)
    layer.load_state_dict({"weight": Later()})
    assert (layer.weight == 1).all() and Later.asked == 1
    with pytest.raises(RuntimeError, match="Tensor-like object"):
        layer.load_state_dict({"weight": [[1.0, 2.0, 3.0]] * 2})
