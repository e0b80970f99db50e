"""Every derivative rule against finite differences, first and second derivatives, walked from the table of operators."""

import gradient_samples as samples
import pytest

import flambeau as torch
from flambeau._ops.registry import inplace_records, records
from flambeau.autograd import gradcheck, gradgradcheck

differentiable = {name: record for name, record in records.items() if record.vjp is not None}


def leaves(value):
    """Tensors that require a gradient, in the order of the arguments."""
    if isinstance(value, torch.Tensor):
        return [value] if value.requires_grad else []
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in leaves(v)]
    return []


def replaced(value, tensors):
    """The value with its leaves taken from an iterator instead."""
    if isinstance(value, torch.Tensor):
        return next(tensors) if value.requires_grad else value
    if isinstance(value, (list, tuple)):
        return type(value)(replaced(v, tensors) for v in value)
    return value


def function_of(op, call, writes, first):
    """The operator as a function of its leaves alone; an in-place one works on a copy."""

    def function(*tensors):
        args = list(replaced(call.args, iter(tensors)))
        if writes:
            args[0] = args[0].clone()
        result = op(*args, **call.kwargs)
        return result[0] if first else result

    return function


def check(op, call, writes, first=False):
    function, tensors = function_of(op, call, writes, first), tuple(leaves(call.args))
    assert gradcheck(function, tensors)
    assert gradgradcheck(function, tensors, fast_mode=True)


@pytest.mark.parametrize(
    "name", [n for n in differentiable if n not in samples.RANDOM.keys() | samples.CHECKED_ELSEWHERE.keys()]
)
def test_derivatives(name):
    record = differentiable[name]
    for call in samples.calls(name, record):
        check(
            record.op, call, writes=name.partition(".")[0].endswith("_"), first=name in samples.FIRST_OUTPUT
        )


@pytest.mark.parametrize("native", list(inplace_records))
def test_derivatives_of_in_place_forms(native):
    base, dot, overload = native.partition(".")
    name = base[:-1] + dot + overload
    if name not in differentiable or name in samples.RANDOM:
        assert inplace_records[native] is not None
        return
    call = samples.calls(name, differentiable[name])[0]
    check(inplace_records[native], call, writes=True)


@pytest.mark.parametrize("name", sorted(samples.RANDOM))
def test_what_is_drawn_has_gradient_zero(name):
    args = samples.RANDOM[name]()
    inputs = leaves(args)
    if name.partition(".")[0].endswith("_"):
        args = (args[0].clone(), *args[1:])
    records[name].op(*args).sum().backward()
    assert all(t.grad is None or not t.grad.any() for t in inputs)


def test_every_rule_has_arguments_or_a_reason():
    for name, record in differentiable.items():
        if name not in samples.RANDOM and name not in samples.CHECKED_ELSEWHERE:
            assert all(leaves(c.args) for c in samples.calls(name, record)), name
    for name, record in records.items():
        if record.vjp is None and not record.why_not and record.kind != "bool":
            maps_tensors = "Tensor" in record.signature.partition("->")[2] and any(
                "Tensor" in kind for kind, _ in samples.parameters(record.signature)
            )
            assert not maps_tensors or name in samples.WITHOUT_RULE, (
                f"{name}: write a rule, or say why there is none"
            )
    assert samples.WITHOUT_RULE.keys() <= records.keys(), samples.WITHOUT_RULE.keys() - records.keys()
    listed = (
        samples.SAMPLES.keys()
        | samples.RANDOM.keys()
        | samples.CHECKED_ELSEWHERE.keys()
        | samples.DOMAINS.keys()
    )
    assert listed <= differentiable.keys(), listed - differentiable.keys()
