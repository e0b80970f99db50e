"""State dictionaries by the names of parameters: what is in them, and that they can be loaded under other wrappers."""

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)


def trained(seed, reversed_groups=False):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    groups = [
        {"params": list(model[0].parameters()), "lr": 0.1},
        {"params": list(model[1].parameters()), "lr": 0.2},
    ]
    optimizer = torch.optim.AdamW(groups[::-1] if reversed_groups else groups)
    model(torch.randn(4, 2)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def test_names_are_the_plain_models():
    model, optimizer = trained(0)
    wrapped = nn.DataParallel(model)
    assert list(get_model_state_dict(wrapped)) == list(model.state_dict())
    state = get_optimizer_state_dict(wrapped, optimizer)
    assert list(state["state"]) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert [group["params"] for group in state["param_groups"]] == [
        ["0.weight", "0.bias"],
        ["1.weight", "1.bias"],
    ]
    assert state["state"]["0.bias"]["exp_avg"].equal(optimizer.state[model[0].bias]["exp_avg"])


@pytest.mark.parametrize("flat", (False, True))
def test_states_are_loaded_by_name(flat):
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    model, optimizer = trained(0)
    states = get_state_dict(model, optimizer, options=options)
    assert ("state.1.bias.exp_avg" in states[1]) is flat and ("param_groups.0.bias.lr" in states[1]) is flat
    other, its = trained(1, reversed_groups=True)
    kept = set_state_dict(
        nn.DataParallel(other), its, model_state_dict=states[0], optim_state_dict=states[1], options=options
    )
    assert not kept.missing_keys and not kept.unexpected_keys
    assert all(a.equal(b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert [group["lr"] for group in its.param_groups] == [0.2, 0.1]
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert (
            its.state[b]["exp_avg_sq"].equal(optimizer.state[a]["exp_avg_sq"]) and its.state[b]["step"] == 1
        )


def test_what_options_leave_out():
    model, optimizer = trained(0)
    model[0].weight.requires_grad_(False)
    options = StateDictOptions(ignore_frozen_params=True)
    assert "0.weight" not in get_model_state_dict(model, options=options)
    assert "0.weight" not in get_optimizer_state_dict(model, optimizer, options=options)["state"]
    some = get_model_state_dict(model, submodules={model[1]})
    bare = get_model_state_dict(
        model, submodules={model[1]}, options=StateDictOptions(keep_submodule_prefixes=False)
    )
    assert [f"1.{name}" for name in bare] == list(some) and "running_mean" in bare
    assert list(get_optimizer_state_dict(model, optimizer, submodules={model[1]})["state"]) == [
        "1.weight",
        "1.bias",
    ]


def test_settings_of_spread_weights_are_data():
    from flambeau.distributed import fsdp

    assert fsdp.ShardingStrategy.NO_SHARD.value == 3 and fsdp.StateDictType(1).name == "FULL_STATE_DICT"
    assert fsdp.FullOptimStateDictConfig(rank0_only=True).offload_to_cpu
    assert (
        fsdp.MixedPrecision(torch.bfloat16).param_dtype is torch.bfloat16
        and fsdp.MixedPrecision() == fsdp.MixedPrecision()
    )
    with pytest.raises(NotImplementedError, match="flambeau"):
        fsdp.FullyShardedDataParallel(nn.Linear(1, 1), sharding_strategy=fsdp.ShardingStrategy.FULL_SHARD)


def test_policies_say_which_modules_are_worth_spreading():
    import functools

    from flambeau.distributed.fsdp import wrap

    layer, attention, several = nn.Linear(2, 2), nn.MultiheadAttention(4, 2), nn.ModuleList()
    by_size = functools.partial(wrap.size_based_auto_wrap_policy, min_num_params=10)
    assert by_size(layer, False, 10) and not by_size(layer, False, 9)
    assert not by_size(attention, True, 10) and by_size(attention, False, 10)
    assert by_size(several, True, 10) and not by_size(several, False, 10)
    by_class = wrap.ModuleWrapPolicy([nn.Linear])
    assert by_class(several, True) and by_class(layer, False) and not by_class(attention, False)
    by_name = functools.partial(wrap.lambda_auto_wrap_policy, lambda_fn=lambda module: module is attention)
    either = functools.partial(wrap._or_policy, policies=[by_name, by_class])
    assert [either(m, False, 1) for m in (layer, attention, several)] == [True, True, False]


def test_missing_names_are_told():
    model, optimizer = trained(0)
    with pytest.raises(RuntimeError, match="Missing key"):
        set_model_state_dict(model, {})
    found = set_model_state_dict(model, {}, options=StateDictOptions(strict=False))
    assert "0.weight" in found.missing_keys
    with pytest.raises(RuntimeError, match="0.weight, 0.bias"):
        set_optimizer_state_dict(model, optimizer, {"state": {}, "param_groups": []})
