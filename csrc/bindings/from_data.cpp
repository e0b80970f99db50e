// Tensors from Python data: nested sequences of numbers, tensors, anything with the buffer protocol.
#include <cstring>

#include "bindings/op.h"
#include "bindings/types.h"

namespace flb {

namespace {

bool is_nested(PyObject* o) {
    return PyList_Check(o) || PyTuple_Check(o) || PyRange_Check(o) ||
           (!PyUnicode_Check(o) && !PyBytes_Check(o) && !is_tensor(o) && PySequence_Check(o) && !PyDict_Check(o));
}

// What the data's leaves are, together.
struct Leaves {
    bool any = false, integer = false, floating = false, complex = false, big = false;
    DType tensor_dtype = DType::Bool;
    bool tensors = false;

    void add(PyObject* o) {
        any = true;
        if (is_tensor(o)) {
            const DType t = reinterpret_cast<Tensor*>(o)->dtype;
            tensor_dtype = tensors ? promote_types(tensor_dtype, t) : t;
            tensors = true;
        } else if (PyBool_Check(o)) {
        } else if (PyFloat_Check(o)) {
            floating = true;
        } else if (PyLong_Check(o)) {
            integer = true;
        } else if (PyComplex_Check(o)) {
            complex = true;
        } else if (is_number(o)) {
            switch (number_from(o).category()) {
                case DTypeKind::Bool: break;
                case DTypeKind::Integer: integer = true; break;
                case DTypeKind::Float: floating = true; break;
                case DTypeKind::Complex: complex = true; break;
            }
        } else {
            fail(ErrorKind::Runtime, "Could not infer dtype of ", Py_TYPE(o)->tp_name);
        }
    }
    DType dtype() const {
        if (!any) return default_dtype();
        const DType plain = complex ? default_complex_dtype() : floating ? default_dtype() : integer ? DType::Int64 : DType::Bool;
        return tensors ? promote_types(tensor_dtype, plain) : plain;
    }
};

ObjectRef items_of(PyObject* o) {
    ObjectRef items = ObjectRef::steal(PySequence_Fast(o, "expected a sequence"));
    if (!items) throw Error(ErrorKind::Python, "");
    return items;
}

Dims shape_of(PyObject* o) {
    Dims shape;
    ObjectRef current = ObjectRef::borrow(o);
    while (is_nested(current.get())) {
        ObjectRef items = items_of(current.get());
        shape.push_back(PySequence_Fast_GET_SIZE(items.get()));
        check_as(ErrorKind::Value, shape.size() <= kMaxDims, "too many dimensions '", Py_TYPE(o)->tp_name, "'");
        if (shape.back() == 0) return shape;
        current = ObjectRef::borrow(PySequence_Fast_ITEMS(items.get())[0]);
    }
    if (is_tensor(current.get()) && shape.size())
        for (int64_t s : reinterpret_cast<Tensor*>(current.get())->sizes) shape.push_back(s);
    return shape;
}

void survey(PyObject* o, Leaves& leaves, int depth) {
    if (!is_nested(o)) {
        leaves.add(o);
        return;
    }
    check_as(ErrorKind::Value, depth < kMaxDims, "too many dimensions '", Py_TYPE(o)->tp_name, "'");
    ObjectRef items = items_of(o);
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
        ObjectRef held = ObjectRef::borrow(PySequence_Fast_ITEMS(items.get())[i]);
        survey(held.get(), leaves, depth + 1);
    }
}

void store(const Dims& shape, int dim, PyObject* o, DType dtype, char*& at) {
    if (dim == shape.size()) {
        if (is_tensor(o)) {
            item(*reinterpret_cast<Tensor*>(o)).store(dtype, at);
        } else {
            if (is_nested(o)) fail(ErrorKind::Value, "expected a number at dim ", dim, " (got a ", Py_TYPE(o)->tp_name, ")");
            if (!is_number(o)) {
                if (PyUnicode_Check(o) || PyBytes_Check(o)) fail(ErrorKind::Type, "new(): invalid data type '", Py_TYPE(o)->tp_name, "'");
                fail(ErrorKind::Type, "must be real number, not ", Py_TYPE(o)->tp_name);
            }
            const Scalar s = number_from(o);
            check_as(ErrorKind::Type, !s.is_complex() || is_complex(dtype), "must be real number, not complex");
            check(s.fits(dtype), "value cannot be converted to type ", name_of(dtype), " without overflow");
            s.store(dtype, at);
        }
        at += itemsize(dtype);
        return;
    }
    if (is_tensor(o)) {
        Tensor& t = *reinterpret_cast<Tensor*>(o);
        check_as(ErrorKind::Value, t.ndim() == shape.size() - dim, "expected a tensor of ", shape.size() - dim, " dimensions, got shape ", str(t.sizes));
        for (int d = 0; d < t.ndim(); ++d)
            check_as(ErrorKind::Value, t.sizes[d] == shape[dim + d], "expected sequence of length ", shape[dim + d], " at dim ", dim + d, " (got ", t.sizes[d], ")");
        TensorRef dense = empty(t.sizes, dtype);
        copy_into(*dense, t);
        if (dense->numel) std::memcpy(at, kernel_pointer(*dense), dense->nbytes());
        at += dense->nbytes();
        return;
    }
    check_as(ErrorKind::Type, is_nested(o), "not a sequence: ", Py_TYPE(o)->tp_name);
    ObjectRef items = items_of(o);
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(items.get());
    check_as(ErrorKind::Value, n == shape[dim], "expected sequence of length ", shape[dim], " at dim ", dim, " (got ", n, ")");
    // Storing calls back into Python (__index__ ...): the sequence may shrink meanwhile.
    for (Py_ssize_t i = 0; i < n && i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
        ObjectRef held = ObjectRef::borrow(PySequence_Fast_ITEMS(items.get())[i]);
        store(shape, dim + 1, held.get(), dtype, at);
    }
}

// tensor_from_data(data, dtype or None, device or None): nested sequences and numbers.
PyObject* tensor_from_data(PyObject*, PyObject* args) {
    PyObject *data, *dtype = Py_None, *device = Py_None;
    if (!PyArg_ParseTuple(args, "O|OO", &data, &dtype, &device)) return nullptr;
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, dtype == Py_None || is_dtype_object(dtype), "dtype must be a torch.dtype");
        const DeviceType where = device == Py_None ? DeviceType::Cpu : usable_device(device_from(device));
        if (PyUnicode_Check(data)) fail(ErrorKind::Type, "new(): invalid data type 'str'");
        const Dims shape = shape_of(data);
        DType type;
        if (dtype != Py_None) {
            type = dtype_from(dtype);
        } else {
            Leaves leaves;
            survey(data, leaves, 0);
            type = leaves.dtype();
        }
        // Zeroed first: should the data shrink while it is read, nothing undefined remains.
        TensorRef out = empty(shape, type);
        fill(*out, Scalar(int64_t(0)));
        char* at = out->numel ? kernel_pointer(*out) : nullptr;
        if (out->numel || shape.empty()) store(shape, 0, data, type, at);
        if (where == DeviceType::Meta) return empty(shape, type, where).release();
        return out.release();
    });
}

PyMethodDef functions[] = {
    {"tensor_from_data", tensor_from_data, METH_VARARGS, "A tensor from nested sequences of numbers."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void init_from_data(PyObject* module) {
    if (PyModule_AddFunctions(module, functions) < 0) throw Error(ErrorKind::Python, "");
}

}  // namespace flb
