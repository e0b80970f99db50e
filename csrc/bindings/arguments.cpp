// A call's arguments as C++ values, its results as Python objects, and errors across the border.
#include <cstring>

#include "bindings/op.h"
#include "bindings/types.h"
#include "kernels/iterator.h"

namespace flb {

// ---- errors -----------------------------------------------------------------------------------------------------------

void raise_python(const Error& error) {
    PyObject* type = PyExc_RuntimeError;
    switch (error.kind) {
        case ErrorKind::Python:
            if (PyErr_Occurred()) return;
            break;
        case ErrorKind::Type: type = PyExc_TypeError; break;
        case ErrorKind::Value: type = PyExc_ValueError; break;
        case ErrorKind::Index: type = PyExc_IndexError; break;
        case ErrorKind::NotImplemented: type = PyExc_NotImplementedError; break;
        case ErrorKind::Overflow: type = PyExc_OverflowError; break;
        case ErrorKind::Attribute: type = PyExc_AttributeError; break;
        case ErrorKind::Runtime:
        case ErrorKind::Memory: break;
    }
    PyErr_SetString(type, error.what());
}

// ---- reading arguments --------------------------------------------------------------------------------------------------

static int64_t to_int64(PyObject* o) {
    if (is_tensor(o)) return item(*reinterpret_cast<Tensor*>(o)).to_int();
    ObjectRef index = ObjectRef::steal(PyLong_Check(o) ? Py_NewRef(o) : PyNumber_Index(o));
    if (!index) throw Error(ErrorKind::Python, "");
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(index.get(), &overflow);
    if (overflow)
        fail(ErrorKind::Overflow,
             "Overflow when unpacking long long: an integer argument does not fit in 64 bits");
    if (value == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
    return value;
}

static double to_double(PyObject* o) {
    if (PyFloat_CheckExact(o)) return PyFloat_AS_DOUBLE(o);
    if (is_tensor(o)) return item(*reinterpret_cast<Tensor*>(o)).to_double();
    const double value = PyFloat_AsDouble(o);
    if (value == -1.0 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
    return value;
}

std::vector<Tensor*> Call::tensors(int i) const {
    std::vector<Tensor*> out;
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(args[i]);
    PyObject** items = PySequence_Fast_ITEMS(args[i]);
    out.reserve(size_t(n));
    for (Py_ssize_t k = 0; k < n; ++k) {
        if (items[k] != Py_None && !flb::is_tensor(items[k]))
            fail(ErrorKind::Type, "expected Tensor as element ", k, " in argument ", i, ", but got ",
                 Py_TYPE(items[k])->tp_name);
        out.push_back(items[k] == Py_None ? nullptr : reinterpret_cast<Tensor*>(items[k]));
    }
    return out;
}

Scalar Call::scalar(int i) const {
    if (flb::is_tensor(args[i])) return item(tensor(i));
    return number_from(args[i]);
}
int64_t Call::integer(int i) const { return to_int64(args[i]); }
double Call::real(int i) const { return to_double(args[i]); }

Dims Call::ints(int i) const {
    PyObject* o = args[i];
    const int repeat = (*op->params)[i].list_length;
    if (PyTuple_Check(o) || PyList_Check(o)) {
        const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
        Dims out;
        for (Py_ssize_t k = 0; k < n; ++k) out.push_back(to_int64(PySequence_Fast_ITEMS(o)[k]));
        // One given for all, as in kernel_size=(3,).
        if (repeat > 1 && n == 1) return Dims(repeat, out[0]);
        return out;
    }
    return Dims(repeat > 0 ? repeat : 1, to_int64(o));
}

std::vector<double> Call::reals(int i) const {
    PyObject* o = args[i];
    std::vector<double> out;
    if (PyTuple_Check(o) || PyList_Check(o)) {
        for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k)
            out.push_back(to_double(PySequence_Fast_ITEMS(o)[k]));
        return out;
    }
    const int repeat = (*op->params)[i].list_length;
    out.assign(size_t(repeat > 0 ? repeat : 1), to_double(o));
    return out;
}

const char* Call::str(int i) const {
    const char* s = PyUnicode_AsUTF8(args[i]);
    if (!s) throw Error(ErrorKind::Python, "");
    return s;
}
DType Call::dtype(int i) const { return dtype_from(args[i]); }
Device Call::device(int i) const { return none(i) ? Device{} : device_from(args[i]); }
MemoryFormat Call::memory_format(int i, MemoryFormat fallback) const {
    return none(i) ? fallback : memory_format_from(args[i]);
}

// ---- results ---------------------------------------------------------------------------------------------------------

PyObject* Call::results(std::initializer_list<TensorRef> values) const {
    PyObject* out = checked_object(op->result_type ? PyStructSequence_New(op->result_type)
                                                   : PyTuple_New(Py_ssize_t(values.size())));
    Py_ssize_t k = 0;
    for (const TensorRef& v : values) {
        PyObject* o = v ? Py_NewRef(v.object()) : Py_NewRef(Py_None);
        if (op->result_type) PyStructSequence_SET_ITEM(out, k++, o);
        else PyTuple_SET_ITEM(out, k++, o);
    }
    return out;
}

std::vector<Tensor*> Call::outs(int n) const {
    std::vector<Tensor*> out(size_t(n), nullptr);
    if (op->out_param < 0 || none(op->out_param)) return out;
    PyObject* o = args[op->out_param];
    if (flb::is_tensor(o)) {
        check(n == 1, "expected a tuple of ", n, " tensors as out=");
        out[0] = reinterpret_cast<Tensor*>(o);
        return out;
    }
    check(PySequence_Fast_GET_SIZE(o) == n, "expected a tuple of ", n, " tensors as out=, got ",
          PySequence_Fast_GET_SIZE(o));
    for (int k = 0; k < n; ++k) out[size_t(k)] = reinterpret_cast<Tensor*>(PySequence_Fast_ITEMS(o)[k]);
    return out;
}

void resize_output(Tensor& out, const Dims& sizes, const char* op_name) {
    if (out.sizes == sizes) return;
    if (out.numel != 0) {
        warn(join("An output with one or more elements was resized since it had shape ", str(out.sizes),
                  ", which does not match the required output shape ", str(sizes), " of ", op_name,
                  "(). This behavior is deprecated, and in a future PyTorch release outputs will not be "
                  "resized unless "
                  "they have zero elements. You can explicitly reuse an out tensor t by resizing it, "
                  "inplace, to zero "
                  "elements with t.resize_(0).")
                 .c_str());
    }
    resize(out, sizes);
}

bool can_cast(DType from, DType to) {
    const DTypeKind kf = info(from).kind, kt = info(to).kind;
    if (kf == DTypeKind::Complex && kt != DTypeKind::Complex) return false;
    if (kf == DTypeKind::Float && kt < DTypeKind::Float) return false;
    return !(from != DType::Bool && to == DType::Bool);
}

static void check_destination(Call& call, Tensor& out, const Dims& sizes, DType dtype, DeviceType device) {
    call.check(can_cast(dtype, out.dtype), "result type ", info(dtype).class_name,
               " can't be cast to the desired output type ", info(out.dtype).class_name);
    call.check(out.device == device, "Expected all tensors to be on the same device, but the result is on ",
               str(Device{device}), " and out is on ", str(Device{out.device}));
    if (call.op->inplace) {
        call.check(out.sizes == sizes, "output with shape ", str(out.sizes),
                   " doesn't match the broadcast shape ", str(sizes));
    } else {
        resize_output(out, sizes, call.name());
    }
    call.check(
        !has_internal_overlap(out),
        "unsupported operation: more than one element of the written-to tensor "
        "refers to a single memory location. Please clone() the tensor before performing the operation.");
}

TensorRef output(Call& call, const Dims& sizes, DType dtype, DeviceType device) {
    Tensor* out = call.out();
    if (!out) return empty(sizes, dtype, device);
    check_destination(call, *out, sizes, dtype, device);
    return TensorRef::borrow(out);
}

// Nothing is written before every destination was found good.
static void prepare_destination(Call& call, Tensor* out, const TensorRef& result) {
    if (!out || out == result.get()) return;
    check_destination(call, *out, result->sizes, result->dtype, result->device);
    if (!out->is_meta()) kernel_pointer(*out);
}
static TensorRef deliver_to(Tensor* out, TensorRef result) {
    if (!out || out == result.get()) return result;
    if (!out->is_meta()) copy_into(*out, *result);
    return TensorRef::borrow(out);
}

PyObject* deliver(Call& call, TensorRef result) {
    prepare_destination(call, call.out(), result);
    return deliver_to(call.out(), std::move(result)).release();
}

// Dtypes as PyTorch's older messages write them.
static const char* c_name(DType dtype) {
    switch (dtype) {
        case DType::UInt8: return "unsigned char";
        case DType::Int8: return "signed char";
        case DType::Int16: return "short int";
        case DType::Int32: return "int";
        case DType::Int64: return "long int";
        case DType::Float16: return "c10::Half";
        case DType::BFloat16: return "c10::BFloat16";
        case DType::Float32: return "float";
        case DType::Float64: return "double";
        default: return name_of(dtype);
    }
}

PyObject* deliver_all(Call& call, std::initializer_list<TensorRef> results) {
    const std::vector<Tensor*> outs = call.outs(int(results.size()));
    for (size_t k = 0; k < results.size(); ++k)  // all of them, before anything is written
        check(!outs[k] || outs[k]->dtype == results.begin()[k]->dtype, "Expected out tensor to have dtype ",
              c_name(results.begin()[k]->dtype), ", but got ", outs[k] ? c_name(outs[k]->dtype) : "",
              " instead");
    ObjectRef tuple = ObjectRef::steal(call.results(results));
    for (size_t k = 0; k < results.size(); ++k) prepare_destination(call, outs[k], results.begin()[k]);
    for (size_t k = 0; k < results.size(); ++k) {
        if (!outs[k]) continue;
        // One tensor given twice may have taken the other's shape.
        check_destination(call, *outs[k], results.begin()[k]->sizes, results.begin()[k]->dtype,
                          results.begin()[k]->device);
        TensorRef delivered = deliver_to(outs[k], results.begin()[k]);
        PyObject** slot = &reinterpret_cast<PyTupleObject*>(tuple.get())->ob_item[k];
        PyObject* old = *slot;
        *slot = delivered.release();
        Py_DECREF(old);
    }
    return tuple.release();
}

}  // namespace flb
