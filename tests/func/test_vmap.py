"""vmap: what its arguments mean, what it refuses, and what happens to a function inside. Values are PyTorch's."""

import warnings

import pytest

import flambeau as torch
from flambeau.func import functional_call, stack_module_state, vmap

X = torch.arange(6.0).reshape(2, 3)


def equal(actual, expected):
    expected = expected if isinstance(expected, torch.Tensor) else torch.tensor(expected)
    torch.testing.assert_close(actual, expected)


def test_dimensions_in_and_out():
    equal(vmap(lambda a: a * 2, in_dims=1)(X), X.t() * 2)
    equal(vmap(lambda a: a * 2, in_dims=-1, out_dims=-1)(X), X * 2)
    equal(vmap(lambda a, b: a + b, in_dims=(0, None))(X, torch.ones(3)), X + 1)
    equal(vmap(lambda a: (a, a.sum()), out_dims=(1, 0))(X)[0], X.t())
    equal(
        vmap(lambda d: {"u": d["a"] + d["b"]}, in_dims=({"a": 0, "b": None},))({"a": X, "b": X[0]})["u"],
        X + X[0],
    )
    assert vmap(lambda a, k=None: a + k)(X, k=X).shape == (2, 2, 3)  # keyword arguments are the same for all


def test_results_that_are_the_same_for_all_are_repeated():
    equal(vmap(lambda a: torch.ones(2))(X), torch.ones(2, 2))
    assert vmap(lambda a: 3, out_dims=None)(X) == 3


def test_an_empty_batch():
    assert vmap(lambda a: a.sum())(torch.ones(0, 3)).shape == (0,)
    assert vmap(lambda a: a @ a.t())(torch.ones(0, 2, 3)).shape == (0, 2, 2)


def test_nested():
    assert vmap(vmap(lambda a: a.sum(), in_dims=0), in_dims=1)(torch.ones(4, 2, 3)).shape == (2, 4)
    outer = vmap(lambda a: vmap(lambda b: a * b)(torch.arange(3.0)))(torch.arange(2.0))
    equal(outer, [[0.0, 0, 0], [0, 1, 2]])


def test_chunks_give_what_the_whole_gives():
    x = torch.rand(7, 3)
    f = lambda a: (a.sin(), a.sum())  # noqa: E731
    for whole, parts in zip(vmap(f)(x), vmap(f, chunk_size=3)(x), strict=True):
        equal(parts, whole)
    equal(vmap(lambda a: a, out_dims=1, chunk_size=2)(x), x.t())


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: vmap(lambda a: a, in_dims=(0, 0))(X), ValueError, "not compatible with the structure"),
        (lambda: vmap(lambda a: a, in_dims=(2,))(X), ValueError, "Got in_dim=2 for some input"),
        (lambda: vmap(lambda a: a, in_dims="a")(X), ValueError, "expected `in_dims` to be int"),
        (lambda: vmap(lambda a: a, in_dims=(None,))(X), ValueError, "at least one Tensor"),
        (lambda: vmap(lambda a, b: a)(X, torch.ones(3)), ValueError, "same size in the mapped dimension"),
        (lambda: vmap(lambda a, b: a)(X, 3), ValueError, "cannot vmap over non-Tensor"),
        (lambda: vmap(lambda a: 3)(X), ValueError, "must only return Tensors"),
        (lambda: vmap(lambda a: (a, a), out_dims=(0,))(X), ValueError, "out_dims is not compatible"),
        (lambda: vmap(lambda a: a, out_dims=None)(X), ValueError, "can not return a BatchedTensor"),
        (lambda: vmap(lambda a: a, out_dims=2)(X), IndexError, "Dimension out of range"),
        (lambda: vmap(lambda: 3)(), ValueError, "got no inputs"),
        (lambda: vmap(lambda a: a.sum().item())(X), RuntimeError, r"calling .item\(\)"),
        (lambda: vmap(lambda a: a if a.sum() > 0 else a)(X), RuntimeError, "data-dependent control flow"),
        (lambda: vmap(lambda a: a.tolist())(X), RuntimeError, "no data of its own"),
        (lambda: vmap(lambda a: a.numpy())(X), RuntimeError, "no data of its own"),
        (lambda: vmap(lambda a: a.nonzero())(X), RuntimeError, "depends on the data"),
        (lambda: vmap(lambda a: a[a > 0])(X), RuntimeError, "depends on the data"),
        (lambda: vmap(lambda a: a.sum(2))(X), IndexError, "Dimension out of range"),
        (lambda: vmap(lambda a: torch.rand(3))(X), RuntimeError, "randomness error mode"),
        (lambda: vmap(lambda a: a, randomness="some")(X), RuntimeError, "Only allowed values for randomness"),
        (lambda: vmap(lambda a: a, chunk_size=0)(X), ValueError, "chunk_size should be None or greater than 0"),
        (lambda: vmap(lambda a: torch.add(a, a, out=torch.empty(3)))(X), RuntimeError, "out= is not supported"),
        (lambda: vmap(lambda a: a.requires_grad_())(X), RuntimeError, "requires_grad_"),
        (lambda: vmap(lambda a: a.expand(2))(X), RuntimeError, "number of sizes provided|expand"),
    ],
)  # fmt: skip
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_level_is_left_after_an_error():
    with pytest.raises(RuntimeError):
        vmap(lambda a: a.sum().item())(X)
    assert torch._C._transforms() == 0
    equal(X + 1, X.add(1))


def test_writing_in_place():
    def function(a):
        b = a.clone()
        b[0] = 7
        b[1:] += a.sum()
        b.mul_(2)
        return b

    equal(vmap(function)(X), torch.stack([function(x) for x in X]))
    y = X.clone()
    vmap(lambda a: a.add_(1))(y)
    equal(y, X + 1)


def test_what_is_the_same_for_all_examples_cannot_be_written_with_what_differs():
    def function(a):
        shared = torch.zeros(3)
        others = [shared]
        shared.add_(a)
        return others[0]

    with pytest.raises(RuntimeError, match="vmap: add_"):
        vmap(function)(X)
    equal(vmap(lambda a: a.new_zeros(3).add_(a))(X), X)
    equal(vmap(lambda a: torch.zeros(3).add_(a))(X), X)  # nobody else sees this one


def test_promotion_is_that_of_one_example():
    numbers = torch.tensor([1.5, 2.5], dtype=torch.float64)
    result = vmap(lambda a, s: a * s)(X, numbers)
    assert result.dtype == torch.float32  # a number of each example has no say over the dtype
    equal(result, (X * numbers.float().unsqueeze(1)))
    assert vmap(lambda a, s: a + s)(torch.ones(2, 3, dtype=torch.int64), numbers).dtype == torch.float64
    assert vmap(lambda a: a + 1.5)(torch.tensor([1, 2])).dtype == torch.float32


def test_escaped_tensors_are_refused():
    kept = []
    vmap(lambda a: kept.append(a) or a)(X)
    with pytest.raises(RuntimeError, match="no data of its own|escaped"):
        (kept[0] + 1).sum().item()
    with pytest.raises(RuntimeError):
        kept[0].tolist()


def test_randomness():
    torch.manual_seed(0)
    same = vmap(lambda a: a * 0 + torch.rand(3), randomness="same")(X)
    assert torch.equal(same[0], same[1])
    torch.manual_seed(0)
    equal(same[0], torch.rand(3))
    different = vmap(lambda a: torch.randn(3), randomness="different")(X)
    assert not torch.equal(different[0], different[1])
    torch.manual_seed(0)
    draws = vmap(lambda a: torch.rand(3), randomness="different")(X)
    torch.manual_seed(0)
    equal(draws, torch.rand(2, 3))
    dropped = vmap(torch.nn.functional.dropout, randomness="different")(torch.ones(2, 64))
    assert not torch.equal(dropped[0], dropped[1])
    dropped = vmap(torch.nn.functional.dropout, randomness="same")(torch.ones(2, 64))
    assert torch.equal(dropped[0], dropped[1]) and set(dropped.flatten().tolist()) == {0.0, 2.0}
    permutations = vmap(lambda a: torch.randperm(5), randomness="different")(X)
    assert all(sorted(p) == [0, 1, 2, 3, 4] for p in permutations.tolist())
    nested = vmap(vmap(lambda a: torch.rand(()), randomness="different"), randomness="same")(X)
    assert nested.shape == (2, 3) and torch.equal(nested[0], nested[1])


def test_operators_without_a_rule_run_example_by_example_and_say_so():
    from flambeau._transforms import batching

    batching._warned.discard("histc")
    with pytest.warns(UserWarning, match="performance drop"):
        counts = vmap(lambda a: torch.histc(a, 3, 0, 6))(X)
    equal(counts, torch.stack([torch.histc(x, 3, 0, 6) for x in X]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vmap(lambda a: torch.histc(a, 3, 0, 6))(X)


def test_printing_inside():
    seen = []
    vmap(lambda a: seen.append(repr(a)) or a)(X)
    assert seen == [
        "BatchedTensor(lvl=1, bdim=0, value=\n    tensor([[0., 1., 2.],\n            [3., 4., 5.]])\n)"
    ]


def test_indices_that_differ_between_examples():
    table = torch.arange(24.0).reshape(2, 3, 4)
    rows, columns = torch.tensor([[0, 2], [1, 1]]), torch.tensor([3, 0])
    keys = {
        "row": lambda t, i, j: t[i],
        "column": lambda t, i, j: t[:, i],
        "both": lambda t, i, j: t[i, j],
        "apart": lambda t, i, j: t.unsqueeze(0)[i * 0, :, i],
        "number": lambda t, i, j: t[j],
    }
    for name, f in keys.items():
        column = columns % 3 if name == "number" else columns
        expected = torch.stack([f(table[b], rows[b], column[b]) for b in range(2)])
        equal(vmap(f)(table, rows, column), expected)
        shared = torch.stack([f(table[0], rows[b], column[b]) for b in range(2)])
        equal(vmap(f, in_dims=(None, 0, 0))(table[0], rows, column), shared)
    mask = torch.tensor([True, False, True])
    equal(vmap(lambda t: t[mask])(table), table[:, mask])


def test_writing_at_indices():
    table = torch.zeros(2, 3, 4)
    places, values = torch.tensor([[0, 2], [1, 1]]), torch.arange(4.0).reshape(2, 2)

    def write(t, i, v):
        t = t.clone()
        t[i, 1] = v
        t[:, i] += 1
        return t

    expected = torch.stack([write(table[b], places[b], values[b]) for b in range(2)])
    equal(vmap(write)(table, places, values), expected)


def _mask_function(and_masks, window, lengths):
    """Attention masks as programs build them: conditions on indices (batch, head, query, key), joined."""

    def causal(batch, head, q, k):
        return k <= q

    def near(batch, head, q, k):
        return q - k < window

    def not_padding(batch, head, q, k):
        return lengths[batch, k]

    def all_of(*args):
        result = args[2].new_ones((), dtype=torch.bool)
        for mask in and_masks:
            result = result & {"causal": causal, "near": near, "padding": not_padding}[mask](*args)
        return result

    return all_of


def test_masks_by_index_arithmetic():
    lengths = torch.tensor([[True, True, True, False], [True, True, True, True]])
    function = _mask_function(["causal", "near", "padding"], 2, lengths)
    for dims in [(None, None, None, 0), (None, None, 0, None), (None, 0, None, None), (0, None, None, None)]:
        function = vmap(function, in_dims=dims, out_dims=0)
    mask = function(torch.arange(2), torch.arange(3), torch.arange(4), torch.arange(4))
    assert mask.shape == (2, 3, 4, 4) and mask.dtype == torch.bool
    for b in range(2):
        for q in range(4):
            for k in range(4):
                wanted = k <= q and q - k < 2 and bool(lengths[b, k])
                assert mask[b, :, q, k].tolist() == [wanted] * 3


def test_models_side_by_side():
    models = [
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)) for _ in range(3)
    ]
    parameters, buffers = stack_module_state(models)
    run = vmap(lambda p, b, x: functional_call(models[0], (p, b), (x,)), in_dims=(0, 0, None))
    equal(run(parameters, buffers, X), torch.stack([m(X) for m in models]))


def test_modules_in_evaluation_and_without_statistics():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.GroupNorm(2, 4)
    ).eval()
    x = torch.rand(3, 2, 2, 5, 5)
    equal(vmap(net)(x), torch.stack([net(one) for one in x]))
    net.train()
    with pytest.raises(RuntimeError, match="running statistics"):
        vmap(net)(x)
    torch.func.replace_all_batch_norm_modules_(net)
    equal(vmap(net)(x), torch.stack([net(one) for one in x]))
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    tokens = torch.rand(3, 2, 5, 8)
    equal(vmap(layer)(tokens), torch.stack([layer(one) for one in tokens]))


def test_results_with_names_keep_them():
    x = torch.tensor([[1.0, 3.0, 2.0], [6.0, 4.0, 5.0]])
    found = vmap(lambda row: row.max(0))(x)
    assert type(found) is torch.return_types.max
    assert found.values.tolist() == [3, 6] and found.indices.tolist() == [1, 0]
    matrices = torch.stack([torch.eye(2), 2 * torch.eye(2)])
    assert vmap(torch.linalg.eigh)(matrices).eigenvalues.tolist() == [[1, 1], [2, 2]]
    assert vmap(lambda row: row.max(0), out_dims=(0, 0))(x).values.tolist() == [3, 6]
