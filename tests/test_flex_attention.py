"""Attention with functions for scores and masks, against attention with the mask or bias written out."""

import math

import pytest

import flambeau
from flambeau import nn
from flambeau.nn.attention import flex_attention as flex
from flambeau.testing import assert_close


def causal(b, h, q, kv):
    return q >= kv


def near(b, h, q, kv):
    return (q - kv).abs() < 3


def inputs(heads=2):
    flambeau.manual_seed(0)
    shapes = ((2, 2, 9, 8), (2, heads, 11, 8), (2, heads, 11, 8))
    return [flambeau.randn(*shape, dtype=flambeau.float64, requires_grad=True) for shape in shapes]


def test_masks():
    mask = flex.create_mask(flex.and_masks(causal, near), None, None, 4, 5)
    expected = flambeau.ones(4, 5, dtype=flambeau.bool).tril() & flambeau.ones(
        4, 5, dtype=flambeau.bool
    ).triu(-2)
    assert flambeau.equal(mask[0, 0], expected) and mask.shape == (1, 1, 4, 5)
    either = flex.create_mask(flex.or_masks(causal, near), 2, 3, 4, 5)
    assert either.shape == (2, 3, 4, 5) and either[1, 2, 0].tolist() == [True, True, True, False, False]


def test_blocks():
    mask = flex.create_block_mask(causal, None, None, 8, 8, BLOCK_SIZE=4)
    assert mask.shape == (1, 1, 8, 8) and mask.BLOCK_SIZE == (4, 4)
    assert mask.kv_num_blocks.tolist() == [[[1, 1]]] and mask.full_kv_num_blocks.tolist() == [[[0, 1]]]
    assert mask.kv_indices.tolist() == [[[[0, 1], [1, 0]]]] and mask.full_kv_indices[0, 0, 1, 0] == 0
    assert mask.to_dense().tolist() == [[[[1, 0], [1, 1]]]] and math.isclose(mask.sparsity(), 25.0)
    assert mask[:, :, 1].to_dense().tolist() == [[[[1, 1]]]]


@pytest.mark.parametrize("block", (4, 128))
def test_masked_attention_and_its_gradients(block):
    query, key, value = inputs()
    mask = flex.create_block_mask(flex.and_masks(causal, near), None, None, 9, 11, BLOCK_SIZE=block)
    written = flex.create_mask(flex.and_masks(causal, near), None, None, 9, 11)
    found = flex.flex_attention(query, key, value, block_mask=mask)
    expected = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=written)
    assert_close(found, expected)
    weights = flambeau.randn_like(found)
    for got, want in zip(
        *(flambeau.autograd.grad((each * weights).sum(), (query, key, value)) for each in (found, expected)),
        strict=True,
    ):
        assert_close(got, want)


def test_scores_and_groups_of_heads():
    query, key, value = inputs(heads=1)
    slopes = flambeau.tensor([0.5, 0.25], dtype=flambeau.float64)

    def bias(score, b, h, q, kv):
        return score + slopes[h] * (kv - q)

    found = flex.flex_attention(query, key, value, score_mod=bias, enable_gqa=True)
    written = slopes[:, None, None] * (flambeau.arange(11) - flambeau.arange(9)[:, None])
    heads = [t.repeat_interleave(2, 1) for t in (key, value)]
    assert_close(found, nn.functional.scaled_dot_product_attention(query, *heads, attn_mask=written))
    with pytest.raises(ValueError, match="enable_gqa=True"):
        flex.flex_attention(query, key, value)


def test_queries_that_see_nothing_give_zeros():
    query, key, value = inputs()
    mask = flex.create_block_mask(lambda b, h, q, kv: q > kv, None, None, 9, 11)
    found, aux = flex.flex_attention(
        query, key, value, block_mask=mask, return_aux=flex.AuxRequest(lse=True, max_scores=True)
    )
    assert flambeau.equal(found[:, :, 0], flambeau.zeros(2, 2, 8, dtype=flambeau.float64))
    assert (aux.lse[:, :, 0] == -math.inf).all() and (aux.max_scores <= aux.lse).all()
