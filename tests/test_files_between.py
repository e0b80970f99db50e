"""Whole objects in files, from PyTorch to us and back; safetensors files, both ways."""

import importlib.util
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

import flambeau

ROOT = pathlib.Path(__file__).parent.parent

OBJECTS = """
    import sys, warnings
    warnings.simplefilter("ignore")
    import torch
    from torch import nn, optim
    import torch.nn.functional as F

    def objects():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 4), nn.GELU(),
            nn.LayerNorm(4), nn.Dropout(0.5), nn.PReLU(), nn.ModuleList([nn.Linear(4, 4)]), nn.LSTM(4, 3),
            nn.TransformerEncoderLayer(4, 2, 8),
        )
        head = model[:7].eval()
        x = torch.arange(64.0).reshape(1, 1, 8, 8) / 64
        linear = nn.Linear(2, 2)
        made = {}
        for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "Adamax"):
            optimizer = getattr(optim, name)(linear.parameters(), lr=0.1)
            linear(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            made[name] = optimizer, optimizer.state_dict()
        scheduler = optim.lr_scheduler.StepLR(optimizer, 2)
        generator = torch.Generator().manual_seed(3)
        torch.rand(5, generator=generator)
        tagged = nn.Parameter(torch.ones(2))
        tagged.tag = "mine"
        return {
            "model": model, "head": head, "input": x, "output": head(x).detach(), "optimizers": made,
            "scheduler": scheduler, "generator": generator, "tagged": tagged,
            "functions": [F.relu, F.linear, F.gelu, torch.neg, torch.split, F.conv2d, torch.Tensor.add_, torch.matmul],
            "results": torch.max(torch.arange(6.0).reshape(2, 3), 1),
            "conj": torch.ones(2, dtype=torch.complex64).conj(),
            "float8": [
                torch.ones(3).to(getattr(torch, "float8_" + name)) for name in "e4m3fn e5m2 e4m3fnuz e8m0fnu".split()
            ],
            "types": [torch.Tensor, nn.Parameter, torch.Size],
        }

    def text(found):
        "What can be compared: printed values, and what the objects do."
        lines = [repr(found[key]) for key in ("model", "input", "output", "tagged", "results", "conj", "float8")]
        lines += [repr(found["tagged"].tag), repr([f.__name__ for f in found["functions"]])]
        lines.append(repr(bool((found["head"](found["input"]) - found["output"]).abs().max() < 1e-5)))
        lines += [repr(o.param_groups[0]["lr"]) + repr(state) for o, state in found["optimizers"].values()]
        lines.append(repr(found["scheduler"].state_dict()))
        lines.append(repr(torch.rand(3, generator=found["generator"])))
        lines.append(repr([t.__name__ for t in found["types"]]))
        return "\\n".join(lines)
"""


def run(arguments, code, *args):
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "FLAMBEAU_AS_TORCH")}
    command = [*arguments, "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env, timeout=120)


def ours(code, *args) -> str:
    done = run([sys.executable, "-m", "flambeau"], code, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def theirs(code, *args) -> str:
    python = os.environ.get("FLAMBEAU_ORACLE_PYTHON", sys.executable)
    done = run([python], code, *args)
    if "No module named" in done.stderr:
        pytest.skip(
            "PyTorch is not installed beside us; set FLAMBEAU_ORACLE_PYTHON to an interpreter that has it"
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


SAFETENSORS = """
    import sys, torch
    from safetensors import safe_open
    from safetensors.torch import load, load_file, load_model, save, save_file, save_model

    names = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool uint16 uint32 uint64 complex64 "
    names = (names + "float8_e4m3fn float8_e5m2").split()
    tensors = {name: torch.arange(6).reshape(2, 3).to(getattr(torch, name)) for name in names}
    tensors |= {"empty": torch.empty(0, 3), "scalar": torch.tensor(3.5)}

    def describe(found):
        return "\\n".join(f"{name} {found[name].dtype} {found[name].shape} {found[name].tolist()}" for name in sorted(found))

    def check(path):
        found = load_file(path)
        assert describe(found) == describe(tensors)
        assert describe(load(open(path, "rb").read())) == describe(tensors)
        assert describe(load(save(tensors))) == describe(tensors)
        with safe_open(path, framework="pt") as file:
            assert file.metadata() == {"by": "hand"} and set(file.keys()) == set(tensors)
            part = file.get_slice("bfloat16")
            assert part.get_shape() == [2, 3] and part[:, 1:].tolist() == [[1, 2], [4, 5]]
        found["float32"].fill_(7)  # private
        assert describe(load_file(path)) == describe(tensors)

    def check_models(path):
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        save_model(model, path)
        other = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        assert load_model(other, path) == (set(), [])
        assert all(bool((a == b).all()) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
        for wrong in ({"a": other[0].weight.t()}, {"a": tensors["float32"], "b": tensors["float32"]}, {"a": 3}):
            try:
                save_file(wrong, path)
            except (ValueError, RuntimeError):
                pass
            else:
                raise AssertionError(wrong)
"""

# Each library writes files of all kinds, and reads them and those of the other, whose names follow its own.
EXCHANGE = """
    import pickle

    own, *others = sys.argv[1:]
    torch.save(objects(), own + ".pt")
    with open(own + ".pickle", "wb") as file:  # as joblib and others do
        pickle.dump([torch.arange(4.0)[1:], nn.Linear(1, 1)], file)
    for path in (own, *others):
        print(text(torch.load(path + ".pt", weights_only=False)))
        if path == own or torch.__name__ != "torch":  # our plain pickles name our own modules
            print(pickle.load(open(path + ".pickle", "rb")))
        print("END")
"""
EXCHANGE_SAFETENSORS = """
    save_file(tensors, own + ".safetensors", metadata={"by": "hand"})
    check_models(own + ".model")
    for path in (own, *others):
        check(path + ".safetensors")
    print("all safetensors are good")
"""


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory):
    """What the two libraries said of their own files and of each other's."""
    folder = tmp_path_factory.mktemp("files")
    code = OBJECTS + EXCHANGE
    if importlib.util.find_spec("safetensors") is not None:
        code += SAFETENSORS + EXCHANGE_SAFETENSORS
    first = theirs(code, folder / "theirs")
    second = ours(code, folder / "ours", folder / "theirs")
    third = theirs(code, folder / "again", folder / "ours")
    return [text.split("END\n") for text in (first, second, third)]


def test_we_read_what_pytorch_wrote(exchanged):
    (their_own, _), (_, ours_of_theirs, _), _ = exchanged
    assert ours_of_theirs == their_own


def test_pytorch_reads_what_we_wrote(exchanged):
    _, (our_own, _, _), (_, theirs_of_ours, _) = exchanged
    assert our_own.startswith(theirs_of_ours) and "tensor([1., 2., 3.])" in our_own[len(theirs_of_ours) :]


def test_safetensors(exchanged):
    pytest.importorskip("safetensors", reason="the package under test is not installed")
    assert [parts[-1] for parts in exchanged] == ["all safetensors are good\n"] * 3


# ---- storages --------------------------------------------------------------------------------------------------------


def test_storages_as_sequences_of_bytes():
    storage = flambeau.UntypedStorage([1, 2, 3, 4])
    part = storage[1:3]
    part[0] = 9
    assert storage.tolist() == [1, 9, 3, 4] and storage[-1] == 4 and len(part) == 2
    storage[2:] = 7
    assert part.tolist() == [9, 7] and part.nbytes() == 2
    with pytest.raises(RuntimeError, match="not resizable"):
        storage.resize_(100)  # a part shows its memory
    del storage
    assert part.tolist() == [9, 7]
    for index, error in ((4, IndexError), (-5, IndexError), ("a", TypeError), (slice(0, 4, 2), RuntimeError)):
        with pytest.raises(error):
            flambeau.UntypedStorage(4)[index]
    assert flambeau.UntypedStorage(4)[3:1].tolist() == []
    assert flambeau.UntypedStorage([1, 2]).float().tolist() == [1.0, 2.0]
    assert flambeau.FloatStorage([1.5, 2]).int().tolist() == [1, 2]
    assert flambeau.UntypedStorage(2).fill_(3).clone().tolist() == [3, 3]
    swapped = flambeau.UntypedStorage([1, 2, 3, 4])
    swapped.byteswap(flambeau.int16)
    assert swapped.tolist() == [2, 1, 4, 3]
    assert flambeau.ShortStorage.from_buffer(b"\1\0\2\0", "big").tolist() == [256, 512]
    with pytest.raises(ValueError, match="multiple of element size"):
        flambeau.IntStorage.from_buffer(b"abc")
    with pytest.raises(RuntimeError, match="expected a storage of 2 bytes"):
        flambeau.UntypedStorage(2).copy_(flambeau.UntypedStorage(3))
    assert flambeau.asarray(flambeau.UntypedStorage([1, 2]), dtype=flambeau.uint8).tolist() == [1, 2]


def test_storages_on_files(tmp_path):
    path = tmp_path / "bytes"
    shared = flambeau.UntypedStorage.from_file(path, shared=True, nbytes=8)
    shared.fill_(1)
    assert path.read_bytes() == b"\1" * 8 and shared.is_shared()
    private = flambeau.UntypedStorage.from_file(path)
    private[0] = 5
    assert path.read_bytes() == b"\1" * 8 and private.nbytes() == 8 and not private.is_shared()
    assert flambeau.from_file(path, size=2, dtype=flambeau.int32).tolist() == [0x01010101] * 2
    assert flambeau.IntStorage.from_file(path, size=1).tolist() == [0x01010101]
    with pytest.raises(RuntimeError, match="smaller than the required mapping size"):
        flambeau.UntypedStorage.from_file(path, nbytes=9)
    with pytest.raises(RuntimeError, match="unable to open file"):
        flambeau.UntypedStorage.from_file(tmp_path / "none")
    with pytest.raises(RuntimeError, match="not a file that can be mapped"):
        flambeau.UntypedStorage.from_file(tmp_path)
    (tmp_path / "empty").touch()
    assert flambeau.UntypedStorage.from_file(tmp_path / "empty").nbytes() == 0


# ---- settings of load ------------------------------------------------------------------------------------------------


def test_settings(tmp_path):
    import mmap

    from flambeau import serialization

    path = tmp_path / "model.pt"
    flambeau.save(flambeau.arange(1000.0), path)
    with serialization.set_default_mmap_options(mmap.MAP_SHARED):
        flambeau.load(path, mmap=True).fill_(2)
    assert serialization.get_default_mmap_options() == mmap.MAP_PRIVATE
    with pytest.raises(RuntimeError, match="checksum"):
        flambeau.load(path)  # the file was changed through the mapping
    assert flambeau.load(path, mmap=True).unique().tolist() == [2]
    with pytest.raises(ValueError, match="expected mmap.MAP_PRIVATE or mmap.MAP_SHARED"):
        serialization.set_default_mmap_options(7)
    with serialization.skip_data():
        flambeau.save(flambeau.ones(1000), path)
    assert flambeau.load(path).tolist() == [0] * 1000
    with pytest.raises(TypeError, match="LoadEndianness"):
        serialization.set_default_load_endianness("big")
    flambeau.save(flambeau.tensor([1], dtype=flambeau.int16), path, _disable_byteorder_record=True)
    serialization.set_default_load_endianness(serialization.LoadEndianness.BIG)
    try:
        assert flambeau.load(path).tolist() == [256]
    finally:
        serialization.set_default_load_endianness(None)
    assert flambeau.load(path).tolist() == [1]


def test_devices_of_others(tmp_path):
    from flambeau._serialization import storages

    path = tmp_path / "model.pt"
    serialization = flambeau.serialization
    before = list(storages._packages)
    serialization.register_package(5, lambda s: "toy", lambda s, tag: s if tag == "toy" else None)
    try:
        flambeau.save(flambeau.ones(2), path)
        assert flambeau.load(path).tolist() == [1, 1]
    finally:
        storages._packages[:] = before
    with pytest.raises(RuntimeError, match="tagged with toy"):
        flambeau.load(path)
    assert flambeau.load(path, map_location="cpu").tolist() == [1, 1]
