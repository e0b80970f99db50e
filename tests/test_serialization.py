"""Saving and loading: our own round trips, PyTorch's files both ways, restricted loading, damaged files."""

import collections
import copy
import io
import os
import pickle
import subprocess
import sys
import textwrap
import zipfile

import pytest

import flambeau
from flambeau import serialization

DTYPES = (
    "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 "
    "complex32 complex64 complex128"
).split()


def saved(obj, **kwargs) -> io.BytesIO:
    file = io.BytesIO()
    flambeau.save(obj, file, **kwargs)
    file.seek(0)
    return file


def loaded_again(obj, **kwargs):
    return flambeau.load(saved(obj), **kwargs)


def values(name):
    return flambeau.arange(6, dtype=flambeau.float32).reshape(2, 3).to(getattr(flambeau, name))


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride() and repr(a) == repr(b)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("as_zip", [True, False])
def test_round_trip_of_every_dtype(name, as_zip):
    if not as_zip and name in ("uint16", "uint32", "uint64", "complex32"):
        pytest.skip("the old format has no storage class for this dtype")
    tensor = values(name)
    again = flambeau.load(saved({"x": tensor}, _use_new_zipfile_serialization=as_zip))["x"]
    assert same(again, tensor)


@pytest.mark.parametrize(
    "make",
    [
        lambda: flambeau.tensor(3.5),
        lambda: flambeau.empty(0),
        lambda: flambeau.empty(2, 0, 3),
        lambda: flambeau.arange(12.0).reshape(3, 4).t(),
        lambda: flambeau.arange(12.0)[3:9:2],
        lambda: flambeau.ones(3, 1).expand(3, 4),
        lambda: flambeau.empty(2, 3, device="meta"),
        lambda: flambeau.ones(2, requires_grad=True),
    ],
)
def test_round_trip_of_layouts(make):
    tensor = make()
    again = loaded_again(tensor)
    assert same(again, tensor)
    assert again.requires_grad == tensor.requires_grad and again.is_leaf


def test_views_share_memory_again():
    base = flambeau.arange(10.0)
    first, second = loaded_again((base[:5], base[3:]))
    first[4] = 100
    assert second[1].item() == 100
    assert len(saved([base] * 50).getvalue()) < 4000


def test_ordinary_objects():
    obj = {
        "numbers": [1, -2, 2**40, -(2**70), 1.5, 2 + 3j, True, None],
        "text": ["", "abc", "é☃", "x" * 300],
        "bytes": [b"", b"abc", bytearray(b"xyz"), b"y" * 300],
        "sets": [{1, 2}, set()],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), tuple(range(10))),
        "ordered": collections.OrderedDict(a=1, b=2),
        "counter": collections.Counter("aab"),
        "size": flambeau.Size([1, 2]),
        "dtypes": [flambeau.float32, flambeau.bfloat16],
        "device": flambeau.device("cpu"),
        "layout": flambeau.strided,
    }
    for protocol in (2, 3, 4, 5):
        again = flambeau.load(saved(obj, pickle_protocol=protocol))
        assert again == obj
        assert type(again["size"]) is flambeau.Size and again["dtypes"][0] is flambeau.float32
    recursive = [1]
    recursive.append(recursive)
    again = loaded_again(recursive)
    assert again[1] is again


def test_attributes_and_subclasses():
    tensor = flambeau.ones(2)
    tensor.tag = "mine"
    assert loaded_again(tensor).tag == "mine"

    marked = flambeau.ones(2).as_subclass(Marked)
    marked.note = [1, 2]
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        loaded_again(marked)
    with serialization.safe_globals([Marked]):
        again = loaded_again(marked)
    assert type(again) is Marked and again.note == [1, 2]


def test_parameters():
    weight = flambeau.nn.Parameter(flambeau.ones(2))
    again = loaded_again(collections.OrderedDict(weight=weight))["weight"]
    assert type(again) is flambeau.nn.Parameter and again.requires_grad
    weight.tag = 1
    assert loaded_again(weight).tag == 1


class Marked(flambeau.Tensor):
    pass


class Plain:
    def __init__(self):
        self.a = 1


def test_weights_only_refuses_other_classes():
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed") as info:
        loaded_again(Plain())
    assert "add_safe_globals" in str(info.value) and f"{__name__}.Plain" in str(info.value)
    assert loaded_again(Plain(), weights_only=False).a == 1
    with serialization.safe_globals([Plain]):
        assert loaded_again(Plain()).a == 1
        assert serialization.get_safe_globals() == [Plain]
    assert serialization.get_safe_globals() == []
    assert serialization.get_unsafe_globals_in_checkpoint(saved(Plain())) == [f"{__name__}.Plain"]


class Attack:
    def __init__(self, function, *args):
        self.recipe = function, args

    def __reduce__(self):
        return self.recipe


@pytest.mark.parametrize(
    "attack",
    [Attack(os.system, "true"), Attack(eval, "1"), Attack(getattr, "a", "upper"), Attack(exec, "x=1")],
)
def test_weights_only_runs_no_code(attack):
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        loaded_again([attack])


def pickle_file(body: bytes) -> io.BytesIO:
    from flambeau._serialization.zip_format import Writer

    file = io.BytesIO()
    writer = Writer(file, "archive")
    writer.write_record("data.pkl", body)
    writer.write_record("version", b"3\n")
    writer.close()
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "body",
    [
        b"\x80\x02.",  # nothing on the stack
        b"\x80\x02}(K\x01u.",  # a key without a value
        b"\x80\x02u.",  # no mark
        b"\x80\x02h\x07.",  # nothing memoized
        b"\x80\x02K\x01)R.",  # calling a number
        b"\x80\x02ctorch\nFloatStorage\n}b.",  # setting state on a class
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",  # ... and on a function
        b"\x80\x02(K\x01Q.",  # a persistent id that is no storage
        b"\x80\x02]}K\x01s.",  # no value
        b"\x80\x02K\x01K\x02a.",  # appending to a number
        b"\x80\x02}]K\x01s.",  # a list as key
        b"\x80\x02\x8b\xff\xff\xff\xff.",  # a negative length
        b"\x80\xff.",
        b"\xfe.",
    ],
)
def test_nonsense_pickles_are_errors(body):
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        flambeau.load(pickle_file(body))


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("weights_only", [True, False])
def test_file_cut_off_anywhere(as_zip, weights_only):
    obj = {"a": flambeau.arange(40.0), "b": [1, "two", flambeau.ones(3, dtype=flambeau.int16)]}
    whole = saved(obj, _use_new_zipfile_serialization=as_zip).getvalue()
    for size in range(len(whole)):
        with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
            flambeau.load(io.BytesIO(whole[:size]), weights_only=weights_only)


def test_changed_bytes_are_noticed():
    whole = bytearray(saved(flambeau.arange(40.0)).getvalue())
    at = whole.index(b"\x00\x00\x80?")  # the bytes of 1.0
    whole[at] ^= 1
    with pytest.raises(RuntimeError, match="checksum"):
        flambeau.load(io.BytesIO(bytes(whole)))


def test_the_archive(tmp_path):
    path = tmp_path / "model.pt"
    flambeau.save({"a": flambeau.ones(3), "b": flambeau.zeros(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = [name.partition("/")[2] for name in archive.namelist()]
        assert archive.namelist()[0] == "model/data.pkl"
        assert names == "data.pkl .format_version .storage_alignment byteorder data/0 data/1 version".split()
        assert archive.read("model/version") == b"3\n" and archive.read("model/byteorder") == b"little"
        assert archive.read("model/.storage_alignment") == b"64"
        body = archive.read("model/data.pkl")
        assert b"ctorch._utils\n_rebuild_tensor_v2\n" in body and b"flambeau" not in body
    reader = serialization.zip_format.Reader(open(path, "rb"))
    assert all(reader.locate(name) % 64 == 0 for name in reader.names())


def test_records_of_a_file_one_at_a_time(tmp_path):
    path = str(tmp_path / "w.pt")
    flambeau.save({"w": flambeau.arange(4.0)}, path)
    reader = flambeau.PyTorchFileReader(path)
    assert reader.has_record("data/0") and not reader.has_record("data/1")
    assert {"data.pkl", "data/0", "version"} <= set(reader.get_all_records())
    assert reader.get_record("version") == b"3\n" and reader.serialization_id() == ""
    with open(path, "rb") as file:
        file.seek(reader.get_record_offset("data/0"))
        assert file.read(16) == reader.get_record("data/0")
    for count, dtype in ((16, flambeau.UntypedStorage), (4, flambeau.float32)):
        holder = reader.get_storage_from_record("data/0", count, dtype)
        assert holder.shape == (0,) and bytes(holder.untyped_storage()) == reader.get_record("data/0")
    with pytest.raises(RuntimeError, match="does not match expected size"):
        reader.get_storage_from_record("data/0", 5, flambeau.float32)
    with pytest.raises(RuntimeError, match="file not found"):
        reader.get_record("data/1")
    with pytest.raises(RuntimeError, match="open file failed"):
        flambeau.PyTorchFileReader(str(tmp_path / "none"))


def test_storages_know_their_sizes_and_meta_ones_have_no_memory():
    tensor = flambeau.ones(100)
    assert sys.getsizeof(tensor.untyped_storage()) >= 400 and sys.getsizeof(tensor.storage()) >= 400
    storage = flambeau.storage.TypedStorage(dtype=flambeau.float32, device="meta")
    assert flambeau._utils._rebuild_tensor(storage, 0, (2, 3), (3, 1)).device.type == "meta"


def test_text_that_looks_like_a_name():
    text = "cflambeau._utils\n_rebuild_tensor_v2\n"
    again = loaded_again({"text": text, "tensor": flambeau.ones(1)})
    assert again["text"] == text and again["tensor"].tolist() == [1.0]


def test_saving_is_atomic(tmp_path):
    path = tmp_path / "model.pt"
    flambeau.save(flambeau.ones(3), path)
    with pytest.raises(Exception, match="(?i)pickle|local object"):
        flambeau.save([flambeau.zeros(3), lambda: 0], path)
    assert flambeau.load(path).tolist() == [1, 1, 1]
    assert os.listdir(tmp_path) == ["model.pt"]
    with pytest.raises(RuntimeError, match="Parent directory .* does not exist"):
        flambeau.save(1, tmp_path / "none" / "x.pt")


def test_mmap(tmp_path):
    path = tmp_path / "model.pt"
    flambeau.save({"a": flambeau.arange(100.0), "e": flambeau.empty(0)}, path)
    before = path.read_bytes()
    again = flambeau.load(path, mmap=True)
    assert again["a"].tolist() == list(range(100))
    again["a"][0] = 7  # private: the file stays as it was
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="mmap"):
        flambeau.load(io.BytesIO(before), mmap=True)


def test_map_location():
    file = saved({"a": flambeau.ones(2)})
    assert flambeau.load(file, map_location="meta")["a"].device.type == "meta"
    for location in (
        "cpu",
        flambeau.device("cpu"),
        {"cuda:0": "cpu"},
        lambda storage, tag: storage,
        lambda *_: None,
    ):
        file.seek(0)
        assert flambeau.load(file, map_location=location)["a"].tolist() == [1, 1]
    seen = []
    file.seek(0)
    flambeau.load(file, map_location=lambda storage, tag: seen.append((tag, storage.nbytes())))
    assert seen == [("cpu", 8)]
    elsewhere = io.BytesIO(replaced_in_pickle(file.getvalue(), b"cpu", b"cuda:0"))
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
        flambeau.load(elsewhere)
    elsewhere.seek(0)
    assert flambeau.load(elsewhere, map_location="cpu")["a"].tolist() == [1, 1]


def replaced_in_pickle(archive: bytes, old: bytes, new: bytes) -> bytes:
    """The archive with a short string of its pickle replaced, and written anew by Python's zipfile, compressed."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                data = data.replace(
                    len(old).to_bytes(4, "little") + old, len(new).to_bytes(4, "little") + new
                )
            target.writestr(name, data)
    return out.getvalue()


def test_file_from_the_other_byte_order():
    tensors = [values(name) for name in DTYPES if name != "complex32"]
    out = io.BytesIO()
    with zipfile.ZipFile(saved(tensors)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            key = name.rpartition("data/")[2]
            if key.isdigit() and "data/" in name:
                dtype = tensors[int(key)].dtype
                width = dtype.itemsize // (2 if dtype.is_complex else 1)
                data = b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))
            target.writestr(name, b"big" if name.endswith("byteorder") else data)
    # The old storage-less dtypes are written as bytes, whose order the format doesn't record.
    again = flambeau.load(io.BytesIO(out.getvalue()))
    for tensor, other in zip(tensors, again, strict=True):
        if str(tensor.dtype).rpartition(".")[2] not in ("uint16", "uint32", "uint64"):
            assert same(tensor, other)


def test_other_arguments():
    with pytest.raises(RuntimeError, match="pickle_module"):
        flambeau.load(saved(1), weights_only=True, pickle_module=pickle)
    assert flambeau.load(saved([1]), pickle_module=pickle) == [1]
    with pytest.raises(AttributeError, match="seekable"):
        flambeau.load(object())
    with pytest.raises(AttributeError, match="'write'"):
        flambeau.save(1, object())
    with pytest.raises(FileNotFoundError):
        flambeau.load("/no/such/file")
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        ones = flambeau.ones(2)
        saved([ones, ones.view(flambeau.int32)])


def test_unknown_arguments_of_the_unpickler_are_refused():
    for options in ({"bogus": 1}, {"fix_imports": True}, {"bogus": 1, "weights_only": False}):
        with pytest.raises(TypeError, match="keyword argument"):
            loaded_again({"a": 1}, **options)
    assert loaded_again({"a": 1}, encoding="bytes") == {"a": 1}


def test_plain_pickle_and_copies():
    tensor = flambeau.arange(6.0).reshape(2, 3).t()
    assert same(pickle.loads(pickle.dumps(tensor)), tensor)
    for name in DTYPES:
        assert same(copy.deepcopy(values(name)), values(name))
    base = flambeau.arange(4.0)
    first, second = copy.deepcopy([base, base[1:]])
    first[1] = 50
    assert second[0].item() == 50 and base[1].item() == 1
    leaf = flambeau.ones(2, requires_grad=True)
    leaf.sum().backward()
    leaf.tag = [1]
    again = copy.deepcopy(leaf)
    assert again.requires_grad and again.grad.tolist() == [1, 1] and again.grad is not leaf.grad
    assert again.tag == [1] and again.tag is not leaf.tag
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(leaf * 2)
    assert copy.copy(base).data_ptr() == base.data_ptr()


# ---- PyTorch's own files ---------------------------------------------------------------------------------------------

MAKE = """
    import collections, torch
    def objects():
        torch.manual_seed(0)
        base = torch.arange(12.0).reshape(3, 4)
        dtypes = [getattr(torch, name) for name in %r]
        return {
            "dtypes": [torch.arange(6).reshape(2, 3).to(dtype) for dtype in dtypes],
            "views": [base, base.t(), base[1:, ::2]],
            "parameter": torch.nn.Parameter(torch.ones(2)),
            "state": collections.OrderedDict(w=torch.randn(4, 5), b=torch.zeros(5)),
            "plain": [1, 2.5, "text", None, (1, 2), {"k": {1, 2}}, torch.Size([2, 3]), torch.float16, torch.device("cpu")],
            "meta": torch.empty(2, 3, device="meta"),
            "grad": torch.ones(2, requires_grad=True),
            "scalar": torch.tensor(3),
            "empty": torch.empty(0, 3),
        }
    def text(found):
        return repr(found)
"""


def run_pytorch(code: str, *args: str) -> str:
    """Run code under PyTorch in a process of its own (FLAMBEAU_ORACLE_PYTHON names the interpreter that has it)."""
    python = os.environ.get("FLAMBEAU_ORACLE_PYTHON", sys.executable)
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "FLAMBEAU_AS_TORCH")}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code, *args], capture_output=True, text=True, env=env
    )
    if "No module named 'torch'" in done.stderr:
        pytest.skip(
            "PyTorch is not installed beside us; set FLAMBEAU_ORACLE_PYTHON to an interpreter that has it"
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("as_zip", [True, False])
def test_reading_what_pytorch_wrote(tmp_path, as_zip):
    path = str(tmp_path / "theirs.pt")
    dtypes = (
        DTYPES
        if as_zip
        else [name for name in DTYPES if name not in ("uint16", "uint32", "uint64", "complex32")]
    )
    make = textwrap.dedent(MAKE % (dtypes,))
    code = f"import sys, torch\ntorch.save(objects(), sys.argv[1], _use_new_zipfile_serialization={as_zip})\n"
    wanted = run_pytorch(make + code + "print(text(objects()))", path)
    for kwargs in [{}, {"weights_only": False}] + ([{"mmap": True}] if as_zip else []):
        found = flambeau.load(path, **kwargs)
        assert repr(found) == wanted.rstrip("\n")
        found["views"][0][1, 1] = 77
        assert found["views"][1][1, 1].item() == 77


def test_pytorch_reads_what_we_wrote(tmp_path):
    theirs, ours = str(tmp_path / "theirs.pt"), str(tmp_path / "ours.pt")
    make = textwrap.dedent(MAKE % (DTYPES,))
    run_pytorch(make + "import sys\ntorch.save(objects(), sys.argv[1])", theirs)
    obj = flambeau.load(theirs)
    # PyTorch's own restricted unpickler knows protocol 2 only.
    for protocol, ways in (
        (2, "({}, {'mmap': True}, {'weights_only': False})"),
        (4, "({'weights_only': False},)"),
    ):
        flambeau.save(obj, ours, pickle_protocol=protocol)
        code = f"import sys, torch\nfor kw in {ways}: print(torch.load(sys.argv[1], **kw))"
        printed = run_pytorch(code, ours)
        assert printed == (repr(obj) + "\n") * len(eval(ways))


def test_pytorch_reads_our_old_format(tmp_path):
    ours = str(tmp_path / "ours.pt")
    obj = {"a": flambeau.arange(4.0), "b": flambeau.ones(2, 3, dtype=flambeau.int64).t()}
    flambeau.save(obj, ours, _use_new_zipfile_serialization=False)
    assert run_pytorch("import sys, torch\nprint(torch.load(sys.argv[1]))", ours) == repr(obj) + "\n"


def test_the_oldest_format():
    """golden/oldest.tar: two tensors on one storage, as releases before 0.2 wrote them; PyTorch 2.13 reads it too."""
    path = os.path.join(os.path.dirname(__file__), "golden", "oldest.tar")
    found = flambeau.load(path, weights_only=False)
    assert list(found) == ["a", "b"]
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["b"].tolist() == [1, 4]
    found["a"][0, 1] = 9
    assert found["b"].tolist() == [9, 4]
    with pytest.raises(RuntimeError, match="weights_only=True"):
        flambeau.load(path)
