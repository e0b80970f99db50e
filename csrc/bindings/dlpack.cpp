// DLPack: tensors lent to other array libraries and borrowed from them, in the layout that github.com/dmlc/dlpack
// lays down. Old capsules ("dltensor") and versioned ones ("dltensor_versioned") are both spoken.
#include <cstring>
#include <vector>

#include "bindings/interop.h"

namespace flb {

namespace {

// ---- the protocol's structures ------------------------------------------------------------------------------------------

struct DLDevice {
    int32_t type;
    int32_t id;
};
struct DLDataType {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
};
struct DLTensor {
    void* data;
    DLDevice device;
    int32_t ndim;
    DLDataType dtype;
    int64_t* shape;
    int64_t* strides;  // in elements; null: contiguous
    uint64_t byte_offset;
};
struct DLManagedTensor {
    DLTensor tensor;
    void* context;
    void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
    uint32_t major, minor;
    void* context;
    void (*deleter)(DLManagedTensorVersioned*);
    uint64_t flags;
    DLTensor tensor;
};
constexpr int kCpu = 1;
constexpr uint32_t kMajor = 1, kMinor = 0;
constexpr uint64_t kReadOnly = 1, kCopied = 2;
enum TypeCode : uint8_t {
    kInt = 0,
    kUInt = 1,
    kFloat = 2,
    kBfloat = 4,
    kComplex = 5,
    kBool = 6,
    kFloat8_e4m3fn = 10,
    kFloat8_e4m3fnuz = 11,
    kFloat8_e5m2 = 12,
    kFloat8_e5m2fnuz = 13,
    kFloat8_e8m0fnu = 14,
    kFloat4_e2m1fn = 17,
};

template <class Managed> constexpr const char* kName = nullptr;
template <> constexpr const char* kName<DLManagedTensor> = "dltensor";
template <> constexpr const char* kName<DLManagedTensorVersioned> = "dltensor_versioned";
template <class Managed> constexpr const char* kUsedName = nullptr;
template <> constexpr const char* kUsedName<DLManagedTensor> = "used_dltensor";
template <> constexpr const char* kUsedName<DLManagedTensorVersioned> = "used_dltensor_versioned";

TypeCode code_of(DType t) {
    if (t == DType::Bool) return kBool;
    if (t == DType::BFloat16) return kBfloat;
    if (is_complex(t)) return kComplex;
    switch (t) {
        case DType::Float8_e4m3fn: return kFloat8_e4m3fn;
        case DType::Float8_e4m3fnuz: return kFloat8_e4m3fnuz;
        case DType::Float8_e5m2: return kFloat8_e5m2;
        case DType::Float8_e5m2fnuz: return kFloat8_e5m2fnuz;
        case DType::Float8_e8m0fnu: return kFloat8_e8m0fnu;
        case DType::Float4_e2m1fn_x2: return kFloat4_e2m1fn;
        default: break;
    }
    if (is_floating(t)) return kFloat;
    return info(t).is_signed ? kInt : kUInt;
}
DLDataType data_type(DType t) {
    if (t == DType::Float4_e2m1fn_x2) return {kFloat4_e2m1fn, 4, 2};
    return {code_of(t), uint8_t(itemsize(t) * 8), 1};
}
bool dtype_of_code(const DLDataType& d, DType* out) {
    for (int i = 0; i < kDTypeCount; ++i)
        if (const DLDataType known = data_type(DType(i));
            known.code == d.code && known.bits == d.bits && known.lanes == d.lanes) {
            *out = DType(i);
            return true;
        }
    return false;
}

// ---- lending ------------------------------------------------------------------------------------------------------------

// What the other library holds: the storage, which must not move meanwhile, and the numbers that DLTensor points to.
template <class Managed>
struct Loan {
    Managed managed;
    Storage* storage;
    std::vector<int64_t> sizes, strides;
};

template <class Managed>
void return_loan(Managed* managed) {
    if (!managed || !Py_IsInitialized()) return;
    // The other library may be done on any thread.
    const PyGILState_STATE state = PyGILState_Ensure();
    auto* loan = static_cast<Loan<Managed>*>(managed->context);
    --loan->storage->exports;
    release(loan->storage);
    delete loan;
    PyGILState_Release(state);
}

template <class Managed>
void drop_capsule(PyObject* capsule) {
    // A consumed capsule has been renamed, and its tensor belongs to the consumer.
    if (!PyCapsule_IsValid(capsule, kName<Managed>)) return;
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, kName<Managed>));
    if (managed->deleter) managed->deleter(managed);
}

template <class Managed>
PyObject* lend(Tensor& t, bool copied) {
    if (is_bits(t.dtype)) {
        PyErr_SetString(PyExc_BufferError, "Bit types are not supported by dlpack");
        throw Error(ErrorKind::Python, "");
    }
    if (t.storage->read_only) own_memory(t.storage);
    char* data = kernel_pointer(t);
    auto* loan = new Loan<Managed>{};
    loan->sizes.assign(t.sizes.begin(), t.sizes.end());
    loan->strides.assign(t.strides.begin(), t.strides.end());
    // Strides of single elements mean nothing, and other libraries check them: 1 offends nobody.
    for (size_t d = 0; d < loan->sizes.size(); ++d)
        if (loan->sizes[d] < 2) loan->strides[d] = 1;
    loan->storage = t.storage;
    retain(t.storage);
    ++t.storage->exports;
    Managed& m = loan->managed;
    m.context = loan;
    m.deleter = return_loan<Managed>;
    if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
        m.major = kMajor;
        m.minor = kMinor;
        m.flags = copied ? kCopied : 0;
    }
    m.tensor = {data, {kCpu, 0}, t.ndim(), data_type(t.dtype), loan->sizes.data(), loan->strides.data(), 0};
    PyObject* capsule = PyCapsule_New(&m, kName<Managed>, drop_capsule<Managed>);
    if (!capsule) {
        return_loan(&m);
        throw Error(ErrorKind::Python, "");
    }
    return capsule;
}

// _to_dlpack(tensor, versioned, copied)
PyObject* to_dlpack(PyObject*, PyObject* args) {
    PyObject* object;
    int versioned, copied;
    if (!PyArg_ParseTuple(args, "Opp", &object, &versioned, &copied)) return nullptr;
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, is_tensor(object), "_to_dlpack: expected a Tensor, got ",
                 Py_TYPE(object)->tp_name);
        Tensor& t = *reinterpret_cast<Tensor*>(object);
        if (t.is_meta() || t.requires_grad()) {
            PyErr_SetString(PyExc_BufferError,
                            t.is_meta() ? "Cannot pack tensors on meta"
                                        : "Can't export tensors that require gradient, use tensor.detach()");
            return nullptr;
        }
        return versioned ? lend<DLManagedTensorVersioned>(t, copied) : lend<DLManagedTensor>(t, copied);
    });
}

// ---- borrowing ----------------------------------------------------------------------------------------------------------

template <class Managed>
struct Borrowed {
    static void give_back(void* owner) {
        auto* managed = static_cast<Managed*>(owner);
        if (managed->deleter) managed->deleter(managed);
    }
};

[[noreturn]] void buffer_error(const std::string& message) {
    PyErr_SetString(PyExc_BufferError, message.c_str());
    throw Error(ErrorKind::Python, "");
}

// Everything the other library says is checked before a byte is believed.
template <class Managed>
PyObject* borrow(PyObject* capsule) {
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, kName<Managed>));
    if (!managed) throw Error(ErrorKind::Python, "");
    if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>)
        if (managed->major != kMajor)
            buffer_error(join("from_dlpack: version ", managed->major, " of DLPack is not supported (",
                              kMajor, " is)"));
    const DLTensor& d = managed->tensor;
    DType dtype;
    if (d.device.type != kCpu)
        buffer_error(join("from_dlpack: the tensor is on DLPack device ", d.device.type,
                          "; only CPU memory (", kCpu, ") can be read"));
    if (!dtype_of_code(d.dtype, &dtype))
        buffer_error(join("from_dlpack: no dtype for DLPack type code ", int(d.dtype.code), " of ",
                          int(d.dtype.bits), " bits in ", d.dtype.lanes, " lanes"));
    if (d.ndim < 0 || d.ndim > kMaxDims || (d.ndim && !d.shape))
        buffer_error(join("from_dlpack: ", d.ndim, " dimensions"));
    const Dims sizes(d.shape, d.ndim);
    for (int64_t s : sizes)
        if (s < 0) buffer_error(join("from_dlpack: negative size in ", str(sizes)));
    const int64_t numel = checked_numel(sizes);
    Dims strides = d.strides ? Dims(d.strides, d.ndim) : contiguous_strides(sizes);
    for (int i = 0; i < d.ndim; ++i) {
        if (sizes[i] < 2 && strides[i] < 0) strides[i] = 1;
        if (strides[i] < 0)
            buffer_error(join("from_dlpack: negative strides ", str(strides),
                              " are not supported; copy the array first"));
    }
    const int64_t nbytes = checked_extent_bytes(sizes, strides, 0, itemsize(dtype));
    char* data = static_cast<char*>(d.data) + (d.data ? d.byte_offset : 0);
    if (numel && !data) buffer_error("from_dlpack: the tensor has elements but no memory");
    if (reinterpret_cast<uintptr_t>(data) % uintptr_t(itemsize(info(dtype).real)))
        buffer_error("from_dlpack: the elements are not aligned in memory; copy the array first");
    if (PyCapsule_SetName(capsule, kUsedName<Managed>) < 0) throw Error(ErrorKind::Python, "");
    Storage* storage = adopt_storage(data, size_t(nbytes), Borrowed<Managed>::give_back, managed);
    struct Guard {
        Storage* storage;
        ~Guard() { release(storage); }
    } guard{storage};
    if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>)
        if (managed->flags & kReadOnly) {
            storage->read_only = true;
            warn(
                "from_dlpack: the memory is read-only, and tensors cannot be marked as not writable: at the "
                "first write "
                "this tensor takes a copy of its own. You may want to copy it first.");
        }
    return from_storage(storage, sizes, strides, 0, dtype).release();
}

// _from_dlpack(capsule)
PyObject* from_dlpack(PyObject*, PyObject* capsule) {
    return guarded([&]() -> PyObject* {
        if (PyCapsule_IsValid(capsule, kName<DLManagedTensorVersioned>))
            return borrow<DLManagedTensorVersioned>(capsule);
        if (PyCapsule_IsValid(capsule, kName<DLManagedTensor>)) return borrow<DLManagedTensor>(capsule);
        fail(ErrorKind::Runtime,
             "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only "
             "once, so you might have already constructed a tensor from it once. (got ",
             Py_TYPE(capsule)->tp_name, ")");
    });
}

}  // namespace

PyMethodDef dlpack_functions[] = {
    {"_to_dlpack", to_dlpack, METH_VARARGS,
     "A DLPack capsule on the tensor's memory: (tensor, versioned, copied)."},
    {"_from_dlpack", from_dlpack, METH_O, "A tensor on the memory of a DLPack capsule."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace flb
