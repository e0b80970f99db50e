// Tensors from Python data: nested sequences of numbers, tensors, anything with the buffer protocol.
#include <cstring>

#include "autograd/node.h"
#include "bindings/factory.h"
#include "bindings/interop.h"

namespace flb {

namespace {

bool is_nested(PyObject* o) {
    return PyList_Check(o) || PyTuple_Check(o) || PyRange_Check(o) ||
           (!PyUnicode_Check(o) && !PyBytes_Check(o) && !is_tensor(o) && PySequence_Check(o) &&
            !PyDict_Check(o));
}

// What the data's leaves are, together.
struct Leaves {
    bool any = false, bools = false, integer = false, floating = false, complex = false;
    DType tensor_dtype = DType::Bool;
    bool tensors = false;

    void add_dtype(DType t) {
        tensor_dtype = tensors ? promote_types(tensor_dtype, t) : t;
        tensors = true;
    }
    void add(PyObject* o) {
        any = true;
        DType numpy;
        if (is_tensor(o)) {
            add_dtype(reinterpret_cast<Tensor*>(o)->dtype);
        } else if (numpy_scalar_dtype(o, &numpy)) {
            add_dtype(numpy);
        } else if (PyBool_Check(o)) {
            bools = true;
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
        const DType plain = complex    ? default_complex_dtype()
                            : floating ? default_dtype()
                            : integer  ? DType::Int64
                                       : DType::Bool;
        if (tensors && plain == DType::Bool && !bools) return tensor_dtype;
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
        check_as(ErrorKind::Value, shape.size() <= kMaxDims, "too many dimensions '", Py_TYPE(o)->tp_name,
                 "'");
        if (shape.back() == 0) return shape;
        current = ObjectRef::borrow(PySequence_Fast_ITEMS(items.get())[0]);
    }
    check_as(ErrorKind::Value,
             !shape.size() || !(PyUnicode_Check(current.get()) || PyBytes_Check(current.get())),
             "too many dimensions '", Py_TYPE(current.get())->tp_name, "'");
    // A sequence of one-element tensors is a sequence of numbers; larger tensors are stacked.
    if (is_tensor(current.get()) && shape.size() && reinterpret_cast<Tensor*>(current.get())->numel != 1)
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

void store_number(PyObject* o, DType dtype, char* at) {
    if (PyFloat_Check(o) && is_floating(dtype)) {
        Scalar(PyFloat_AS_DOUBLE(o)).store(dtype, at);
        return;
    }
    if (PyLong_Check(o) && is_differentiable(dtype)) {
        // Python's own conversion: any integer that a double can hold.
        const double d = PyLong_AsDouble(o);
        if (d == -1.0 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
        Scalar(d).store(dtype, at);
        return;
    }
    if (PyLong_Check(o)) {
        int overflow = 0;
        PyLong_AsLongLongAndOverflow(o, &overflow);
        bool fits = overflow == 0;
        if (overflow > 0 && dtype == DType::UInt64) {
            PyLong_AsUnsignedLongLong(o);
            fits = !PyErr_Occurred();
            PyErr_Clear();
        }
        check_as(ErrorKind::Value, fits || dtype == DType::Bool,
                 "Overflow when unpacking long long: the number does not fit into ", name_of(dtype));
        if (!fits) {
            Scalar(true).store(dtype, at);
            return;
        }
    }
    const Scalar s = number_from(o);
    check_as(ErrorKind::Type, !s.is_complex() || is_complex(dtype) || dtype == DType::Bool,
             is_integral(dtype) ? "'complex' object cannot be interpreted as an integer"
                                : "must be real number, not complex");
    check(is_differentiable(dtype) || s.fits(dtype), "value cannot be converted to type ", name_of(dtype),
          " without overflow");
    s.store(dtype, at);
}

void store(const Dims& shape, int dim, PyObject* o, DType dtype, char*& at) {
    if (dim == shape.size()) {
        if (is_tensor(o)) {
            item(*reinterpret_cast<Tensor*>(o)).store(dtype, at);
        } else {
            if (is_nested(o))
                fail(ErrorKind::Value, "expected a number at dim ", dim, " (got a ", Py_TYPE(o)->tp_name,
                     ")");
            if (!is_number(o)) {
                if (PyUnicode_Check(o) || PyBytes_Check(o))
                    fail(ErrorKind::Type, "new(): invalid data type '", Py_TYPE(o)->tp_name, "'");
                fail(ErrorKind::Type, "must be real number, not ", Py_TYPE(o)->tp_name);
            }
            store_number(o, dtype, at);
        }
        at += itemsize(dtype);
        return;
    }
    if (is_tensor(o)) {
        Tensor& t = *reinterpret_cast<Tensor*>(o);
        check_as(ErrorKind::Value, t.ndim() == shape.size() - dim, "expected a tensor of ",
                 shape.size() - dim, " dimensions, got shape ", str(t.sizes));
        for (int d = 0; d < t.ndim(); ++d)
            check_as(ErrorKind::Value, t.sizes[d] == shape[dim + d], "expected sequence of length ",
                     shape[dim + d], " at dim ", dim + d, " (got ", t.sizes[d], ")");
        TensorRef dense = empty(t.sizes, dtype);
        copy_into(*dense, t);
        if (dense->numel) std::memcpy(at, kernel_pointer(*dense), dense->nbytes());
        at += dense->nbytes();
        return;
    }
    check_as(ErrorKind::Type, is_nested(o), "not a sequence: ", Py_TYPE(o)->tp_name);
    ObjectRef items = items_of(o);
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(items.get());
    check_as(ErrorKind::Value, n == shape[dim], "expected sequence of length ", shape[dim], " at dim ", dim,
             " (got ", n, ")");
    // Storing calls back into Python (__index__ ...): the sequence may shrink meanwhile.
    for (Py_ssize_t i = 0; i < n && i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
        ObjectRef held = ObjectRef::borrow(PySequence_Fast_ITEMS(items.get())[i]);
        store(shape, dim + 1, held.get(), dtype, at);
    }
}

// Sequences and numbers, into fresh memory.
TensorRef from_sequence(PyObject* data, const DType* wanted) {
    if (PyUnicode_Check(data) || PyBytes_Check(data))
        fail(ErrorKind::Type, "new(): invalid data type '", Py_TYPE(data)->tp_name, "'");
    const Dims shape = shape_of(data);
    DType type;
    if (wanted) {
        type = *wanted;
    } else {
        Leaves leaves;
        survey(data, leaves, 0);
        type = leaves.dtype();
    }
    TensorRef out = empty(shape, type);
    if (shape.empty()) {
        char* at = kernel_pointer(*out);
        store(shape, 0, data, type, at);
        return out;
    }
    // Zeroed first: should the data shrink while it is read, nothing undefined remains.
    fill(*out, Scalar(int64_t(0)));
    char* at = out->numel ? kernel_pointer(*out) : nullptr;
    if (out->numel) store(shape, 0, data, type, at);
    return out;
}

TensorRef on_device(TensorRef t, DeviceType device) {
    if (t->device == device) return t;
    check_as(ErrorKind::NotImplemented, !t->is_meta(), "Cannot copy out of meta tensor; no data!");
    return empty(t->sizes, t->dtype, device);
}

}  // namespace

TensorRef tensor_from(PyObject* data, const DType* dtype, DeviceType device, bool copy) {
    if (is_tensor(data)) {
        Tensor& t = *reinterpret_cast<Tensor*>(data);
        TensorRef same = dtype && *dtype != t.dtype ? cast(t, *dtype) : copy ? clone(t) : shallow_copy(t);
        return on_device(same, device);
    }
    if (is_numpy_array(data)) {
        TensorRef view = from_numpy_array(data, copy);
        TensorRef same = dtype && *dtype != view->dtype ? cast(*view, *dtype) : copy ? clone(*view) : view;
        return on_device(same, device);
    }
    return on_device(from_sequence(data, dtype), device);
}

namespace {

// The dtype of argument i, or null where none was given.
struct OptionalDType {
    OptionalDType(const Call& call, int i)
        : given(!call.none(i)), value(given ? call.dtype(i) : DType::Float32) {}
    const DType* get() const { return given ? &value : nullptr; }
    bool given;
    DType value;
};

DeviceType device_for(const Call& call, int i, PyObject* data) {
    if (!call.none(i)) return usable_device(call.device(i));
    return is_tensor(data) ? reinterpret_cast<Tensor*>(data)->device : default_device();
}

TensorRef require_grad(TensorRef t, bool requires_grad) {
    check(!requires_grad || is_differentiable(t->dtype),
          "Only Tensors of floating point and complex dtype can require gradients, got ", name_of(t->dtype));
    if (requires_grad) t->requires_grad_flag = true;
    return t;
}

void warn_copy_construct(const char* advice) {
    warn(join("To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
              "sourceTensor.detach().clone().requires_grad_(True), rather than ",
              advice, "(sourceTensor).")
             .c_str());
}

PyObject* tensor(Call& call) {  // data, dtype, device, requires_grad, pin_memory
    PyObject* data = call.args[0];
    const OptionalDType dtype(call, 1);
    if (is_tensor(data)) warn_copy_construct("torch.tensor");
    const GradModeGuard no_grad(false);
    return require_grad(tensor_from(data, dtype.get(), device_for(call, 2, data), true), call.boolean(3))
        .release();
}
PyObject* new_tensor(Call& call) {  // input, data, dtype, device, requires_grad, pin_memory
    PyObject* data = call.args[1];
    if (is_tensor(data)) warn_copy_construct("tensor.new_tensor");
    const DType dtype = call.dtype(2, call.tensor(0).dtype);
    const DeviceType device = call.none(3) ? call.tensor(0).device : usable_device(call.device(3));
    return require_grad(tensor_from(data, &dtype, device, true), call.boolean(4)).release();
}
PyObject* scalar_tensor_(Call& call) {  // s, dtype ...
    const FactoryOptions o(call, 1, default_dtype());
    const Scalar value = call.scalar(0);
    check_fits(value, o.dtype);
    return o.finish(scalar_tensor(value, o.dtype, o.device));
}
// Data of other kinds than tensors, for as_tensor and asarray, which keep tensors and their history.
PyObject* from_data(Call& call) {  // data, dtype, device, copy
    const OptionalDType dtype(call, 1);
    return tensor_from(call.args[0], dtype.get(), device_for(call, 2, call.args[0]), call.boolean(3))
        .release();
}

// tensor_from_data(data, dtype or None, device or None)
PyObject* tensor_from_data(PyObject*, PyObject* args) {
    PyObject *data, *dtype = Py_None, *device = Py_None;
    if (!PyArg_ParseTuple(args, "O|OO", &data, &dtype, &device)) return nullptr;
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, dtype == Py_None || is_dtype_object(dtype), "dtype must be a torch.dtype");
        const DeviceType where = device == Py_None ? default_device() : usable_device(device_from(device));
        DType type = DType::Float32;
        if (dtype != Py_None) type = dtype_from(dtype);
        return tensor_from(data, dtype == Py_None ? nullptr : &type, where, true).release();
    });
}

PyMethodDef functions[] = {
    {"tensor_from_data", tensor_from_data, METH_VARARGS, "A tensor from nested sequences of numbers."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

FLB_OPS({"tensor", tensor}, {"new_tensor", new_tensor}, {"scalar_tensor", scalar_tensor_},
        {"_from_data", from_data});

void init_from_data(PyObject* module) {
    if (PyModule_AddFunctions(module, functions) < 0) throw Error(ErrorKind::Python, "");
}

}  // namespace flb
