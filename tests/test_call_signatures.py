"""How functions may be called: PyTorch's names of parameters, NumPy's, numbers of other kinds, and what is refused."""

import pytest

import flambeau as torch
import flambeau.nn.functional as F

np = pytest.importorskip("numpy", reason="sizes and names of NumPy are what is tested")
ones, eye = torch.ones, torch.eye


@pytest.mark.parametrize(
    "function, arguments",
    [
        (torch.linalg.norm, {"input": ones(3)}),
        (torch.linalg.norm, {"x": ones(2, 2), "ord": "fro", "axis": (0, 1)}),
        (torch.linalg.vector_norm, {"input": ones(3), "ord": 1}),
        (torch.linalg.matrix_norm, {"input": eye(2), "ord": 1}),
        (torch.linalg.cond, {"input": eye(2), "p": "nuc"}),
        (torch.linalg.eigvalsh, {"input": eye(2)}),
        (torch.linalg.pinv, {"input": eye(2), "atol": torch.tensor(0.1)}),
        (torch.linalg.matrix_rank, {"input": eye(2), "rtol": 0.1}),
        (torch.linalg.lstsq, {"input": eye(2), "b": ones(2, 1)}),
        (torch.linalg.det, {"A": eye(2)}),
        (torch.linalg.tensorsolve, {"input": eye(2), "other": ones(2)}),
        (torch.cholesky_solve, {"input": ones(2, 1), "input2": eye(2)}),
        (torch.triangular_solve, {"input": ones(2, 1), "A": eye(2)}),
        (torch.swapaxes, {"input": eye(2), "axis0": 0, "axis1": 1}),
        (torch.hsplit, {"input": ones(4), "sections": 2}),
        (torch.vsplit, {"input": eye(2), "indices": [1]}),
        (torch.tensor_split, {"input": ones(4), "tensor_indices_or_sections": torch.tensor([1, 2])}),
        (torch.isin, {"element": 1, "test_elements": ones(2)}),
        (torch.isin, {"elements": ones(2), "test_element": 1}),
        (torch.result_type, {"tensor": ones(1), "other": 1}),
        (torch.sum, {"a": ones(2), "axis": 0}),
        (torch.add, {"x1": ones(2), "x2": 1}),
        (torch.tile, {"input": ones(2), "dims": (2, 2)}),
        (torch.tril, {"x": eye(2)}),
        (torch.repeat_interleave, {"repeats": torch.tensor([1, 2])}),
        (torch.smm, {"input": eye(2).to_sparse(), "mat2": eye(2)}),
        (torch.fft.fftfreq, {"n": 3, "pin_memory": False}),
        (torch.arange, {"end": 3, "pin_memory": None, "requires_grad": None}),
        (torch.rand, {"size": (1,), "pin_memory": None}),
        (ones(4).split, {"split_size": 2}),
        (F.one_hot, {"input": torch.tensor([1])}),
        (F.threshold_, {"input": ones(1), "threshold": 1.0, "value": 2.0}),
        (
            torch.nn.AdaptiveLogSoftmaxWithLoss(2, 3, [1]),
            {"input_": ones(1, 2), "target_": torch.tensor([1])},
        ),
        (torch.enable_grad, {"orig_func": len}),
    ],
)
def test_parameters_have_the_names_that_pytorch_takes(function, arguments):
    function(**arguments)


@pytest.mark.parametrize(
    "function, arguments, message",
    [
        (torch.cov, (None,), r"cov\(\): argument 'input' \(position 1\) must be Tensor, not NoneType"),
        (torch.cov, (np.ones(2),), r"must be Tensor, not ndarray|must be Tensor, not numpy.ndarray"),
        (torch.chunk, (ones(2), "a"), r"argument 'chunks' \(position 2\) must be int, not str"),
        (torch.linalg.norm, (1.5,), "received an invalid combination of arguments"),
        (torch.linalg.eigvals, ([1.0],), r"must be Tensor, not list"),
        (torch.diff, (ones(2), 1, 0, 3), r"argument 'prepend' \(position 4\) must be Tensor, not int"),
        (torch.fft.fft, (3,), r"must be Tensor, not int"),
        (torch.equal, (ones(1), 1), r"argument 'other' \(position 2\) must be Tensor, not int"),
        (torch.quantile, (ones(2), None), r"argument 'q'"),
        (torch.hsplit, (ones(2), "a"), "received an invalid combination of arguments"),
        (torch.broadcast_to, (ones(2),), r'missing 1 required positional arguments: "size"'),
    ],
)
def test_wrong_arguments_are_type_errors(function, arguments, message):
    with pytest.raises(TypeError, match=message):
        function(*arguments)


def test_a_function_of_operators_asks_torch_function_once():
    asked = []

    class Asked(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            asked.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    torch.cov(ones(2, 3).as_subclass(Asked))
    assert asked == [torch.cov]
    torch.linalg.norm(ones(3).as_subclass(Asked), 2)
    assert asked[1:] == [torch.linalg.norm]


def test_products_of_matrices_take_no_numbers():
    for call in (
        lambda: ones(2) @ 2,
        lambda: 1.5 @ ones(2),
        lambda: None @ ones(2),
        lambda: ones(2) @ np.float64(1),
    ):
        with pytest.raises(TypeError, match="@"):
            call()
    assert ones(2).__rmatmul__(2) is NotImplemented


@pytest.mark.parametrize("two", [np.int64(2), torch.tensor(2), torch.tensor([2])])
def test_numpys_integers_and_tensors_are_sizes(two):
    image = ones(1, 1, 8, 8)
    assert F.max_pool2d(image, two, stride=two).shape == (1, 1, 4, 4)
    assert F.avg_pool2d(image, kernel_size=two).shape == (1, 1, 4, 4)
    assert F.conv2d(image, ones(1, 1, 2, 2), stride=two, padding=two).shape == (1, 1, 6, 6)
    assert F.unfold(image, two, stride=two).shape == (1, 4, 16)
    assert F.adaptive_avg_pool2d(image, two).shape == (1, 1, 2, 2)
    assert torch.zeros(two).shape == (2,)
    assert ones(4).view(two, 2).shape == (2, 2)
    assert torch.kthvalue(torch.arange(3), two).values == 1
    assert torch.unique(eye(2), dim=two - 1).shape == (2, 2)
    assert torch.quantile(eye(2), 0.5, dim=two - 1).shape == (2,)
    assert eye(2).sum(dim=two - 2).shape == (2,)


def test_what_a_tensor_of_integers_is_filled_with():
    numbers, mask = torch.tensor([1, 1]), torch.tensor([True, False])
    # A fraction is cut off, also one in a tensor where a mask picks what is written; what does not fit is refused.
    for value in (2.5, torch.tensor(2.5), 2 + 0j, torch.tensor(2.5, dtype=torch.float64)):
        assert numbers.masked_fill(mask, value).tolist() == [2, 1]
        written = numbers.clone()
        written[mask] = value
        assert written.tolist() == [2, 1]
    for value in (float("inf"), float("nan"), 1e30, 2 + 1j):
        with pytest.raises(RuntimeError, match="value cannot be converted to type"):
            numbers.masked_fill(mask, value)
        for index in (mask, [0], torch.tensor([0]), 0, slice(None)):
            written = numbers.clone()
            with pytest.raises(RuntimeError, match="value cannot be converted to type"):
                written[index] = value
    bytes_ = torch.ones(2, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="value cannot be converted to type"):
        bytes_[mask] = 300
    written = numbers.clone()
    with pytest.raises(RuntimeError, match="source and destination dtypes match"):
        written[torch.tensor([0])] = torch.tensor(2.5)


def test_gradients_reach_one_element_that_a_mask_spreads():
    value = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    written = torch.zeros(3)
    written[torch.tensor([True, False, True])] = value
    written.sum().backward()
    assert value.grad == 2


def test_the_module_of_functions_in_python():
    import flambeau.functional

    assert flambeau.functional.norm is torch.norm and torch.functional.split is torch.split
    assert all(getattr(torch, name) is getattr(torch.functional, name) for name in torch.functional.__all__)


def test_convolutions_and_pools_say_what_is_wrong_with_their_arguments():
    image, weight = ones(1, 1, 4, 4), ones(1, 1, 3, 3)
    for call in (
        lambda: F.conv2d(None, weight),
        lambda: F.conv2d(image, weight.numpy()),
        lambda: F.conv2d(image, weight, stride="a"),
        lambda: F.conv_transpose2d(image, None),
        lambda: F.avg_pool2d(image.tolist(), 2),
        lambda: F.avg_pool2d(image, 2, bogus=1),
    ):
        with pytest.raises(TypeError, match=r"conv2d\(\)|conv_transpose2d\(\)|avg_pool2d\(\)"):
            call()
    assert F.conv2d(input=image, weight=weight, padding="same").shape == image.shape
    assert F.avg_pool2d(image, [2], stride=None).shape == (1, 1, 2, 2)


def test_the_trapezoidal_rule_by_its_other_name():
    y = torch.tensor([1.0, 2.0, 4.0])
    assert torch.trapz(y, torch.tensor([0.0, 1.0, 3.0])) == 7.5 and torch.trapz(y, dx=2.0) == 9


def test_pythons_types_of_numbers_stand_for_dtypes():
    assert torch.finfo(float) == torch.finfo(torch.float64) and torch.finfo(complex).dtype == "float64"
    assert torch.iinfo(int).bits == 64
    for limits, other in (
        (torch.finfo, int),
        (torch.iinfo, float),
        (torch.iinfo, bool),
        (torch.finfo, str),
        (torch.finfo, []),
    ):
        with pytest.raises(TypeError):
            limits(other)
    assert torch.nn.LayerNorm(np.int64(3))(ones(2, 3)).shape == (2, 3)


def test_none_stands_for_all_dimensions():
    x = torch.tensor([[1.0, 2.0], [3.0, 0.0]], requires_grad=True)
    assert x.amax(None) == 3 and x.amin(dim=None, keepdim=True).tolist() == [[0.0]]
    x.amax(None).backward()
    assert x.grad.tolist() == [[0, 0], [1, 0]]
    assert x.roll(1, None).tolist() == [[0, 1], [2, 3]]
    batch = torch.arange(6.0).reshape(2, 3)
    assert torch.vmap(lambda row: row.roll(1, None))(batch).tolist() == [[2, 0, 1], [5, 3, 4]]
    assert torch.vmap(lambda row: row.amax(None))(batch).tolist() == [2, 5]
    assert torch.hash_tensor(x, dim=None) == torch.hash_tensor(x)
    assert torch.tensordot(ones(2), ones(2), dims=torch.tensor([1])) == 2
