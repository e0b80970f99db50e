"""NumPy's names of parameters, `axis` and `keepdims`, in operators of either kind."""

import pytest

import flambeau as t

x = t.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "name", ["sum", "logsumexp", "nanmean", "amax", "softmax", "chunk", "diff", "unsqueeze"]
)
def test_axis(name):
    first = {"chunk": (2,)}.get(name, ())
    own, numpy = getattr(t, name)(x, *first, dim=1), getattr(x, name)(*first, axis=1)
    own, numpy = (own, numpy) if isinstance(own, tuple) else ((own,), (numpy,))
    assert [p.tolist() for p in own] == [p.tolist() for p in numpy]


def test_keepdims_and_both_names_at_once():
    assert t.logsumexp(x, axis=1, keepdims=True).shape == (2, 1)
    for call in (t.logsumexp, t.sum):
        with pytest.raises(TypeError):
            call(x, dim=0, axis=1)
        with pytest.raises(TypeError):
            call(x, 0, axis=1)
