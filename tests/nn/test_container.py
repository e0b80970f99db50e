"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from collections import OrderedDict

import pytest

import flambeau as torch
from flambeau import nn


def names(module):
    return [type(child).__name__ for child in module]


def test_sequential_like_a_list():
    s = nn.Sequential(nn.ReLU(), nn.Tanh())
    assert names(s.append(nn.GELU())) == ["ReLU", "Tanh", "GELU"]
    assert names(s[1:]) == ["Tanh", "GELU"] and isinstance(s[1:], nn.Sequential)
    assert names(s.insert(0, nn.Identity())) == ["Identity", "ReLU", "Tanh", "GELU"]
    assert type(s.pop(0)).__name__ == "Identity" and list(s._modules) == ["0", "1", "2"]
    del s[-1]
    assert names(s + nn.Sequential(nn.GELU())) == ["ReLU", "Tanh", "GELU"]
    assert names(s * 2) == ["ReLU", "Tanh"] * 2
    s[0] = nn.ELU()
    assert names(s) == ["ELU", "Tanh"]
    with pytest.raises(IndexError, match="index 7 is out of range"):
        s[7]
    with pytest.raises(ValueError, match="add operator supports only objects of Sequential"):
        s + 3


def test_sequential_from_an_ordered_dict():
    s = nn.Sequential(OrderedDict([("first", nn.ReLU()), ("second", nn.Tanh())]))
    assert type(s.second).__name__ == "Tanh"
    assert s(torch.tensor([-1.0])).tolist() == [0]


def test_module_list():
    items = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])
    assert repr(items) == "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)"
    items.extend([nn.GELU()])
    items.insert(1, nn.ELU())
    assert names(items) == ["ReLU", "ELU", "ReLU", "Tanh", "GELU"]
    del items[0]
    assert names(items[-2:]) == ["Tanh", "GELU"]
    with pytest.raises(TypeError, match="should be called with an iterable"):
        items.extend(3)


def test_module_dict():
    d = nn.ModuleDict({"a": nn.ReLU()})
    d.update([("b", nn.Tanh())])
    assert list(d) == ["a", "b"] and "a" in d and len(d) == 2
    assert repr(d) == "ModuleDict(\n  (a): ReLU()\n  (b): Tanh()\n)"
    assert type(d.pop("a")).__name__ == "ReLU"
    with pytest.raises(ValueError, match="has length 3; 2 is required"):
        d.update([(1, 2, 3)])


def test_parameter_list():
    p = nn.ParameterList([nn.Parameter(torch.zeros(2)), torch.ones(1), 3])
    assert isinstance(p[1], nn.Parameter) and list(p.state_dict()) == ["0", "1"]
    assert repr(p) == (
        "ParameterList(\n    (0): Parameter containing: [torch.float32 of size 2]\n"
        "    (1): Parameter containing: [torch.float32 of size 1]\n    (2): Object of type: int\n)"
    )
    assert len(p[0:2]) == 2


def test_parameter_dict():
    p = nn.ParameterDict({"b": torch.zeros(2), "a": 3})
    assert list(p) == ["a", "b"] and isinstance(p["b"], nn.Parameter)
    p["c"] = torch.ones(1)
    assert p.popitem()[0] == "c" and "c" not in p
    assert p.setdefault("k") is None and p.get("zz", 4) == 4
    assert list((p | {"z": torch.ones(1)}).keys()) == ["a", "b", "k", "z"]
