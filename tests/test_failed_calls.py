"""A call that fails leaves its operands as they were, `out=` included; and `out=` may lie where nothing is read."""

import math

import pytest

import flambeau as t


def fails(error, pattern, call, *untouched):
    """`call` raises, and the tensors keep shape and values."""
    before = [(x, x.shape, x.stride(), x.tolist()) for x in untouched]
    with pytest.raises(error, match=pattern):
        call()
    for x, shape, stride, values in before:
        assert x.shape == shape and x.stride() == stride and x.tolist() == values


def test_cat_into_one_of_its_inputs():
    empty, x = t.zeros(0), t.arange(8.0)
    overlap = "some elements of the input tensor and the written-to tensor refer to a single memory location"
    fails(RuntimeError, overlap, lambda: t.cat([empty, t.ones(2, 3)], out=empty), empty)
    fails(RuntimeError, overlap, lambda: t.cat([x[:2], x[2:4]], out=x[:4]), x)
    fails(RuntimeError, overlap, lambda: t.cat([x[:2], x[2:4]], out=x[1:5]), x)
    # An empty destination that would grow over an input.
    fails(RuntimeError, overlap, lambda: t.cat([x[:2], x[2:4]], out=x[0:0]), x)
    # The same memory, but not where it is read.
    assert t.cat([x[:2], x[2:4]], out=x[4:]).tolist() == [0, 1, 2, 3]
    assert x.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_stack_into_one_of_its_inputs():
    overlap = "some elements of the input tensor and the written-to tensor refer to a single memory location"
    for dtype in (t.bool, t.float32):
        x, other = t.tensor([[0, 1], [1, 0]], dtype=dtype), t.zeros(2, 2, dtype=dtype)
        fails(RuntimeError, overlap, lambda: t.stack([other, x], out=x), x)  # noqa: B023
        fails(RuntimeError, overlap, lambda: t.stack([other, x], out=x[:]), x)  # noqa: B023
        both = t.tensor([[[0, 1], [1, 0]], [[1, 1], [0, 0]]], dtype=dtype)
        fails(RuntimeError, overlap, lambda: t.stack([both[1], both[0]], out=both), both)  # noqa: B023
    empty = t.zeros(0)
    assert t.stack([empty, empty], out=empty).shape == (2, 0)


def test_cat_names_what_is_no_tensor():
    with pytest.raises(TypeError, match="expected Tensor as element 1 in argument 0, but got NoneType"):
        t.cat([t.ones(2), None])


def test_mvlgamma_of_integers():
    x = t.tensor([3, 4])
    fails(RuntimeError, "can't be cast to the desired output type", lambda: x.mvlgamma_(2), x)
    small = t.tensor([3, 4], dtype=t.uint8)
    expected = [math.lgamma(v) + math.lgamma(v - 0.5) + 0.5 * math.log(math.pi) for v in (3, 4)]
    assert t.mvlgamma(small, 2, out=t.zeros(2)).tolist() == pytest.approx(expected)


def test_cross_with_an_out_that_cannot_hold_it():
    a, out = t.ones(2, 3), t.zeros(2, 3, dtype=t.int64)
    fails(RuntimeError, "can't be cast", lambda: t.cross(a, a, dim=1, out=out), a, out)


def test_normal_with_an_out_that_does_not_broadcast():
    out = t.zeros(2)
    fails(RuntimeError, "must match", lambda: t.normal(t.zeros(2, 3), 1.0, out=out), out)
    fails(RuntimeError, "must match", lambda: t.normal(t.zeros(2, 3), 1.0, out=t.zeros(0)))


def test_starts_that_are_tensors():
    x = t.arange(6)
    assert x.narrow(0, t.tensor(2), 3).tolist() == [2, 3, 4]
    for start in (t.tensor([2]), t.tensor(2.0), t.tensor(True)):
        fails(RuntimeError, "0-dim integral", lambda start=start: x.narrow(0, start, 3), x)


def test_narrow_copy_is_a_copy():
    x = t.arange(6)
    y = x.narrow_copy(0, 2, 3)
    y[0] = 9
    assert y.tolist() == [9, 3, 4] and x[2] == 2
    fails(RuntimeError, "exceeds dimension size", lambda: x.narrow_copy(0, 0, -1), x)
    fails(RuntimeError, "dim must be less", lambda: x.narrow_copy(1, 0, 1), x)


def test_multinomial_of_more_categories_than_float32_tells_apart():
    with pytest.raises(RuntimeError, match="number of categories cannot exceed 2\\^24"):
        t.multinomial(t.empty(2**24 + 1, device="meta"), 3)


def test_linspace_says_which_overloads_there_are():
    with pytest.raises(
        TypeError, match="received an invalid combination of arguments - got \\(int, int, float"
    ):
        t.linspace(0, 3, 1.0)


def test_results_that_no_memory_holds_are_refused_at_once():
    image = t.rand(1, 1, 5, 5)
    for call in (
        lambda: t.nn.functional.adaptive_avg_pool2d(image, 2**31 - 1),
        lambda: t.nn.functional.adaptive_max_pool2d(image, 2**31 - 1),
        lambda: t.ones(1).expand(2**40).unbind(),
        lambda: next(iter(t.ones(1).expand(2**40))),
    ):
        with pytest.raises(RuntimeError):
            call()


def test_padding_of_memory_that_is_gone():
    x = t.ones(33)
    x.untyped_storage().resize_(16)
    # Refused before gigabytes are filled.
    with pytest.raises(RuntimeError, match="out of bounds for storage"):
        t.constant_pad_nd(x, (2**33, 2**33))


def test_strides_of_single_elements_are_any_number():
    x = t.tensor([5.0, 6.0]).as_strided((1, 2), (2**63 - 1, 1))
    assert x.tolist() == [[5, 6]] and x.sum(0).tolist() == [5, 6] and x.flip(0).tolist() == [[5, 6]]
    assert x[None].shape == (1, 1, 2) and (x + 1).tolist() == [[6, 7]] and x.numpy().tolist() == [[5, 6]]
    empty = t.ones(4).as_strided((0, 3), (1, 2**40))
    assert empty[:, 2].shape == (0,) and empty[:, 1:].shape == (0, 2) and empty.sum(0).tolist() == [0, 0, 0]


@pytest.mark.parametrize("join", [t.stack, t.cat])
def test_an_input_whose_memory_is_gone_leaves_out_alone(join):
    whole, gone = t.ones(2), t.ones(2)
    gone.untyped_storage().resize_(4)
    out = t.zeros(2, 2) if join is t.stack else t.zeros(4)
    fails(RuntimeError, "out of bounds for storage", lambda: join([whole, gone], out=out), out, whole)
    empty = t.zeros(0)
    fails(RuntimeError, "out of bounds for storage", lambda: join([whole, gone], out=empty), empty)
