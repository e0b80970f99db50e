// NumPy's arrays and the buffer protocol, both ways and without copying. NumPy itself is never imported: its arrays
// are recognised by their type's name and read through the buffer protocol.
#include "bindings/interop.h"

#include <cstring>

#include "bindings/factory.h"

namespace flb {

// ---- recognising NumPy's types ----------------------------------------------------------------------------------------

bool is_numpy_array(PyObject* o) {
    if (PyList_CheckExact(o) || PyTuple_CheckExact(o) || PyFloat_CheckExact(o) || PyLong_CheckExact(o))
        return false;
    for (PyTypeObject* t = Py_TYPE(o); t; t = t->tp_base)
        if (std::strcmp(t->tp_name, "numpy.ndarray") == 0) return true;
    return false;
}

bool numpy_scalar_dtype(PyObject* o, DType* dtype) {
    if (PyFloat_CheckExact(o) || PyLong_CheckExact(o)) return false;
    const char* name = Py_TYPE(o)->tp_name;
    if (std::strncmp(name, "numpy.", 6) != 0) return false;
    name += 6;
    if (std::strcmp(name, "bool_") == 0) name = "bool";
    // C's names, which NumPy keeps for types that no sized name stands for.
    if (std::strcmp(name, "longlong") == 0) name = "int64";
    if (std::strcmp(name, "ulonglong") == 0) name = "uint64";
    for (int i = 0; i < kDTypeCount; ++i)
        if (std::strcmp(name, kDTypes[i].name) == 0) {
            *dtype = DType(i);
            return true;
        }
    return false;
}

namespace {

// ---- formats of the buffer protocol -------------------------------------------------------------------------------------

struct Format {
    const char* code;
    DType dtype;
};
// The first code of a dtype is the one we export: NumPy knows "l", not "q", as its int64.
constexpr Format kFormats[] = {
    {"?", DType::Bool},       {"B", DType::UInt8},
    {"b", DType::Int8},       {"h", DType::Int16},
    {"i", DType::Int32},      {"l", sizeof(long) == 8 ? DType::Int64 : DType::Int32},
    {"q", DType::Int64},      {"H", DType::UInt16},
    {"I", DType::UInt32},     {"L", sizeof(long) == 8 ? DType::UInt64 : DType::UInt32},
    {"Q", DType::UInt64},     {"e", DType::Float16},
    {"f", DType::Float32},    {"d", DType::Float64},
    {"Zf", DType::Complex64}, {"Zd", DType::Complex128},
    {"c", DType::UInt8},      {"n", DType::Int64},
    {"N", DType::UInt64},
};

const char* format_of(DType t) {
    for (const Format& f : kFormats)
        if (f.dtype == t) return f.code;
    return nullptr;
}

enum class FormatError { None, ByteOrder, Unknown };

FormatError parse_format(const char* text, Py_ssize_t itemsize, DType* dtype) {
    if (!text) text = "B";
    bool foreign = false;
    if (*text == '>' || *text == '!') foreign = true, ++text;
    else if (*text == '@' || *text == '=' || *text == '<') ++text;
    for (const Format& f : kFormats)
        if (std::strcmp(f.code, text) == 0) {
            // "=l" is four bytes where "@l" is eight: the size decides.
            *dtype = f.dtype;
            if ((f.code[0] == 'l' || f.code[0] == 'L') && itemsize == 4)
                *dtype = f.code[0] == 'l' ? DType::Int32 : DType::UInt32;
            if (flb::itemsize(*dtype) != itemsize) return FormatError::Unknown;
            return foreign && itemsize > 1 ? FormatError::ByteOrder : FormatError::None;
        }
    return FormatError::Unknown;
}

// ---- memory of others ---------------------------------------------------------------------------------------------------

// A Py_buffer that a storage holds until the last tensor on it dies. Releasing needs the interpreter, which may be
// gone when the process ends.
struct HeldBuffer {
    Py_buffer view;
    static void release(void* owner) {
        auto* held = static_cast<HeldBuffer*>(owner);
        if (Py_IsInitialized()) PyBuffer_Release(&held->view);
        delete held;
    }
};

HeldBuffer* hold_buffer(PyObject* o, int flags) {
    auto* held = new HeldBuffer();
    if (PyObject_GetBuffer(o, &held->view, flags) == 0) return held;
    delete held;
    return nullptr;
}

struct StorageGuard {
    Storage* storage;
    ~StorageGuard() { release(storage); }
};

std::string numpy_type_name(PyObject* array) {
    ObjectRef dtype = ObjectRef::steal(PyObject_GetAttrString(array, "dtype"));
    ObjectRef type = ObjectRef::steal(dtype ? PyObject_GetAttrString(dtype.get(), "type") : nullptr);
    if (!type || !PyType_Check(type.get())) {
        PyErr_Clear();
        return Py_TYPE(array)->tp_name;
    }
    return reinterpret_cast<PyTypeObject*>(type.get())->tp_name;
}

[[noreturn]] void unsupported_array(PyObject* array) {
    PyErr_Clear();
    fail(ErrorKind::Type, "can't convert np.ndarray of type ", numpy_type_name(array),
         ". The only supported types are: "
         "float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, "
         "uint16, uint8, and bool.");
}

void warn_not_writable(const char* what) {
    static bool warned = false;
    if (warned) return;
    warned = true;
    warn(join("The given ", what,
              " is not writable, and tensors cannot be marked as not writable: writing to this "
              "tensor is undefined behavior (here the tensor then takes a copy of its own). You may want to "
              "copy the data first. This warning is given only once.")
             .c_str());
}

}  // namespace

TensorRef from_numpy_array(PyObject* array, bool will_copy) {
    HeldBuffer* held = hold_buffer(array, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE);
    const bool writable = held != nullptr;
    if (!held) {
        PyErr_Clear();
        held = hold_buffer(array, PyBUF_STRIDES | PyBUF_FORMAT);
    }
    if (!held) unsupported_array(array);
    const Py_buffer& view = held->view;
    const auto refuse = [&](ErrorKind kind, const char* message) {
        HeldBuffer::release(held);
        fail(kind, message);
    };
    DType dtype;
    const FormatError error = parse_format(view.format, view.itemsize, &dtype);
    if (error == FormatError::ByteOrder)
        refuse(ErrorKind::Value,
               "given numpy array has byte order different from the native byte order. Conversion between "
               "byte orders is currently not supported. (array.astype(array.dtype.newbyteorder('=')) "
               "converts it.)");
    if (error == FormatError::Unknown) {
        HeldBuffer::release(held);
        unsupported_array(array);
    }
    Dims sizes, strides;
    for (int d = 0; d < view.ndim; ++d) {
        const Py_ssize_t stride = view.strides[d];
        if (stride < 0)
            refuse(ErrorKind::Value,
                   "At least one stride in the given numpy array is negative, and tensors with negative "
                   "strides are not currently supported. (You can probably work around this by making a copy "
                   "of your array "
                   " with array.copy().) ");
        if (stride % view.itemsize)
            refuse(ErrorKind::Value,
                   "given numpy array strides not a multiple of the element byte size. Copy the numpy "
                   "array to reallocate the memory.");
        sizes.push_back(view.shape[d]);
        strides.push_back(stride / view.itemsize);
    }
    const size_t align = size_t(itemsize(info(dtype).real));
    if (reinterpret_cast<uintptr_t>(view.buf) % align != 0) {
        HeldBuffer::release(held);
        check_as(ErrorKind::Value, will_copy,
                 "the elements of the given numpy array are not aligned in memory. Copy the "
                 "numpy array to reallocate the memory.");
        ObjectRef aligned = ObjectRef::steal(checked_object(PyObject_CallMethod(array, "copy", nullptr)));
        check_as(ErrorKind::Type, is_numpy_array(aligned.get()), "array.copy() must give an array");
        return from_numpy_array(aligned.get(), false);
    }
    size_t nbytes;
    try {
        nbytes = size_t(checked_extent_bytes(sizes, strides, 0, int(view.itemsize)));
    } catch (...) {
        HeldBuffer::release(held);
        throw;
    }
    const StorageGuard storage{adopt_storage(view.buf, nbytes, HeldBuffer::release, held)};
    storage.storage->read_only = !writable;
    if (!writable && !will_copy) warn_not_writable("NumPy array");
    return from_storage(storage.storage, sizes, strides, 0, dtype);
}

namespace {

PyObject* from_numpy(Call& call) {  // ndarray
    check_as(ErrorKind::Type, is_numpy_array(call.args[0]), "expected np.ndarray (got ",
             Py_TYPE(call.args[0])->tp_name, ")");
    return from_numpy_array(call.args[0], false).release();
}

PyObject* frombuffer(Call& call) {  // buffer, dtype, count, offset, requires_grad
    PyObject* buffer = call.args[0];
    const DType dtype = call.dtype(1);
    const int64_t count = call.integer(2), offset = call.integer(3), size = itemsize(dtype);
    const bool requires_grad = call.boolean(4);
    check(!requires_grad || is_differentiable(dtype),
          "Only Tensors of floating point and complex dtype can require gradients, got ", name_of(dtype));
    check_as(ErrorKind::Value, PyObject_CheckBuffer(buffer),
             "object does not implement Python buffer protocol.");
    HeldBuffer* held = hold_buffer(buffer, PyBUF_WRITABLE);
    const bool writable = held != nullptr;
    if (!held) {
        PyErr_Clear();
        held = hold_buffer(buffer, PyBUF_SIMPLE);
    }
    if (!held) throw Error(ErrorKind::Python, "");
    const StorageGuard storage{
        adopt_storage(held->view.buf, size_t(held->view.len), HeldBuffer::release, held)};
    const int64_t length = held->view.len;
    check_as(ErrorKind::Value, length > 0 && count != 0, "both buffer length (", length, ") and count (",
             count, ") must not be 0");
    check_as(ErrorKind::Value, offset >= 0 && offset < length, "offset (", offset,
             " bytes) must be non-negative and no greater than buffer length (", length, " bytes) minus 1");
    check_as(ErrorKind::Value, count > 0 || (length - offset) % size == 0, "buffer length (", length - offset,
             " bytes) after offset (", offset, " bytes) must be a multiple of element size (", size, ")");
    const int64_t available = (length - offset) / size, wanted = count > 0 ? count : available;
    check_as(ErrorKind::Value, wanted <= available, "requested buffer length (", wanted, " * ", size,
             " bytes) after offset (", offset, " bytes) must not be greater than actual buffer length (",
             length, " bytes)");
    storage.storage->read_only = !writable;
    if (!writable) warn_not_writable("buffer");
    // A storage begins where its elements do, so that an offset of any number of bytes is possible.
    char* start = static_cast<char*>(held->view.buf) + offset;
    check_as(ErrorKind::Value,
             reinterpret_cast<uintptr_t>(start) % uintptr_t(itemsize(info(dtype).real)) == 0,
             "the buffer's elements at offset ", offset, " are not aligned for dtype ", name_of(dtype),
             "; copy them first");
    storage.storage->data = start;
    storage.storage->nbytes = size_t(length - offset);
    TensorRef t = from_storage(storage.storage, {wanted}, {1}, 0, dtype);
    if (requires_grad) t->requires_grad_flag = true;
    return t.release();
}

// ---- tensors as buffers -------------------------------------------------------------------------------------------------

// What a view of a tensor's buffer needs beside the Py_buffer. The storage is held on its own account, because the
// tensor may be given another one meanwhile.
struct Export {
    Storage* storage;
    int ndim;
    Py_ssize_t numbers[1];  // sizes, then strides in bytes
};

bool fortran_contiguous(const Tensor& t) {
    int64_t expected = 1;
    for (int d = 0; d < t.ndim(); ++d) {
        if (t.sizes[d] != 1 && t.strides[d] != expected) return t.numel == 0;
        expected *= t.sizes[d];
    }
    return true;
}

const char* why_no_buffer(Tensor& t, int flags) {
    if (t.is_meta()) return "a meta tensor has no data to export";
    if (t.requires_grad())
        return "can't export the buffer of a tensor that requires grad; use tensor.detach()";
    if (!format_of(t.dtype)) return "the buffer protocol has no format for this tensor's dtype";
    const bool c = t.contiguous, f = fortran_contiguous(t);
    if ((flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS && !c)
        return "the tensor is not C-contiguous; use tensor.contiguous()";
    if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && !f)
        return "the tensor is not Fortran-contiguous";
    if ((flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS && !c && !f)
        return "the tensor is not contiguous; use tensor.contiguous()";
    if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES && !c)
        return "the tensor is not contiguous; use tensor.contiguous()";
    return nullptr;
}

}  // namespace

int get_tensor_buffer(PyObject* self, Py_buffer* view, int flags) {
    view->obj = nullptr;
    PyObject* ok = guarded([&]() -> PyObject* {
        Tensor& t = *reinterpret_cast<Tensor*>(self);
        if (const char* why = why_no_buffer(t, flags)) {
            PyErr_SetString(PyExc_BufferError, why);
            return nullptr;
        }
        if (t.storage->read_only) own_memory(t.storage);
        char* data = kernel_pointer(t);
        const int n = t.ndim();
        auto* out = static_cast<Export*>(std::malloc(sizeof(Export) + 2 * size_t(n) * sizeof(Py_ssize_t)));
        if (!out) throw std::bad_alloc();
        out->storage = t.storage;
        out->ndim = n;
        for (int d = 0; d < n; ++d) {
            out->numbers[d] = Py_ssize_t(t.sizes[d]);
            if (__builtin_mul_overflow(t.strides[d], int64_t(itemsize(t.dtype)), &out->numbers[n + d]))
                out->numbers[n + d] = 0;  // of one element, or of none: any stride is right
        }
        retain(t.storage);
        ++t.storage->exports;
        static char nothing[16];
        view->buf = data ? data : nothing;
        view->obj = Py_NewRef(self);
        view->len = Py_ssize_t(t.nbytes());
        view->itemsize = itemsize(t.dtype);
        view->readonly = 0;
        view->ndim = n;
        view->format = (flags & PyBUF_FORMAT) ? const_cast<char*>(format_of(t.dtype)) : nullptr;
        view->shape = (flags & PyBUF_ND) ? out->numbers : nullptr;
        view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? out->numbers + n : nullptr;
        view->suboffsets = nullptr;
        view->internal = out;
        Py_RETURN_NONE;
    });
    Py_XDECREF(ok);
    return ok ? 0 : -1;
}

void release_tensor_buffer(PyObject*, Py_buffer* view) {
    auto* out = static_cast<Export*>(view->internal);
    --out->storage->exports;
    release(out->storage);
    std::free(out);
}

// The code that NumPy knows the dtype by ("f4"), or an error where it has none.
static PyObject* numpy_code(PyObject*, PyObject* dtype) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, is_dtype_object(dtype), "expected a torch.dtype, got ",
                 Py_TYPE(dtype)->tp_name);
        const DTypeInfo& d = info(dtype_from(dtype));
        check_as(ErrorKind::Type, d.code[0] != 'V', "Got unsupported ScalarType ", d.class_name,
                 ": NumPy has no such dtype. Convert first, as in tensor.float().numpy()");
        return PyUnicode_FromString(d.code);
    });
}
static PyObject* set_default_device_(PyObject*, PyObject* device) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, is_device_like(device), "expected a torch.device, got ",
                 Py_TYPE(device)->tp_name);
        set_default_device(usable_device(device_from(device)));
        Py_RETURN_NONE;
    });
}
static PyMethodDef functions[] = {
    {"_numpy_code", numpy_code, METH_O, "NumPy's code of a dtype."},
    {"_set_default_device", set_default_device_, METH_O, "Where new tensors go when no device is named."},
    {nullptr, nullptr, 0, nullptr},
};

FLB_OPS({"from_numpy", from_numpy}, {"frombuffer", frombuffer});

void init_interop(PyObject* module) {
    if (PyModule_AddFunctions(module, functions) < 0 || PyModule_AddFunctions(module, dlpack_functions) < 0)
        throw Error(ErrorKind::Python, "");
}

}  // namespace flb
