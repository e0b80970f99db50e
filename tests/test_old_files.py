"""The format before the archives, in which storages stand behind the pickle that mentions them."""

import collections
import io
import pickle

import pytest

import flambeau
from flambeau import _utils


class AsPyTorch:
    """Pickles as what PyTorch writes for a tensor that it calls a conjugate or a negative."""

    def __init__(self, tensor, **metadata):
        self.arguments = (
            flambeau.storage.TypedStorage(wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype),
            tensor.storage_offset(),
            tuple(tensor.shape),
            tensor.stride(),
            tensor.requires_grad,
            collections.OrderedDict(),
            metadata,
        )

    def __reduce__(self):
        return _utils._rebuild_tensor_v2, self.arguments


def again(obj, **options):
    file = io.BytesIO()
    flambeau.save(obj, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    return flambeau.load(file, **options)


@pytest.mark.parametrize("weights_only", [True, False])
def test_sparse_tensors(weights_only):
    dense = flambeau.tensor([[0.0, 2.0], [3.0, 0.0]])
    found = again([dense.to_sparse(), dense.to_sparse_csr()], weights_only=weights_only)
    assert [f.to_dense().tolist() for f in found] == [dense.tolist()] * 2


def test_places_outside_a_sparse_tensor_are_refused():
    broken = flambeau.sparse_coo_tensor([[5]], [1.0], (2,), check_invariants=False)
    with pytest.raises(RuntimeError, match="found index 5"):
        again(broken)


@pytest.mark.parametrize("requires_grad", [True, False])
def test_conjugates_and_negatives(requires_grad):
    x = flambeau.tensor([1 + 2j, 3 - 1j], requires_grad=requires_grad)
    conjugate, negative, plain = again([AsPyTorch(x, conj=True), AsPyTorch(x, neg=True), AsPyTorch(x)])
    assert conjugate.tolist() == [1 - 2j, 3 + 1j] and negative.tolist() == [-1 - 2j, -3 + 1j]
    assert plain.tolist() == [1 + 2j, 3 - 1j]
    assert {t.requires_grad for t in (conjugate, negative, plain)} == {requires_grad}


def test_data_reaches_the_storage_that_map_location_chose():
    chosen = []

    def elsewhere(storage, location):
        chosen.append(flambeau.UntypedStorage(storage.nbytes()))
        return chosen[-1]

    assert again(flambeau.arange(3.0), map_location=elsewhere).tolist() == [0, 1, 2]
    assert len(chosen) == 1


class Row:
    """Writes a file as PyTorch's early releases did, with persistent ids that it is given."""

    def __init__(self, obj, ids, storages):
        self.file = io.BytesIO()

        class Pickler(pickle.Pickler):
            def persistent_id(self, item):
                return ids.get(id(item))

        for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(part, self.file, 2)
        Pickler(self.file, 2).dump(obj)
        pickle.dump([key for key, _ in storages], self.file, 2)
        for _, tensor in storages:
            self.file.write(tensor.numel().to_bytes(8, "little") + bytes(tensor.untyped_storage()))
        self.file.seek(0)


def test_parts_of_storages():
    data, mark = flambeau.arange(6.0), object()
    ids = {id(mark): ("storage", flambeau.FloatStorage, "0", "cpu", 6, ("1", 2, 3))}
    file = Row(mark, ids, [("0", data)]).file
    assert list(flambeau.load(file, weights_only=False)) == [2, 3, 4]


def test_modules_beside_their_source():
    mark = object()
    file = Row([mark], {id(mark): ("module", flambeau.nn.Linear, "linear.py", "class Linear: ...")}, []).file
    assert flambeau.load(file, weights_only=False) == [flambeau.nn.Linear]
