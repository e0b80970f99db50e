"""nn.attention.bias."""

import pytest

import flambeau as torch
from flambeau.nn.attention import bias
from flambeau.nn.functional import scaled_dot_product_attention


@pytest.mark.parametrize("make", [bias.causal_upper_left, bias.causal_lower_right])
def test_is_a_mask(make):
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)
    mask = make(3, 5)
    offset = 2 if make is bias.causal_lower_right else 0
    rows = [[column <= row + offset for column in range(5)] for row in range(3)]
    assert mask.tolist() == rows and (mask.seq_len_q, mask.seq_len_kv) == (3, 5)
    result = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    expected = scaled_dot_product_attention(query, key, value, attn_mask=torch.tensor(rows))
    assert torch.equal(result, expected) and type(result) is torch.Tensor
    assert type(mask._materialize()) is torch.Tensor


def test_upper_left_is_is_causal():
    x = torch.randn(1, 1, 4, 4)
    mask = bias.causal_upper_left(4, 4)
    assert torch.allclose(
        scaled_dot_product_attention(x, x, x, attn_mask=mask),
        scaled_dot_product_attention(x, x, x, is_causal=True),
        atol=1e-6,
    )


def test_refusals():
    with pytest.warns(UserWarning, match="will produce NaNs"):
        bias.causal_lower_right(4, 2)
    with pytest.raises(AssertionError, match="only supports 2D"):
        bias.causal_upper_left(1, 2, 3)
