// dtype, layout, memory_format, device and Size.
#include "bindings/types.h"

#include <cstring>

#include "bindings/op.h"
#include "bindings/signature.h"

namespace flb {

PyTypeObject* SizeType = nullptr;
static PyTypeObject* DTypeType = nullptr;
static PyTypeObject* LayoutType = nullptr;
static PyTypeObject* MemoryFormatType = nullptr;
static PyTypeObject* DeviceTypeObject = nullptr;

namespace {

// dtype, layout and memory_format: a value and its printed name, one object per value for the process.
struct EnumObject {
    PyObject_HEAD int value;
    const char* text;
};

EnumObject* dtype_objects[kDTypeCount];
EnumObject* layout_objects[8];
EnumObject* format_objects[4];

PyObject* enum_repr(PyObject* self) {
    return PyUnicode_FromString(reinterpret_cast<EnumObject*>(self)->text);
}
// Copied and pickled as the attribute of the package that it is.
PyObject* enum_reduce(PyObject* self, PyObject*) {
    const char* text = reinterpret_cast<EnumObject*>(self)->text;
    return PyUnicode_FromString(std::strchr(text, '.') + 1);
}
PyObject* enum_copy(PyObject* self, PyObject*) { return Py_NewRef(self); }

DType value_of(PyObject* self) { return DType(reinterpret_cast<EnumObject*>(self)->value); }
PyObject* dtype_is_floating(PyObject* self, void*) { return PyBool_FromLong(is_floating(value_of(self))); }
PyObject* dtype_is_complex(PyObject* self, void*) { return PyBool_FromLong(is_complex(value_of(self))); }
PyObject* dtype_is_signed(PyObject* self, void*) {
    return guarded([&]() -> PyObject* {
        check(!is_bits(value_of(self)), "Bits types are undefined");
        return PyBool_FromLong(info(value_of(self)).is_signed);
    });
}
PyObject* dtype_itemsize(PyObject* self, void*) { return PyLong_FromLong(itemsize(value_of(self))); }
PyObject* dtype_to_real(PyObject* self, PyObject*) {
    return Py_NewRef(dtype_object(info(value_of(self)).real));
}
PyObject* dtype_to_complex(PyObject* self, PyObject*) {
    return guarded([&]() -> PyObject* {
        const DType t = value_of(self);
        check(is_differentiable(t), "Unknown Complex ScalarType for ", info(t).class_name);
        return Py_NewRef(dtype_object(complex_dtype(t)));
    });
}

PyGetSetDef dtype_getset[] = {
    {"is_floating_point", dtype_is_floating, nullptr, "True for the floating point dtypes.", nullptr},
    {"is_complex", dtype_is_complex, nullptr, "True for the complex dtypes.", nullptr},
    {"is_signed", dtype_is_signed, nullptr, "True when negative values can be held.", nullptr},
    {"itemsize", dtype_itemsize, nullptr, "Bytes of one element.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef dtype_methods[] = {
    {"to_real", dtype_to_real, METH_NOARGS, "The dtype of the real part."},
    {"to_complex", dtype_to_complex, METH_NOARGS, "The complex dtype with parts of this one."},
    {"__reduce__", enum_reduce, METH_NOARGS, nullptr},
    {"__copy__", enum_copy, METH_NOARGS, nullptr},
    {"__deepcopy__", enum_copy, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyMethodDef enum_methods[] = {
    {"__reduce__", enum_reduce, METH_NOARGS, nullptr},
    {"__copy__", enum_copy, METH_NOARGS, nullptr},
    {"__deepcopy__", enum_copy, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot dtype_slots[] = {
    {Py_tp_repr, reinterpret_cast<void*>(enum_repr)},
    {Py_tp_getset, dtype_getset},
    {Py_tp_methods, dtype_methods},
    {0, nullptr},
};
PyType_Slot enum_slots[] = {
    {Py_tp_repr, reinterpret_cast<void*>(enum_repr)},
    {Py_tp_methods, enum_methods},
    {0, nullptr},
};
constexpr unsigned kEnumFlags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION;
PyType_Spec dtype_spec = {"torch.dtype", sizeof(EnumObject), 0, kEnumFlags, dtype_slots};
PyType_Spec layout_spec = {"torch.layout", sizeof(EnumObject), 0, kEnumFlags, enum_slots};
PyType_Spec format_spec = {"torch.memory_format", sizeof(EnumObject), 0, kEnumFlags, enum_slots};

EnumObject* make_enum(PyTypeObject* type, int value, const char* text) {
    EnumObject* o = PyObject_New(EnumObject, type);
    o->value = value;
    o->text = text;
    return o;
}

}  // namespace

PyObject* dtype_object(DType t) { return reinterpret_cast<PyObject*>(dtype_objects[int(t)]); }
PyObject* layout_object(Layout l) { return reinterpret_cast<PyObject*>(layout_objects[int(l)]); }
PyObject* memory_format_object(MemoryFormat f) { return reinterpret_cast<PyObject*>(format_objects[int(f)]); }

bool is_dtype_object(PyObject* o) {
    return Py_TYPE(o) == DTypeType || o == reinterpret_cast<PyObject*>(&PyFloat_Type) ||
           o == reinterpret_cast<PyObject*>(&PyLong_Type) || o == reinterpret_cast<PyObject*>(&PyBool_Type) ||
           o == reinterpret_cast<PyObject*>(&PyComplex_Type);
}
DType dtype_from(PyObject* o) {
    if (Py_TYPE(o) == DTypeType) return value_of(o);
    if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return DType::Float64;
    if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::Int64;
    if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::Bool;
    if (o == reinterpret_cast<PyObject*>(&PyComplex_Type)) return DType::Complex128;
    fail(ErrorKind::Type, "expected a torch.dtype, got ", Py_TYPE(o)->tp_name);
}
bool is_layout_object(PyObject* o) { return Py_TYPE(o) == LayoutType; }
Layout layout_from(PyObject* o) { return Layout(reinterpret_cast<EnumObject*>(o)->value); }
bool is_memory_format_object(PyObject* o) { return Py_TYPE(o) == MemoryFormatType; }
MemoryFormat memory_format_from(PyObject* o) { return MemoryFormat(reinterpret_cast<EnumObject*>(o)->value); }

// ---- device -------------------------------------------------------------------------------------------------------------

namespace {

struct DeviceObject {
    PyObject_HEAD Device device;
    const char* other;  // the name of a device type that is only known by name, interned
};

struct DeviceName {
    const char* name;
    DeviceType type;
};
constexpr DeviceName kDeviceNames[] = {
    {"cpu", DeviceType::Cpu}, {"meta", DeviceType::Meta}, {"cuda", DeviceType::Cuda},
    {"mps", DeviceType::Mps}, {"xpu", DeviceType::Xpu},
};

Device parse_device(const char* text) {
    const char* colon = std::strchr(text, ':');
    const std::string type = colon ? std::string(text, colon) : text;
    Device d;
    bool known = false;
    for (const DeviceName& n : kDeviceNames)
        if (type == n.name) {
            d.type = n.type;
            known = true;
        }
    check(known, "Expected one of cpu, cuda, mps, xpu, meta device type at start of device string: ", text);
    if (colon) {
        char* end;
        const long index = std::strtol(colon + 1, &end, 10);
        check(colon[1] && !*end && index >= 0 && index < 128 && (colon[1] != '0' || !colon[2]),
              "Invalid device string: '", text, "'");
        d.index = int8_t(index);
    }
    return d;
}

PyObject* device_new(PyTypeObject*, PyObject* args, PyObject* kwargs) {
    static const char* const names[] = {"type", "index", nullptr};
    static const char* const device_names[] = {"device", "index", nullptr};
    PyObject* type;
    PyObject* index = Py_None;
    const bool by_device = kwargs && PyDict_GetItemString(kwargs, "device");
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O",
                                     const_cast<char**>(by_device ? device_names : names), &type, &index))
        return nullptr;
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, is_device_like(type),
                 "device(): argument 'type' must be str or torch.device, not ", Py_TYPE(type)->tp_name);
        Device d = device_from(type);
        if (index != Py_None) {
            check(d.index < 0,
                  "type (string) must not include an index because index was passed explicitly: ", str(d));
            const long i = PyLong_AsLong(index);
            if (i == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
            check(i >= -1 && i < 128, "Device index must be between 0 and 127, got ", i);
            d.index = int8_t(i);
        }
        return device_object(d);
    });
}
Device device_of(PyObject* self) { return reinterpret_cast<DeviceObject*>(self)->device; }
PyObject* device_repr(PyObject* self) {
    const Device d = device_of(self);
    const std::string type = str(Device{d.type});
    if (d.index >= 0) return PyUnicode_FromFormat("device(type='%s', index=%d)", type.c_str(), int(d.index));
    return PyUnicode_FromFormat("device(type='%s')", type.c_str());
}
PyObject* device_str(PyObject* self) { return PyUnicode_FromString(str(device_of(self)).c_str()); }
PyObject* device_get_type(PyObject* self, void*) {
    return PyUnicode_FromString(str(Device{device_of(self).type}).c_str());
}
PyObject* device_get_index(PyObject* self, void*) {
    if (device_of(self).index < 0) Py_RETURN_NONE;
    return PyLong_FromLong(device_of(self).index);
}
Py_hash_t device_hash(PyObject* self) { return (int(device_of(self).type) << 8) + device_of(self).index + 7; }
PyObject* device_compare(PyObject* a, PyObject* b, int op) {
    if (Py_TYPE(b) != DeviceTypeObject || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
    return PyBool_FromLong((device_of(a) == device_of(b)) == (op == Py_EQ));
}
PyObject* device_reduce(PyObject* self, PyObject*) {
    return Py_BuildValue("O(s)", DeviceTypeObject, str(device_of(self)).c_str());
}
// `with torch.device("meta"):` is handled by flambeau.utils._device, which keeps the stack.
PyObject* device_context(PyObject* self, PyObject* args, const char* name) {
    PyObject* module = PyImport_ImportModule("flambeau._device");
    if (!module) return nullptr;
    PyObject* result = PyObject_CallMethod(module, name, "O", self);
    Py_DECREF(module);
    return result;
}
PyObject* device_enter(PyObject* self, PyObject* args) { return device_context(self, args, "enter"); }
PyObject* device_exit(PyObject* self, PyObject* args) { return device_context(self, args, "leave"); }
PyGetSetDef device_getset[] = {
    {"type", device_get_type, nullptr, "'cpu', 'meta', ...", nullptr},
    {"index", device_get_index, nullptr, "The ordinal, or None.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef device_methods[] = {
    {"__reduce__", device_reduce, METH_NOARGS, nullptr},
    {"__enter__", device_enter, METH_NOARGS, nullptr},
    {"__exit__", device_exit, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot device_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(device_new)},
    {Py_tp_repr, reinterpret_cast<void*>(device_repr)},
    {Py_tp_str, reinterpret_cast<void*>(device_str)},
    {Py_tp_hash, reinterpret_cast<void*>(device_hash)},
    {Py_tp_richcompare, reinterpret_cast<void*>(device_compare)},
    {Py_tp_getset, device_getset},
    {Py_tp_methods, device_methods},
    {0, nullptr},
};
PyType_Spec device_spec = {"torch.device", sizeof(DeviceObject), 0, Py_TPFLAGS_DEFAULT, device_slots};

}  // namespace

PyObject* device_object(Device d) {
    static PyObject* cpu = nullptr;
    const bool plain_cpu = d.type == DeviceType::Cpu && d.index < 0;
    if (plain_cpu && cpu) return Py_NewRef(cpu);
    DeviceObject* o = PyObject_New(DeviceObject, DeviceTypeObject);
    if (!o) throw Error(ErrorKind::Python, "");
    o->device = d;
    if (plain_cpu) cpu = Py_NewRef(reinterpret_cast<PyObject*>(o));
    return reinterpret_cast<PyObject*>(o);
}
bool is_device_like(PyObject* o) {
    return Py_TYPE(o) == DeviceTypeObject || PyUnicode_Check(o) || (PyLong_Check(o) && !PyBool_Check(o));
}
Device device_from(PyObject* o) {
    if (Py_TYPE(o) == DeviceTypeObject) return device_of(o);
    if (PyLong_Check(o)) {
        int overflow;
        const long index = PyLong_AsLongAndOverflow(o, &overflow);
        check(!overflow && index >= 0 && index < 128, "Device index must be between 0 and 127");
        return Device{DeviceType::Cuda, int8_t(index)};
    }
    const char* text = PyUnicode_AsUTF8(o);
    if (!text) throw Error(ErrorKind::Python, "");
    return parse_device(text);
}
DeviceType usable_device(Device d) {
    if (d.type == DeviceType::Cpu || d.type == DeviceType::Meta) return d.type;
    if (d.type == DeviceType::Cuda) {
        PyErr_SetString(PyExc_AssertionError,
                        "Torch not compiled with CUDA enabled: flambeau computes on the CPU "
                        "(devices 'cpu' and 'meta')");
        throw Error(ErrorKind::Python, "");
    }
    fail(ErrorKind::Runtime, "device '", str(d),
         "' is not available: flambeau computes on the CPU (devices 'cpu' and 'meta')");
}

// ---- Size ---------------------------------------------------------------------------------------------------------------

PyObject* size_object(const Dims& sizes) {
    PyObject* o = checked_object(SizeType->tp_alloc(SizeType, sizes.size()));
    for (int i = 0; i < sizes.size(); ++i) PyTuple_SET_ITEM(o, i, PyLong_FromLongLong(sizes[i]));
    return o;
}

namespace {

PyObject* as_size(PyObject* tuple) {
    if (!tuple || !PyTuple_CheckExact(tuple)) return tuple;
    const Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    PyObject* o = SizeType->tp_alloc(SizeType, n);
    for (Py_ssize_t i = 0; o && i < n; ++i) PyTuple_SET_ITEM(o, i, Py_NewRef(PyTuple_GET_ITEM(tuple, i)));
    Py_DECREF(tuple);
    return o;
}
PyObject* size_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    ObjectRef plain = ObjectRef::steal(PyTuple_Type.tp_new(&PyTuple_Type, args, kwargs));
    if (!plain) return nullptr;
    const Py_ssize_t n = PyTuple_GET_SIZE(plain.get());
    PyObject* o = type->tp_alloc(type, n);
    if (!o) return nullptr;
    for (Py_ssize_t i = 0; i < n; ++i) {
        PyObject* v = PyTuple_GET_ITEM(plain.get(), i);
        PyObject* number = PyLong_Check(v) ? Py_NewRef(v) : PyNumber_Index(v);
        if (!number) {
            PyErr_Format(PyExc_TypeError, "torch.Size() takes an iterable of 'int' (item %zd is '%s')", i,
                         Py_TYPE(v)->tp_name);
            Py_DECREF(o);
            return nullptr;
        }
        PyTuple_SET_ITEM(o, i, number);
    }
    return o;
}
PyObject* size_repr(PyObject* self) {
    ObjectRef list = ObjectRef::steal(PySequence_List(self));
    return list ? PyUnicode_FromFormat("torch.Size(%R)", list.get()) : nullptr;
}
PyObject* size_numel(PyObject* self, PyObject*) {
    PyObject* product = PyLong_FromLong(1);
    for (Py_ssize_t i = 0; product && i < PyTuple_GET_SIZE(self); ++i) {
        PyObject* next = PyNumber_Multiply(product, PyTuple_GET_ITEM(self, i));
        Py_DECREF(product);
        product = next;
    }
    return product;
}
PyObject* size_reduce(PyObject* self, PyObject*) {
    PyObject* plain = PyList_AsTuple(ObjectRef::steal(PySequence_List(self)).get());
    return plain ? Py_BuildValue("O(N)", SizeType, plain) : nullptr;
}
PyObject* size_concat(PyObject* a, PyObject* b) {
    if (!PyTuple_Check(b)) {
        PyErr_Format(PyExc_TypeError, "can only concatenate tuple (not \"%s\") to torch.Size",
                     Py_TYPE(b)->tp_name);
        return nullptr;
    }
    return as_size(PyTuple_Type.tp_as_sequence->sq_concat(a, b));
}
// tuple + Size reaches tuple's own slot first, so that Size can only answer through the number protocol.
PyObject* size_add(PyObject* a, PyObject* b) {
    if (!PyTuple_Check(a) || !PyTuple_Check(b)) Py_RETURN_NOTIMPLEMENTED;
    return as_size(PyTuple_Type.tp_as_sequence->sq_concat(a, b));
}
PyObject* size_repeat(PyObject* self, Py_ssize_t n) {
    return as_size(PyTuple_Type.tp_as_sequence->sq_repeat(self, n));
}
PyObject* size_subscript(PyObject* self, PyObject* key) {
    PyObject* found = PyTuple_Type.tp_as_mapping->mp_subscript(self, key);
    return PySlice_Check(key) ? as_size(found) : found;
}
PyMethodDef size_methods[] = {
    {"numel", size_numel, METH_NOARGS,
     "The product of the sizes: how many elements a tensor of this size has."},
    {"__reduce__", size_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot size_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(size_new)},
    {Py_tp_repr, reinterpret_cast<void*>(size_repr)},
    {Py_tp_methods, size_methods},
    {Py_sq_concat, reinterpret_cast<void*>(size_concat)},
    {Py_nb_add, reinterpret_cast<void*>(size_add)},
    {Py_sq_repeat, reinterpret_cast<void*>(size_repeat)},
    {Py_mp_subscript, reinterpret_cast<void*>(size_subscript)},
    {0, nullptr},
};
PyType_Spec size_spec = {"torch.Size", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, size_slots};

}  // namespace

// ---- numbers --------------------------------------------------------------------------------------------------------------

bool is_number(PyObject* o) {
    if (PyFloat_Check(o) || PyLong_Check(o) || PyComplex_Check(o)) return true;
    if (is_tensor(o) || PyUnicode_Check(o) || PyTuple_Check(o) || PyList_Check(o) || o == Py_None)
        return false;
    // NumPy's scalars, without importing NumPy; its arrays are not numbers.
    const char* name = Py_TYPE(o)->tp_name;
    if (std::strncmp(name, "numpy.", 6) == 0)
        return std::strcmp(name, "numpy.ndarray") != 0 && std::strcmp(name, "numpy.str_") != 0;
    return PyIndex_Check(o) && !has_torch_function(o);  // who answers for operators itself is asked first
}

Scalar number_from(PyObject* o) {
    if (PyFloat_Check(o)) return Scalar(PyFloat_AS_DOUBLE(o));
    if (PyBool_Check(o)) return Scalar(o == Py_True);
    if (PyComplex_Check(o)) {
        const Py_complex z = PyComplex_AsCComplex(o);
        return Scalar(Complex<double>(z.real, z.imag));
    }
    const char* type = Py_TYPE(o)->tp_name;
    if (std::strncmp(type, "numpy.bool", 10) == 0) {
        const int value = PyObject_IsTrue(o);
        if (value < 0) throw Error(ErrorKind::Python, "");
        return Scalar(value == 1);
    }
    if (PyLong_Check(o) || PyIndex_Check(o)) {
        ObjectRef index = ObjectRef::steal(checked_object(PyNumber_Index(o)));
        int overflow = 0;
        const long long value = PyLong_AsLongLongAndOverflow(index.get(), &overflow);
        if (overflow == 0) return Scalar(int64_t(value));
        if (overflow > 0) {
            const unsigned long long u = PyLong_AsUnsignedLongLong(index.get());
            if (!PyErr_Occurred()) return Scalar(uint64_t(u));
            PyErr_Clear();
        }
        fail(ErrorKind::Overflow, "Overflow when unpacking long long: the number does not fit in 64 bits");
    }
    if (std::strncmp(type, "numpy.complex", 13) == 0) {
        const Py_complex z = PyComplex_AsCComplex(o);
        if (PyErr_Occurred()) throw Error(ErrorKind::Python, "");
        return Scalar(Complex<double>(z.real, z.imag));
    }
    const double d = PyFloat_AsDouble(o);
    if (d == -1.0 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
    return Scalar(d);
}

PyObject* scalar_object(const Scalar& s) {
    switch (s.kind()) {
        case Scalar::Kind::Bool: return PyBool_FromLong(s.to_bool());
        case Scalar::Kind::Int: return PyLong_FromLongLong(s.to_int());
        case Scalar::Kind::UInt64: return PyLong_FromUnsignedLongLong(uint64_t(s.to_int()));
        case Scalar::Kind::Float: return PyFloat_FromDouble(s.to_double());
        case Scalar::Kind::Complex: break;
    }
    const Complex<double> z = s.to_complex();
    return PyComplex_FromDoubles(z.re, z.im);
}

// ---- module ---------------------------------------------------------------------------------------------------------------

void init_types(PyObject* module) {
    const auto make = [&](PyType_Spec* spec, const char* name, PyObject* bases = nullptr) {
        PyObject* type = checked_object(PyType_FromSpecWithBases(spec, bases));
        PyModule_AddObject(module, name, Py_NewRef(type));
        return reinterpret_cast<PyTypeObject*>(type);
    };
    DTypeType = make(&dtype_spec, "dtype");
    LayoutType = make(&layout_spec, "layout");
    MemoryFormatType = make(&format_spec, "memory_format");
    DeviceTypeObject = make(&device_spec, "device");
    ObjectRef bases = ObjectRef::steal(checked_object(PyTuple_Pack(1, &PyTuple_Type)));
    SizeType = make(&size_spec, "Size", bases.get());

    static std::string texts[kDTypeCount];
    for (int i = 0; i < kDTypeCount; ++i) {
        texts[i] = std::string("torch.") + kDTypes[i].name;
        dtype_objects[i] = make_enum(DTypeType, i, texts[i].c_str());
        PyModule_AddObject(module, kDTypes[i].name, Py_NewRef(dtype_object(DType(i))));
    }
    static const char* const layouts[] = {"torch.strided",    "torch.sparse_coo", "torch.sparse_csr",
                                          "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc",
                                          "torch._mkldnn",    "torch.jagged"};
    for (int i = 0; i < 8; ++i) {
        layout_objects[i] = make_enum(LayoutType, i, layouts[i]);
        PyModule_AddObject(module, layouts[i] + 6, Py_NewRef(reinterpret_cast<PyObject*>(layout_objects[i])));
    }
    static const char* const formats[] = {"torch.contiguous_format", "torch.preserve_format",
                                          "torch.channels_last", "torch.channels_last_3d"};
    for (int i = 0; i < 4; ++i) {
        format_objects[i] = make_enum(MemoryFormatType, i, formats[i]);
        PyModule_AddObject(module, formats[i] + 6, Py_NewRef(reinterpret_cast<PyObject*>(format_objects[i])));
    }
}

}  // namespace flb
