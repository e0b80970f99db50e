#include "tensor/sparse.h"

#include "bindings/op.h"
#include "bindings/types.h"

namespace flb {

int64_t living_sparse_tensors = 0;

void set_parts(Tensor& t, const SparseParts& parts) {
    if (t.sparse) {
        const SparseParts old = std::move(*t.sparse);  // freed last: it may be all that keeps `parts` alive
        *t.sparse = parts;
        return;
    }
    t.sparse = new SparseParts(parts);
    ++living_sparse_tensors;
}

void drop_parts(Tensor& t) {
    --living_sparse_tensors;
    delete std::exchange(t.sparse, nullptr);
}

const char* layout_word(Layout layout) {
    static const char* const words[] = {"Strided",   "Sparse",    "SparseCsr", "SparseCsc",
                                        "SparseBsr", "SparseBsc", "Mkldnn",    "Jagged"};
    return words[int(layout)];
}
const char* backend_word(Layout layout) {
    return layout == Layout::Strided ? "CPU" : layout == Layout::SparseCoo ? "SparseCPU" : "SparseCsrCPU";
}

void fail_no_memory(const Tensor& t) {
    fail(ErrorKind::NotImplemented,
         "Cannot access data pointer of Tensor that doesn't have storage: a tensor of layout ",
         layout_word(layout_of(t)), " and shape ", str(t.sizes),
         " has only indices and values; to_dense() makes it an ordinary one");
}

namespace {

Tensor& tensor_argument(PyObject* o, const char* what) {
    check_as(ErrorKind::Type, is_tensor(o), "a sparse tensor's ", what, " must be a Tensor, not ",
             Py_TYPE(o)->tp_name);
    Tensor& t = *reinterpret_cast<Tensor*>(o);
    check(!t.sparse, "expected ", what, " to be a strided tensor, but got a tensor of layout ",
          layout_word(layout_of(t)));
    return t;
}

Dims dims_from(PyObject* o) {
    ObjectRef list = ObjectRef::steal(checked_object(PySequence_Fast(o, "size must be a sequence of ints")));
    Dims out;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.get()); ++i) {
        const long long n = PyLong_AsLongLong(PySequence_Fast_GET_ITEM(list.get(), i));
        if (n == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
        out.push_back(n);
    }
    return out;
}

// Shapes only: what stands in the indices is not looked at.
void check_coo(const SparseParts& p, const Dims& size) {
    const Tensor &i = *p.indices, &v = *p.values;
    check(i.dtype == DType::Int64, "indices must be an int64 tensor, got ", name_of(i.dtype));
    check(i.ndim() == 2, "indices must be sparse_dim x nnz, but got: ", str(i.sizes));
    check(v.ndim() >= 1 && v.sizes[0] == i.sizes[1],
          "indices and values must have same nnz, but got nnz from indices: ", i.sizes[1],
          ", nnz from values: ", v.ndim() ? v.sizes[0] : 1);
    const int dense = v.ndim() - 1;
    check(size.size() == i.sizes[0] + dense,
          "'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = ", size.size(),
          ", sparse_dim = ", i.sizes[0], ", dense_dim = ", dense);
    Dims expected{v.sizes[0]};
    for (int d = 0; d < dense; ++d) expected.push_back(size[int(i.sizes[0]) + d]);
    check(v.sizes == expected, "values has incorrect size, expected ", str(expected), ", got ", str(v.sizes));
}

// (compressed, plain, values) of (*batch, rows + 1), (*batch, nnz), (*batch, nnz, *block, *dense).
void check_compressed(const SparseParts& p, const Dims& size) {
    const Tensor &c = *p.indices, &plain = *p.plain, &v = *p.values;
    const bool by_row = p.layout == Layout::SparseCsr || p.layout == Layout::SparseBsr;
    const int block = p.layout == Layout::SparseBsr || p.layout == Layout::SparseBsc ? 2 : 0;
    const char* const cname = by_row ? "crow_indices" : "ccol_indices";
    const char* const pname = by_row ? "col_indices" : "row_indices";
    check(c.dtype == plain.dtype && (c.dtype == DType::Int32 || c.dtype == DType::Int64), cname, " and ",
          pname, " must be int32 or int64 tensors of the same dtype, got ", name_of(c.dtype), " and ",
          name_of(plain.dtype));
    check(c.ndim() >= 1, cname, " must have dimensionality >= 1 but got ", c.ndim());
    check(plain.ndim() == c.ndim(), cname, " and ", pname, " dimensionalities must be equal but got ",
          c.ndim(), " and ", plain.ndim(), ", respectively");
    const int batch = c.ndim() - 1, dense = v.ndim() - batch - 1 - block;
    check(dense >= 0, "values must have dimensionality >= ", batch + 1 + block, " but got ", v.ndim());
    check(size.size() == batch + 2 + dense,
          "tensor dimensionality must be sum of batch, base, and dense "
          "dimensionalities (=",
          batch, " + 2 + ", dense, ") but got ", size.size());
    for (int d = 0; d < batch; ++d)
        check(c.sizes[d] == size[d] && plain.sizes[d] == size[d] && v.sizes[d] == size[d],
              "all batch dimensions of the provided size (=", str(size),
              "), indices and values must be the same: got ", str(c.sizes), ", ", str(plain.sizes), " and ",
              str(v.sizes));
    const int64_t nnz = v.sizes[batch];
    check(plain.sizes[batch] == nnz, pname, ".shape[-1] must be equal to nnz (=", nnz,
          ") as defined by values.shape[", batch, "], but got ", plain.sizes[batch]);
    for (int k = 0; k < block; ++k) {
        const int64_t length = v.sizes[batch + 1 + k], whole = size[batch + k];
        check(length > 0 && whole % length == 0, "tensor shape[", batch + k, "] (=", whole,
              ") must be divisible with blocksize[", k, "] (=", length, ") as defined by values shape");
    }
    const int main = batch + (by_row ? 0 : 1);
    const int64_t lines = block ? size[main] / v.sizes[batch + 1 + (by_row ? 0 : 1)] : size[main];
    check(c.sizes[batch] == lines + 1, cname, ".shape[-1] must be equal to the number of ",
          by_row ? "rows" : "columns", " + 1 (=", lines + 1, "), but got ", c.sizes[batch]);
    for (int d = 0; d < dense; ++d)
        check(v.sizes[batch + 1 + block + d] == size[batch + 2 + d], "values shape ", str(v.sizes),
              " does not end with the dense dimensions of size ", str(size));
}

SparseParts parts_from(PyObject* layout, PyObject* indices, PyObject* plain, PyObject* values,
                       const Dims& size, bool coalesced) {
    check_as(ErrorKind::Type, is_layout_object(layout), "layout must be torch.layout");
    for (int64_t n : size)
        check(n >= 0, "a sparse tensor of size ", str(size), ": sizes must not be negative");
    check(size.size() <= kMaxDims, "a tensor has at most ", kMaxDims, " dimensions, got ", size.size());
    checked_numel(size);
    SparseParts p;
    p.layout = layout_from(layout);
    check(p.layout >= Layout::SparseCoo && p.layout <= Layout::SparseBsc,
          "expected a sparse layout, but got ", layout_word(p.layout));
    p.indices = shallow_copy(tensor_argument(indices, "indices"));
    p.values = shallow_copy(tensor_argument(values, "values"));
    check(p.indices->device == p.values->device, "device of indices (", str(Device{p.indices->device}),
          ") must match device of values (", str(Device{p.values->device}), ")");
    if (p.layout == Layout::SparseCoo) {
        check_coo(p, size);
        p.sparse_dim = int(p.indices->sizes[0]);
        p.coalesced = coalesced;
    } else {
        p.plain = shallow_copy(tensor_argument(plain, "indices"));
        check_compressed(p, size);
    }
    return p;
}

void become(Tensor& t, const SparseParts& parts, const Dims& size) {
    set_parts(t, parts);
    t.sizes = size;
    t.strides = Dims(size.size(), 0);
    t.numel = checked_numel(size);
    t.contiguous = false;
}

struct Given {
    PyObject *layout, *indices, *plain, *values, *size;
    int coalesced = 0;
};

// _sparse_tensor(layout, indices, plain or None, values, size, coalesced)
PyObject* sparse_tensor(PyObject*, PyObject* args) {
    Given g;
    if (!PyArg_ParseTuple(args, "OOOOOp", &g.layout, &g.indices, &g.plain, &g.values, &g.size, &g.coalesced))
        return nullptr;
    return guarded([&]() -> PyObject* {
        const Dims size = dims_from(g.size);
        const SparseParts parts = parts_from(g.layout, g.indices, g.plain, g.values, size, g.coalesced);
        TensorRef t = new_tensor();
        t->storage = new_storage(0, parts.values->device);
        t->dtype = parts.values->dtype;
        t->device = parts.values->device;
        become(*t, parts, size);
        return t.release();
    });
}

Tensor& sparse_argument(PyObject* o) {
    check_as(ErrorKind::Type, is_tensor(o) && reinterpret_cast<Tensor*>(o)->sparse,
             "expected a sparse tensor");
    return *reinterpret_cast<Tensor*>(o);
}

// _sparse_parts(t) -> (indices, plain or None, values, coalesced): tensors on the same memory.
PyObject* sparse_parts(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        const SparseParts& p = *sparse_argument(o).sparse;
        ObjectRef indices = ObjectRef::steal(shallow_copy(*p.indices).release());
        ObjectRef plain =
            p.plain ? ObjectRef::steal(shallow_copy(*p.plain).release()) : ObjectRef::borrow(Py_None);
        ObjectRef values = ObjectRef::steal(shallow_copy(*p.values).release());
        return PyTuple_Pack(4, indices.get(), plain.get(), values.get(), p.coalesced ? Py_True : Py_False);
    });
}

// _sparse_assign(t, other): t gets the parts and the size of another sparse tensor of its dtype and layout.
PyObject* sparse_assign(PyObject*, PyObject* args) {
    PyObject *target, *source;
    if (!PyArg_ParseTuple(args, "OO", &target, &source)) return nullptr;
    return guarded([&]() -> PyObject* {
        Tensor &t = sparse_argument(target), &from = sparse_argument(source);
        check(t.dtype == from.dtype && t.sparse->layout == from.sparse->layout && t.device == from.device,
              "a sparse tensor keeps its dtype, layout and device: got ", name_of(from.dtype), " and ",
              layout_word(from.sparse->layout), " for ", name_of(t.dtype), " and ",
              layout_word(t.sparse->layout));
        const SparseParts parts = *from.sparse;
        const Dims size = from.sizes;
        become(t, parts, size);
        return Py_NewRef(target);
    });
}

PyObject* sparse_set_coalesced(PyObject*, PyObject* args) {
    PyObject* target;
    int value;
    if (!PyArg_ParseTuple(args, "Op", &target, &value)) return nullptr;
    return guarded([&]() -> PyObject* {
        sparse_argument(target).sparse->coalesced = value;
        return Py_NewRef(target);
    });
}

PyMethodDef functions[] = {
    {"_sparse_tensor", sparse_tensor, METH_VARARGS,
     "_sparse_tensor(layout, indices, plain, values, size, coalesced): a sparse tensor on these parts, whose "
     "shapes are "
     "checked."},
    {"_sparse_parts", sparse_parts, METH_O,
     "The parts of a sparse tensor: (indices, plain, values, coalesced)."},
    {"_sparse_assign", sparse_assign, METH_VARARGS,
     "Gives a sparse tensor the parts and the size of another."},
    {"_sparse_set_coalesced", sparse_set_coalesced, METH_VARARGS, "Declares a COO tensor coalesced, or not."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void init_sparse(PyObject* module) {
    if (PyModule_AddFunctions(module, functions) < 0) throw Error(ErrorKind::Python, "");
}

}  // namespace flb
