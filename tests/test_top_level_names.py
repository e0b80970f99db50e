"""Functions that `torch` itself has beside modules and operators."""

import pytest

import flambeau as torch


def test_functions_of_operators():
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.frobenius_norm(x, [1]).equal(torch.linalg.vector_norm(x, dim=1))
    assert torch.frobenius_norm(x).equal(torch.linalg.vector_norm(x))
    assert torch.nuclear_norm(x).equal(torch.linalg.matrix_norm(x, "nuc"))
    values, indices = torch.max_pool1d_with_indices(x, 3)
    assert values.tolist() == [[2.0], [5.0]] and indices.tolist() == [[2], [2]]
    assert [p.shape for p in torch.unsafe_split_with_sizes(x, [1, 2], 1)] == [(2, 1), (2, 2)]
    assert torch.native_channel_shuffle(torch.arange(4.0).reshape(1, 4, 1), 2).flatten().tolist() == [
        0,
        2,
        1,
        3,
    ]
    assert torch.rrelu(torch.tensor([-1.0, 1.0]), 0.5, 0.5).tolist() == [-0.5, 1.0]


def test_writes_in_place():
    x = torch.zeros(3)
    torch.index_put_(x, (torch.tensor([1]),), torch.tensor(5.0))
    assert torch.ldexp_(x, torch.tensor(1)) is x and x.tolist() == [0, 10, 0]
    y = torch.ones(2, requires_grad=True) * 2
    assert torch.detach_(y) is y and not y.requires_grad


@pytest.mark.parametrize("name", ["eig", "lstsq", "matrix_rank", "solve", "symeig"])
def test_removed_functions_name_what_to_use(name):
    with pytest.raises(RuntimeError, match="now removed. Use torch.linalg"):
        getattr(torch, name)(torch.eye(2))


def test_names_that_libraries_look_for_in_the_native_module():
    assert torch._C._get_tracing_state() is None
    assert torch._C._LinAlgError is torch.linalg.LinAlgError
    assert torch._C._log_api_usage_once("tests") is None
    with torch.device("meta"):
        assert torch._C._get_default_device() == "meta"
    assert torch._C._get_default_device() == "cpu"
    with pytest.raises(AttributeError, match="'torch._C' has no attribute '_nothing'"):
        torch._C._nothing  # noqa: B018
    assert torch.torch is torch and torch.random.default_generator is torch.default_generator


def test_configuration_as_text():
    assert torch.backends.cpu.get_cpu_capability() in torch.__config__.show()
    assert f"at::get_num_threads() : {torch.get_num_threads()}\n" in torch.__config__.parallel_info()


def test_rows_as_counts_and_back():
    rows, columns = torch.tensor([0, 0, 2], dtype=torch.int32), torch.tensor([1, 3, 0], dtype=torch.int32)
    starts = torch._convert_indices_from_coo_to_csr(rows, 4, out_int32=True)
    assert starts.tolist() == [0, 2, 2, 3, 3] and starts.dtype is torch.int32
    pair = torch._convert_indices_from_csr_to_coo(starts, columns)
    assert pair.tolist() == [[0, 0, 2], [1, 3, 0]] and pair.dtype is torch.int64
    assert torch._convert_indices_from_csr_to_coo(starts, columns, transpose=True).tolist() == [
        [1, 3, 0],
        [0, 0, 2],
    ]
    assert torch._convert_indices_from_coo_to_csr(rows[:0], 2).tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="supposed to be a vector"):
        torch._convert_indices_from_coo_to_csr(rows.view(1, 3), 4)
    with pytest.raises(RuntimeError, match="start at 0"):
        torch._convert_indices_from_csr_to_coo(starts, columns[:1])


def test_old_types_of_sparse_tensors():
    indices, values = torch.tensor([[0, 1], [1, 0]]), torch.tensor([1.0, 2.0], dtype=torch.float64)
    with pytest.warns(UserWarning, match="use torch.sparse_coo_tensor"):
        made = torch.sparse.FloatTensor(indices, values, (2, 3))
    assert made.dtype is torch.float32 and made.to_dense().tolist() == [[0, 1, 0], [2, 0, 0]]
    assert isinstance(made, torch.sparse.FloatTensor) and not isinstance(made, torch.FloatTensor)
    assert not isinstance(made.to_dense(), torch.sparse.FloatTensor)
    assert not isinstance(made, (torch.sparse.DoubleTensor, torch.cuda.sparse.FloatTensor))
    with pytest.warns(UserWarning, match="deprecated"):
        assert torch.sparse.DoubleTensor(2, 3)._nnz() == 0
        assert torch.sparse.LongTensor(torch.Size([2, 3])).shape == (2, 3)
        assert torch.sparse.IntTensor().shape == (0,)
        assert torch.equal(made.new(indices, values, (2, 3)).to_dense(), made.to_dense())
        assert made.double().new(4, 1).dtype is torch.float64
        with pytest.raises(TypeError, match="only accepts sizes"):
            torch.sparse.FloatTensor([2, 3])
        with pytest.raises(TypeError, match="invalid combination of arguments"):
            torch.sparse.FloatTensor([[0], [0]], [1.0])
    with pytest.raises(TypeError, match="torch.cuda.sparse.FloatTensor not available"):
        torch.cuda.sparse.FloatTensor(2, 3)


def test_older_names_of_autocast():
    with pytest.warns(FutureWarning, match=r"use `torch.amp.autocast\('cpu', args...\)`"):
        block = torch.cpu.amp.autocast(dtype=torch.bfloat16)
    with block:
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16
    assert isinstance(block, torch.amp.autocast)
    with pytest.warns(FutureWarning, match="torch.amp.GradScaler"):
        assert torch.cuda.amp.GradScaler(enabled=False).get_scale() == 1.0


def test_marks_for_an_absent_profiler_say_so():
    with pytest.raises(RuntimeError, match="NVTX functions not installed"):
        torch.cuda.nvtx.range_push("a")
    with pytest.raises(RuntimeError, match="NVTX"), torch.cuda.nvtx.range("{}", 1):
        pass
    assert not torch.distributed.rpc.is_available() and not hasattr(torch.distributed.rpc, "init_rpc")


def test_lists_of_tensors_in_groups():
    from flambeau.utils import _foreach_utils as lists

    first = [torch.ones(1), torch.ones(2, dtype=torch.float64), torch.zeros(1)]
    groups = lists._group_tensors_by_device_and_dtype([first, [None, 1, 2], []], with_indices=True)
    assert list(groups) == [(torch.device("cpu"), torch.float32), (torch.device("cpu"), torch.float64)]
    (floats, places), (doubles, _) = groups.values()
    assert places == [0, 2] and floats[0][1] is first[2] and floats[1:] == [[None, 2], []]
    assert doubles[0][0] is first[1] and doubles[1:] == [[1], []]
    assert lists._has_foreach_support(first, torch.device("cpu"))
    with pytest.raises(RuntimeError, match="as many"):
        lists._group_tensors_by_device_and_dtype([first, [None]])


def test_parts_of_a_printed_tensor():
    from flambeau import _tensor_str as parts

    body = parts._tensor_str(torch.ones(2, 2), 7)
    assert (
        parts._add_suffixes("Mine(" + body, ["n=3"], 7, False) == "Mine([[1., 1.],\n        [1., 1.]], n=3)"
    )
    assert (
        parts._str_intern(torch.ones(2, dtype=torch.int8), tensor_contents="x")
        == "tensor(x, dtype=torch.int8)"
    )
    assert parts.PRINT_OPTS.threshold == 1000


def test_identities_of_tensors():
    x, y = torch.ones(1), torch.ones(1)
    assert x._cdata == x._cdata != y._cdata
    layers = torch.nn.ModuleList([torch.nn.ReLU(), torch.nn.Tanh()])
    assert layers._get_abs_string_index(-1) == "1"
    with pytest.raises(IndexError, match="out of range"):
        layers._get_abs_string_index(2)


def test_bernoulli_is_a_method_too():
    x = torch.full((3,), 0.5)
    torch.manual_seed(0)
    assert x.bernoulli().tolist() == [1, 0, 1] and x.bernoulli(0.9).tolist() == [1, 1, 1]
    generator = torch.Generator().manual_seed(0)
    assert x.bernoulli(p=1.0, generator=generator).tolist() == [1, 1, 1]
    leaf = x.clone().requires_grad_()
    leaf.bernoulli().sum().backward()
    assert leaf.grad.tolist() == [0, 0, 0]


def test_small_methods_of_tensors():
    x = torch.ones(3)
    assert [part.tolist() for part in x.unsafe_split_with_sizes([1, 2])] == [[1], [1, 1]]
    assert x.storage_type() is torch.FloatStorage and x.const_data_ptr() == x.data_ptr()
    assert torch.ones(1, dtype=torch.int64).storage_type() is torch.LongStorage
    with pytest.warns(UserWarning, match="volatile was removed"):
        assert not x.volatile
    assert x.name is None
    assert x.storage().to(device="cpu").tolist() == [1, 1, 1]
    with pytest.raises(RuntimeError, match="accelerator"):
        x.storage().pin_memory()


def test_views_of_complex_numbers_as_copies():
    z = torch.tensor([1 + 2j])
    copy = torch.view_as_real_copy(z)
    assert copy.tolist() == [[1, 2]] and copy.data_ptr() != z.data_ptr()
    assert torch.view_as_complex_copy(copy).tolist() == [1 + 2j]


def test_tags_of_operators():
    from flambeau import Tag

    assert (
        repr(Tag.core) == "<Tag.core: 0>"
        and str(Tag.pointwise) == "Tag.pointwise"
        and int(Tag.view_copy) == 19
    )
    tags = (Tag.needs_fixed_stride_order, Tag.pt2_compliant_tag)
    operator = torch.library.custom_op(
        "names::tagged", lambda x: x + 1, mutates_args=(), tags=tags, schema="(Tensor x) -> Tensor"
    )
    assert operator(torch.ones(1)) == 2


def test_anomalies_are_found_from_a_call_on():
    torch.set_anomaly_enabled(True, check_nan=False)
    try:
        assert torch.is_anomaly_enabled() and not torch.is_anomaly_check_nan_enabled()
    finally:
        torch.set_anomaly_enabled(False)
    assert not torch.is_anomaly_enabled()


def test_kernels_can_be_passed_over_and_not_given_twice():
    library = torch.library.Library("names", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x * 2, "CPU")
    library.impl("twice", lambda x: x * 2 + 1, "CPU")
    assert torch.ops.names.twice(torch.ones(1)) == 3
    with pytest.raises(
        RuntimeError, match="already a kernel registered from python overriding twice's behavior for CPU"
    ):
        library.impl("twice", lambda x: x, "CPU", allow_override=False)
    operator = torch.library.custom_op(
        "names::plus", lambda x: x + 1, mutates_args=(), schema="(Tensor x) -> Tensor"
    )
    operator.register_kernel("cpu", lambda x: x + 10)
    with operator.set_kernel_enabled("cpu", False):
        assert operator(torch.ones(1)) == 2
        with operator.set_kernel_enabled("cpu"):
            assert operator(torch.ones(1)) == 11
    assert operator(torch.ones(1)) == 11
