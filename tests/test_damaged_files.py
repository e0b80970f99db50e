"""Files that are cut, changed or made to do harm: an error that says so; never a crash, a hang or much memory."""

import collections
import io
import os
import pickle
import resource
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib

import pytest

import flambeau
from flambeau import serialization
from flambeau._serialization.zip_format import Reader, Writer

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis chooses the damage")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(__file__))
EXPECTED = (RuntimeError, pickle.UnpicklingError, EOFError)


def checkpoint():
    return {
        "a": flambeau.arange(40.0),
        "b": [1, "two", flambeau.ones(3, 2, dtype=flambeau.int16).t(), {"x": (1, (2, (3,)))}],
        "p": flambeau.nn.Parameter(flambeau.ones(2, 2)),
        "o": collections.OrderedDict(z=b"abc", y=bytearray(b"q"), s={1, 2}),
        "u": flambeau.ones(3).to(flambeau.uint16),
        "d": [flambeau.float16, flambeau.Size([1, 2]), flambeau.device("cpu")],
    }


def saved(obj, **kwargs) -> bytes:
    file = io.BytesIO()
    flambeau.save(obj, file, **kwargs)
    return file.getvalue()


ZIP, OLD = saved(checkpoint()), saved(checkpoint() | {"u": 0}, _use_new_zipfile_serialization=False)
RECORDS = {name: Reader(io.BytesIO(ZIP)).read(name) for name in Reader(io.BytesIO(ZIP)).names()}


def archive(records) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, "archive")
    for name, data in records.items():
        writer.write_record(name, data)
    writer.close()
    return file.getvalue()


def load_or_refuse(data: bytes, **kwargs) -> None:
    try:
        repr(flambeau.load(io.BytesIO(data), **kwargs))
    except EXPECTED:
        pass


def test_cut_at_every_byte_and_mapped(tmp_path):
    path = tmp_path / "cut.pt"
    for size in range(0, len(ZIP), 7):
        path.write_bytes(ZIP[:size])
        with pytest.raises(EXPECTED):
            flambeau.load(path, mmap=True)


changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)


def changed(data: bytes, where) -> bytes:
    data = bytearray(data)
    for place, value in where:
        data[int(place * len(data))] = value
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(changes, st.sampled_from([ZIP, OLD]))
def test_changed_files(where, file):
    load_or_refuse(changed(file, where))


@settings(max_examples=300, deadline=None)
@given(changes)
def test_changed_pickles(where):
    """With checksums that fit: what a stranger can make."""
    load_or_refuse(archive({**RECORDS, "data.pkl": changed(RECORDS["data.pkl"], where)}))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_nonsense(data):
    load_or_refuse(data)
    load_or_refuse(b"PK\3\4" + data)
    load_or_refuse(b"\x80\x02" + data)
    load_or_refuse(archive({"data.pkl": b"\x80\x02" + data + b"."}))


def test_a_changed_storage_is_noticed():
    at = ZIP.index(struct.pack("<f", 39.0))
    for bit in range(32):
        data = bytearray(ZIP)
        data[at + bit // 8] ^= 1 << bit % 8
        with pytest.raises(RuntimeError, match="checksum"):
            flambeau.load(io.BytesIO(bytes(data)))


def tensor_pickle(offset, size, stride, numel=40) -> bytes:
    """A file's pickle of one tensor on the storage 0, with a window of our choice."""

    def part(obj):
        return pickle.dumps(obj, 2)[2:-1]

    storage = (
        b"(" + part("storage") + b"ctorch\nFloatStorage\n" + part("0") + part("cpu") + part(numel) + b"tQ"
    )
    window = part(offset) + part(size) + part(stride)
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + window + b"\x89}tR."


@pytest.mark.parametrize(
    "offset, size, stride, numel",
    [
        (0, (41,), (1,), 40),
        (1, (40,), (1,), 40),
        (-1, (4,), (1,), 40),
        (0, (2, 2), (2**62, 1), 40),
        (0, (2**62, 4), (1, 1), 40),
        (2**63 - 1, (1,), (1,), 40),
        (0, (-1,), (1,), 40),
        (0, (4,), (-1,), 40),
        (0, (4,), (1, 1), 40),
        (0, (4,), (1,), 41),
        (0, (4,), (1,), 2**61),
        (0, (4.5,), (1,), 40),
        (0, "ab", (1,), 40),
    ],
)
def test_windows_beyond_their_storage(offset, size, stride, numel):
    data = archive({**RECORDS, "data.pkl": tensor_pickle(offset, size, stride, numel)})
    for weights_only in (True, False):
        with pytest.raises((*EXPECTED, TypeError, ValueError)):
            flambeau.load(io.BytesIO(data), weights_only=weights_only)


def test_the_windows_of_this_test_are_well_made():
    data = archive({**RECORDS, "data.pkl": tensor_pickle(2, (3,), (2,))})
    assert flambeau.load(io.BytesIO(data)).tolist() == [2, 4, 6]


def repacked(records, **changes) -> bytes:
    """A compressed archive, whose directory then tells other sizes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in records.items():
            target.writestr(f"archive/{name}", data)
    data = bytearray(file.getvalue())
    for name, size in changes.items():
        at = data.rindex(b"archive/" + name.encode()) - 46
        data[at + 24 : at + 28] = struct.pack("<L", size)
    return bytes(data)


def test_compressed_records_that_claim_or_hold_more_than_they_should():
    claims = repacked(RECORDS, **{"data/0": 2**31})
    with pytest.raises(RuntimeError, match="claims 2147483648 bytes"):
        flambeau.load(io.BytesIO(claims))
    bomb = repacked({**RECORDS, "data.pkl": b"\x80\x02" + b"N0" * 10**7 + b"N."}, **{"data.pkl": 1000})
    with pytest.raises(RuntimeError, match="fails its checksum"):
        flambeau.load(io.BytesIO(bomb))


def test_records_on_one_another():
    file = io.BytesIO()
    writer = Writer(file, "archive")
    for name, data in RECORDS.items():
        writer.write_record(name, data)
    writer._central.append(writer._central[-1].replace(b"version", b"verzion"))
    writer.close()
    with pytest.raises(RuntimeError, match="records overlap"):
        flambeau.load(io.BytesIO(file.getvalue()))


def global_call(path: bytes, argument: bytes) -> bytes:
    return b"\x80\x02c" + path + b"\n" + argument + b"R."


HUGE = b"\x8a\x06\x00\x00\x00\x00\x00\x01"  # 2**40


@pytest.mark.parametrize(
    "path, argument",
    [
        (b"__builtin__\nbytearray", HUGE + b"\x85"),
        (b"__builtin__\nbytes", HUGE + b"\x85"),
        (b"torch\nFloatStorage", HUGE + b"\x85"),
        (b"torch.storage\nUntypedStorage", HUGE + b"\x85"),
        (b"torch\nTensor", HUGE + b"\x85"),
        (
            b"torch._tensor\n_rebuild_from_type_v2",
            b"(ctorch\nFloatStorage\nctorch\nTensor\n" + HUGE + b"\x85}t",
        ),
    ],
)
def test_calls_that_would_take_memory(path, argument):
    with pytest.raises(
        pickle.UnpicklingError, match="not allowed|only allowed|unrecognized function|damaged"
    ):
        flambeau.load(io.BytesIO(archive({"data.pkl": global_call(path, argument)})))


def test_tuples_nested_very_deep():
    deep = b"\x80\x02}N" + b"\x85" * 200000 + b"Ns."  # the key of a dict
    with pytest.raises(pickle.UnpicklingError, match="nested more than"):
        flambeau.load(io.BytesIO(archive({"data.pkl": deep})))
    lists = b"\x80\x02" + b"]" * 100000 + b"a" * 99999 + b"."
    flambeau.load(io.BytesIO(archive({"data.pkl": lists})))


def test_lengths_beyond_the_file(tmp_path):
    path = tmp_path / "long.pt"
    path.write_bytes(b"\x80\x02\x8d" + struct.pack("<Q", 1 << 60) + b"abc")
    with pytest.raises(EXPECTED):
        flambeau.load(path)


def test_tensors_that_we_do_not_have():
    data = archive({"data.pkl": global_call(b"torch._utils\n_rebuild_qtensor", b")")})
    for weights_only in (True, False):
        with pytest.raises(RuntimeError, match="holds a quantized tensor"):
            flambeau.load(io.BytesIO(data), weights_only=weights_only)


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.pt"
    flambeau.save(flambeau.ones(3), path)
    code = f"""
        import resource, signal, flambeau
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
        try:
            flambeau.save(flambeau.ones(10**6), {str(path)!r})
        except OSError as error:
            print(error.errno, "an old file is as it was" in str(error), error.filename == {str(path)!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split()[1:] == ["True", "True"], done.stderr
    assert os.listdir(tmp_path) == ["model.pt"] and flambeau.load(path).tolist() == [1, 1, 1]
    with pytest.raises(OSError):
        flambeau.save(flambeau.ones(100000), "/dev/full")


def test_killed_while_saving_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.pt"
    flambeau.save(flambeau.ones(3), path)
    code = f"""
        import os, flambeau

        class Last:
            def __reduce__(self):
                os.kill(os.getpid(), 9)

        flambeau.save([flambeau.ones(1000), Last()], {str(path)!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, timeout=30)
    assert done.returncode == -9 and flambeau.load(path).tolist() == [1, 1, 1]


def test_saving_where_no_new_file_may_be_made(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    path = tmp_path / "model.pt"
    flambeau.save(1, path)
    tmp_path.chmod(0o500)
    try:
        flambeau.save(2, path)
        assert flambeau.load(path) == 2
    finally:
        tmp_path.chmod(0o700)


def test_checksums():
    for size in (0, 1, 7, 8, 63, 64, 65, 79, 80, 127, 128, 1000, 70001):
        data = os.urandom(size + 3)
        for start in range(3):
            part = memoryview(data)[start : start + size]
            assert flambeau._C._crc32(part, 12345) == zlib.crc32(part, 12345)
    serialization.set_crc32_options(False)
    try:
        file = saved(flambeau.arange(3))
    finally:
        serialization.set_crc32_options(True)
    assert serialization.get_crc32_options() and flambeau.load(io.BytesIO(file)).tolist() == [0, 1, 2]


def test_loading_in_little_memory():
    """A file that is cut, or claims much, costs no memory to speak of."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    header = io.BytesIO()
    writer = Writer(header, "archive")
    writer.write_record("data.pkl", tensor_pickle(0, (2**34,), (1,), 2**34))
    writer._begin_record("data/0", 2**36, 0)
    writer.close()
    with pytest.raises(EXPECTED):
        flambeau.load(io.BytesIO(header.getvalue()))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_bytes_behind_an_archive_do_no_harm():
    file = io.BytesIO()
    flambeau.save({"a": flambeau.arange(3.0)}, file)
    for rest in (b"x", bytes(100), b"PK\5\6" + b"\xff" * 30):
        found = flambeau.load(io.BytesIO(file.getvalue() + rest))
        assert found["a"].tolist() == [0, 1, 2]
