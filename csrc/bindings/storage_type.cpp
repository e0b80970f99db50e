// UntypedStorage: a tensor's bytes as a Python object. One living object per storage, so that `is` and shared-storage
// detection work.

#include <cstring>

#include "bindings/op.h"
#include "bindings/types.h"

namespace flb {

PyTypeObject* StorageType = nullptr;

namespace {

struct StorageObject {
    PyObject_HEAD PyObject* weakrefs;
    PyObject* dict;
    Storage* storage;
};

Storage& of(PyObject* self) { return *reinterpret_cast<StorageObject*>(self)->storage; }

// Memory mapped read-only is copied before a write. False: a Python exception is set.
bool make_writable(Storage& s) {
    PyObject* done = guarded([&]() -> PyObject* {
        if (s.read_only) own_memory(&s);
        Py_RETURN_NONE;
    });
    Py_XDECREF(done);
    return done != nullptr;
}

PyObject* wrap(PyTypeObject* type, Storage* storage) {  // takes the reference to storage
    StorageObject* self = reinterpret_cast<StorageObject*>(type->tp_alloc(type, 0));
    if (!self) {
        release(storage);
        throw Error(ErrorKind::Python, "");
    }
    self->storage = storage;
    storage->python = self;
    return reinterpret_cast<PyObject*>(self);
}

// UntypedStorage(nbytes), UntypedStorage(iterable of byte values), with device="cpu" | "meta".
PyObject* storage_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* const names[] = {"size", "device", nullptr};
    PyObject *size = nullptr, *device = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO", const_cast<char**>(names), &size, &device))
        return nullptr;
    return guarded([&]() -> PyObject* {
        const DeviceType where = device == Py_None ? DeviceType::Cpu : usable_device(device_from(device));
        if (!size) return wrap(type, new_storage(0, where));
        if (PyIndex_Check(size)) {
            const Py_ssize_t n = PyNumber_AsSsize_t(size, PyExc_OverflowError);
            if (n == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
            check(n >= 0, "UntypedStorage: size must not be negative, got ", n);
            return wrap(type, new_storage(size_t(n), where));
        }
        ObjectRef bytes = ObjectRef::steal(checked_object(PyBytes_FromObject(size)));
        Storage* storage = new_storage(size_t(PyBytes_GET_SIZE(bytes.get())), DeviceType::Cpu);
        std::memcpy(storage->data, PyBytes_AS_STRING(bytes.get()), storage->nbytes);
        return wrap(type, storage);
    });
}

void storage_dealloc(PyObject* self) {
    StorageObject* o = reinterpret_cast<StorageObject*>(self);
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (o->weakrefs) PyObject_ClearWeakRefs(self);
    Py_CLEAR(o->dict);
    if (o->storage->python == self) o->storage->python = nullptr;
    release(o->storage);
    type->tp_free(self);
    Py_DECREF(type);
}
int storage_traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(reinterpret_cast<StorageObject*>(self)->dict);
    return 0;
}
int storage_clear(PyObject* self) {
    Py_CLEAR(reinterpret_cast<StorageObject*>(self)->dict);
    return 0;
}

PyObject* nbytes(PyObject* self, PyObject*) { return PyLong_FromSize_t(of(self).nbytes); }
PyObject* size_of(PyObject* self, PyObject*) {
    return PyLong_FromSize_t(size_t(Py_TYPE(self)->tp_basicsize) + of(self).nbytes);
}
PyObject* data_ptr(PyObject* self, PyObject*) { return PyLong_FromVoidPtr(of(self).data); }
PyObject* resizable(PyObject* self, PyObject*) {
    return PyBool_FromLong(of(self).resizable && !of(self).exports);
}
PyObject* resize_(PyObject* self, PyObject* value) {
    return guarded([&]() -> PyObject* {
        const Py_ssize_t n = PyNumber_AsSsize_t(value, PyExc_OverflowError);
        if (n == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
        check(n >= 0, "resize_(): storage size must not be negative, got ", n);
        resize_storage(&of(self), size_t(n));
        return Py_NewRef(self);
    });
}
PyObject* get_device(PyObject* self, void*) {
    return guarded([&] { return device_object(Device{of(self).device}); });
}
PyObject* get_cdata(PyObject* self, void*) { return PyLong_FromVoidPtr(&of(self)); }
PyObject* get_is_cuda(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* share_memory_(PyObject* self, PyObject*) {
    return guarded([&]() -> PyObject* {
        share_storage(&of(self));
        return Py_NewRef(self);
    });
}
PyObject* is_shared(PyObject* self, PyObject*) { return PyBool_FromLong(of(self).shared); }

Py_ssize_t length(PyObject* self) { return Py_ssize_t(of(self).nbytes); }
PyObject* get_item(PyObject* self, Py_ssize_t i) {
    Storage& s = of(self);
    if (i < 0 || size_t(i) >= s.nbytes || !s.data) {
        PyErr_Format(PyExc_IndexError, "index %zd is out of range for a storage of %zu bytes", i, s.nbytes);
        return nullptr;
    }
    return PyLong_FromLong(static_cast<unsigned char*>(s.data)[i]);
}
int set_item(PyObject* self, Py_ssize_t i, PyObject* value) {
    Storage& s = of(self);
    if (i < 0 || size_t(i) >= s.nbytes || !s.data) {
        PyErr_Format(PyExc_IndexError, "index %zd is out of range for a storage of %zu bytes", i, s.nbytes);
        return -1;
    }
    const long v = value ? PyLong_AsLong(value) : -1;
    if (v < 0 || v > 255) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a storage holds bytes: values from 0 to 255");
        return -1;
    }
    if (!make_writable(s)) return -1;
    static_cast<unsigned char*>(s.data)[i] = static_cast<unsigned char>(v);
    return 0;
}

// A part of a storage's memory as a storage of its own; the whole must not move meanwhile.
PyObject* part_of(PyObject* self, Py_ssize_t start, Py_ssize_t length) {
    Storage& whole = of(self);
    check(whole.device != DeviceType::Meta, "a meta storage has no data");
    if (length == 0) return wrap(Py_TYPE(self), new_storage(0, DeviceType::Cpu));
    retain(&whole);
    ++whole.exports;
    Storage* part = adopt_storage(
        static_cast<char*>(whole.data) + start, size_t(length),
        [](void* owner) {
            auto* held = static_cast<Storage*>(owner);
            --held->exports;
            release(held);
        },
        &whole);
    part->read_only = whole.read_only;
    part->shared = whole.shared;
    return wrap(Py_TYPE(self), part);
}

bool resolve_slice(PyObject* self, PyObject* key, Py_ssize_t* start, Py_ssize_t* length) {
    Py_ssize_t stop, step;
    if (PySlice_Unpack(key, start, &stop, &step) < 0) return false;
    if (step != 1) {
        PyErr_Format(PyExc_RuntimeError,
                     "Trying to slice with a step of %zd, but only a step of 1 is supported", step);
        return false;
    }
    *length = PySlice_AdjustIndices(Py_ssize_t(of(self).nbytes), start, &stop, step);
    return true;
}

Py_ssize_t resolve_index(PyObject* self, PyObject* key) {  // -1 with an error set
    if (!PyIndex_Check(key)) {
        PyErr_Format(PyExc_TypeError, "can't index a storage with %s", Py_TYPE(key)->tp_name);
        return -1;
    }
    const Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) return -1;
    const Py_ssize_t n = Py_ssize_t(of(self).nbytes), at = i < 0 ? i + n : i;
    if (at < 0 || at >= n) {
        PyErr_Format(PyExc_IndexError, "index %zd is out of range for a storage of %zd bytes", i, n);
        return -1;
    }
    return at;
}

PyObject* subscript(PyObject* self, PyObject* key) {
    if (PySlice_Check(key)) {
        Py_ssize_t start, length;
        if (!resolve_slice(self, key, &start, &length)) return nullptr;
        return guarded([&] { return part_of(self, start, length); });
    }
    const Py_ssize_t i = resolve_index(self, key);
    return i < 0 ? nullptr : get_item(self, i);
}

int set_subscript(PyObject* self, PyObject* key, PyObject* value) {
    if (!PySlice_Check(key)) {
        const Py_ssize_t i = resolve_index(self, key);
        return i < 0 ? -1 : set_item(self, i, value);
    }
    Py_ssize_t start, length;
    if (!resolve_slice(self, key, &start, &length)) return -1;
    for (Py_ssize_t i = start; i < start + length; ++i)
        if (set_item(self, i, value) < 0) return -1;
    return 0;
}

// While a buffer is out, the memory must not move: resizing is refused until it is released.
int get_buffer(PyObject* self, Py_buffer* view, int flags) {
    Storage& s = of(self);
    if (s.device == DeviceType::Meta) {
        PyErr_SetString(PyExc_BufferError, "a meta storage has no data");
        return -1;
    }
    if (!make_writable(s)) return -1;
    if (PyBuffer_FillInfo(view, self, s.data, Py_ssize_t(s.nbytes), 0, flags) < 0) return -1;
    ++s.exports;
    return 0;
}
void release_buffer(PyObject* self, Py_buffer*) { --of(self).exports; }

// _from_buffer(object): a storage on the memory of any object with the buffer protocol, which it keeps alive.
PyObject* from_buffer(PyObject* type, PyObject* object) {
    return guarded([&]() -> PyObject* {
        auto* view = new Py_buffer();
        const bool writable = PyObject_GetBuffer(object, view, PyBUF_WRITABLE) == 0;
        if (!writable) {
            PyErr_Clear();
            if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0) {
                delete view;
                throw Error(ErrorKind::Python, "");
            }
        }
        Storage* storage = adopt_storage(
            view->buf, size_t(view->len),
            [](void* owner) {
                auto* held = static_cast<Py_buffer*>(owner);
                PyBuffer_Release(held);
                delete held;
            },
            view);
        storage->read_only = !writable;
        return wrap(reinterpret_cast<PyTypeObject*>(type), storage);
    });
}

PyMethodDef methods[] = {
    {"nbytes", nbytes, METH_NOARGS, "How many bytes the storage has."},
    {"size", nbytes, METH_NOARGS, "How many bytes the storage has."},
    {"__sizeof__", size_of, METH_NOARGS, "How many bytes the object takes, those of the storage among them."},
    {"data_ptr", data_ptr, METH_NOARGS, "The address of the first byte."},
    {"resizable", resizable, METH_NOARGS, "Whether resize_ may be called."},
    {"resize_", resize_, METH_O, "resize_(nbytes)\n\nChanges the number of bytes; those in common are kept."},
    {"share_memory_", share_memory_, METH_NOARGS, "Moves the bytes into memory that forked processes share."},
    {"is_shared", is_shared, METH_NOARGS, "Whether other processes see the memory."},
    {"_from_buffer", from_buffer, METH_O | METH_CLASS,
     "A storage on the memory of an object with the buffer protocol."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef getset[] = {
    {"device", get_device, nullptr, nullptr, nullptr},
    {"_cdata", get_cdata, nullptr, "An identity that all objects for one storage share.", nullptr},
    {"is_cuda", get_is_cuda, nullptr, nullptr, nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(StorageObject, weakrefs), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(StorageObject, dict), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(storage_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(storage_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(storage_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(storage_clear)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_sq_length, reinterpret_cast<void*>(length)},
    {Py_mp_length, reinterpret_cast<void*>(length)},
    {Py_mp_subscript, reinterpret_cast<void*>(subscript)},
    {Py_mp_ass_subscript, reinterpret_cast<void*>(set_subscript)},
    {Py_sq_item, reinterpret_cast<void*>(get_item)},
    {Py_sq_ass_item, reinterpret_cast<void*>(set_item)},
    {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
    {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
    {0, nullptr},
};
PyType_Spec spec = {"flambeau._C.UntypedStorage", sizeof(StorageObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyObject* storage_object(Storage* storage) {
    if (storage->python) return Py_NewRef(static_cast<PyObject*>(storage->python));
    retain(storage);
    return wrap(StorageType, storage);
}
Storage* storage_from(PyObject* o) {
    return PyObject_TypeCheck(o, StorageType) ? reinterpret_cast<StorageObject*>(o)->storage : nullptr;
}

// tensor_from_storage(storage, dtype, offset, size, stride)
static PyObject* tensor_from_storage(PyObject*, PyObject* args) {
    PyObject *storage, *dtype, *size, *stride;
    long long offset;
    if (!PyArg_ParseTuple(args, "OOLOO", &storage, &dtype, &offset, &size, &stride)) return nullptr;
    return guarded([&]() -> PyObject* {
        Storage* s = storage_from(storage);
        check_as(ErrorKind::Type, s && is_dtype_object(dtype),
                 "tensor_from_storage takes an UntypedStorage and a dtype");
        const auto dims = [](PyObject* o) {
            ObjectRef list = ObjectRef::steal(
                checked_object(PySequence_Fast(o, "sizes and strides must be sequences of ints")));
            Dims out;
            for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.get()); ++i) {
                const long long v = PyLong_AsLongLong(PySequence_Fast_ITEMS(list.get())[i]);
                if (v == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
                out.push_back(v);
            }
            return out;
        };
        return from_storage(s, dims(size), dims(stride), offset, dtype_from(dtype)).release();
    });
}
static PyMethodDef functions[] = {
    {"tensor_from_storage", tensor_from_storage, METH_VARARGS,
     "tensor_from_storage(storage, dtype, offset, size, stride): a tensor as a checked window on a storage."},
    {nullptr, nullptr, 0, nullptr},
};

void init_storage_type(PyObject* module) {
    StorageType = reinterpret_cast<PyTypeObject*>(checked_object(PyType_FromSpec(&spec)));
    PyModule_AddObject(module, "UntypedStorage", Py_NewRef(reinterpret_cast<PyObject*>(StorageType)));
    if (PyModule_AddFunctions(module, functions) < 0) throw Error(ErrorKind::Python, "");
}

}  // namespace flb
