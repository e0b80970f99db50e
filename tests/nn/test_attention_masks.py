"""Masks of attention: fewer dimensions than the scores, one per head where heads are shared."""

import pytest

import flambeau as torch
from flambeau.nn import functional as F


def operands(*lead, heads=2, shared=2):
    torch.manual_seed(0)
    query = torch.randn(*lead, heads, 3, 4, dtype=torch.float64)
    key, value = (torch.randn(*lead, shared, 5, 4, dtype=torch.float64) for _ in range(2))
    return query, key, value


@pytest.mark.parametrize("lead", [(), (2, 1)])
@pytest.mark.parametrize("mask", [torch.tensor(0.5), torch.arange(5.0).double(), torch.arange(5) > 1])
def test_a_mask_for_all_queries(lead, mask):
    given = operands(*lead)
    found = F.scaled_dot_product_attention(*given, attn_mask=mask)
    assert torch.equal(found, F.scaled_dot_product_attention(*given, attn_mask=mask.expand(3, 5)))


def test_gradient_of_a_mask_for_all_queries():
    mask = torch.randn(5, dtype=torch.float64, requires_grad=True)
    attend = lambda m: F.scaled_dot_product_attention(*operands(), attn_mask=m)  # noqa: E731
    assert torch.autograd.gradcheck(attend, (mask,))


def test_a_mask_of_a_batch_of_heads_has_two_dimensions():
    with pytest.raises(IndexError, match="Dimension out of range"):
        F.scaled_dot_product_attention(*operands(1), attn_mask=torch.zeros(5).double())


def test_shared_heads_with_a_mask_per_head_and_causally():
    query, key, value = operands(2, heads=4, shared=2)
    mask = torch.rand(2, 4, 3, 5) > 0.3
    found = F.scaled_dot_product_attention(query, key, value, mask, is_causal=True, enable_gqa=True)
    both = mask & torch.ones(3, 5, dtype=torch.bool).tril()
    key, value = (x.repeat_interleave(2, 1) for x in (key, value))
    torch.testing.assert_close(found, F.scaled_dot_product_attention(query, key, value, both))
