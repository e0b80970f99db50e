// Shared memory and mapped files as Python functions: used by flambeau.multiprocessing, loaders and serialization.
#include "core/shared_memory.h"

#include <unistd.h>

#include "bindings/op.h"
#include "bindings/types.h"
#include "core/crc32.h"
#include "core/interpreter.h"

namespace flb {

namespace {

PyObject* forget_name = nullptr;  // called with names of shared memory that were removed

void call_forget_name(const std::string& name) {
    if (!forget_name || !Py_IsInitialized()) return;
    PyObject *kind, *value, *traceback;  // storages die at any time, during the handling of an exception too
    PyErr_Fetch(&kind, &value, &traceback);
    PyObject* result = PyObject_CallFunction(forget_name, "s", name.c_str());
    if (!result) PyErr_WriteUnraisable(forget_name);
    Py_XDECREF(result);
    PyErr_Restore(kind, value, traceback);
}

Storage* checked_storage(PyObject* o) {
    Storage* storage = storage_from(o);
    check_as(ErrorKind::Type, storage, "expected an UntypedStorage, got ", Py_TYPE(o)->tp_name);
    return storage;
}

PyObject* take_storage(Storage* storage) {
    struct Guard {
        Storage* storage;
        ~Guard() { release(storage); }
    } guard{storage};
    return storage_object(storage);
}

size_t checked_size(Py_ssize_t nbytes) {
    check_as(ErrorKind::Value, nbytes >= 0, "a storage's size must not be negative, got ", nbytes);
    return size_t(nbytes);
}

PyObject* share_descriptor(PyObject*, PyObject* o) {
    return guarded([&] { return PyLong_FromLong(share_by_descriptor(checked_storage(o))); });
}
PyObject* storage_by_descriptor_(PyObject*, PyObject* args) {
    int fd;
    Py_ssize_t nbytes;
    if (!PyArg_ParseTuple(args, "in", &fd, &nbytes)) return nullptr;
    return guarded([&] { return take_storage(storage_by_descriptor(fd, size_t(nbytes))); });
}
PyObject* share_name(PyObject*, PyObject* o) {
    return guarded([&] { return PyUnicode_FromString(share_by_name(checked_storage(o)).c_str()); });
}
PyObject* storage_by_name_(PyObject*, PyObject* args) {
    const char* name;
    Py_ssize_t nbytes;
    if (!PyArg_ParseTuple(args, "sn", &name, &nbytes)) return nullptr;
    return guarded([&] { return take_storage(storage_by_name(name, checked_size(nbytes))); });
}
PyObject* shared_by_(PyObject*, PyObject* o) {
    return guarded([&] {
        static const char* const names[] = {"", "descriptor", "name", "segment"};
        return PyUnicode_FromString(names[size_t(shared_by(checked_storage(o)))]);
    });
}
PyObject* on_name_removed(PyObject*, PyObject* callable) {
    Py_XSETREF(forget_name, Py_NewRef(callable));
    name_removed = call_forget_name;
    Py_RETURN_NONE;
}

PyObject* segment_storage(PyObject*, PyObject* value) {
    return guarded([&] {
        const Py_ssize_t n = PyNumber_AsSsize_t(value, PyExc_OverflowError);
        if (n == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
        return take_storage(storage_in_segment(checked_size(n)));
    });
}
PyObject* send_segment_(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        SegmentHandle handle;
        if (!send_segment(checked_storage(o), &handle)) Py_RETURN_NONE;
        return Py_BuildValue("(Lni)", (long long)handle.id, Py_ssize_t(handle.length), handle.descriptor);
    });
}
PyObject* unsend_segment_(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        unsend_segment(checked_storage(o));
        Py_RETURN_NONE;
    });
}
PyObject* segments_given_up_(PyObject*, PyObject*) {
    return guarded([&]() -> PyObject* {
        ObjectRef list = ObjectRef::steal(checked_object(PyList_New(0)));
        for (const int64_t id : segments_given_up()) {
            ObjectRef number = ObjectRef::steal(checked_object(PyLong_FromLongLong(id)));
            if (PyList_Append(list.get(), number.get()) < 0) throw Error(ErrorKind::Python, "");
        }
        return list.release();
    });
}

constexpr const char* kSegment = "flambeau segment";

PyObject* map_segment_(PyObject*, PyObject* args) {
    int fd;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(args, "in", &fd, &length)) return nullptr;
    return guarded([&] {
        Segment* segment = map_segment(fd, size_t(length));
        PyObject* capsule = PyCapsule_New(segment, kSegment, [](PyObject* self) {
            release_segment(static_cast<Segment*>(PyCapsule_GetPointer(self, kSegment)));
        });
        if (!capsule) release_segment(segment);
        return capsule;
    });
}
PyObject* storage_on_segment_(PyObject*, PyObject* args) {
    PyObject* capsule;
    Py_ssize_t nbytes;
    if (!PyArg_ParseTuple(args, "On", &capsule, &nbytes)) return nullptr;
    auto* segment = static_cast<Segment*>(PyCapsule_GetPointer(capsule, kSegment));
    if (!segment) return nullptr;
    return guarded([&] { return take_storage(storage_on_segment(segment, checked_size(nbytes))); });
}

PyObject* storage_on_file_(PyObject*, PyObject* args) {
    PyObject* path = nullptr;
    int shared;
    Py_ssize_t nbytes;
    if (!PyArg_ParseTuple(args, "O&pn", PyUnicode_FSConverter, &path, &shared, &nbytes)) return nullptr;
    ObjectRef held = ObjectRef::steal(path);
    return guarded(
        [&] { return take_storage(storage_on_file(PyBytes_AS_STRING(path), shared, checked_size(nbytes))); });
}

PyObject* crc32_(PyObject*, PyObject* args) {
    Py_buffer view;
    unsigned int crc = 0;
    if (!PyArg_ParseTuple(args, "y*|I", &view, &crc)) return nullptr;
    PyObject* result = guarded([&] {
        {
            const Unlocked unlocked(view.len > (1 << 16));
            crc = crc32(crc, view.buf, size_t(view.len));
        }
        return PyLong_FromUnsignedLong(crc);
    });
    PyBuffer_Release(&view);
    return result;
}

PyMethodDef functions[] = {
    {"_share_by_descriptor", share_descriptor, METH_O,
     "Moves a storage into memory with a file descriptor, and returns that; -1 for a storage without "
     "memory."},
    {"_storage_by_descriptor", storage_by_descriptor_, METH_VARARGS,
     "_storage_by_descriptor(descriptor, nbytes): a storage on memory received; takes the descriptor."},
    {"_share_by_name", share_name, METH_O,
     "Moves a storage into memory with a name, and returns that, for one receiver; '' for one without "
     "memory."},
    {"_storage_by_name", storage_by_name_, METH_VARARGS,
     "_storage_by_name(name, nbytes): a storage on memory received."},
    {"_shared_by", shared_by_, METH_O, "How a storage is shared: '', 'descriptor', 'name' or 'segment'."},
    {"_on_name_removed", on_name_removed, METH_O,
     "Sets the function that is told of names of shared memory that were removed."},
    {"_segment_storage", segment_storage, METH_O,
     "A storage in memory that is sent to another process and comes back."},
    {"_send_segment", send_segment_, METH_O,
     "(id, length, descriptor or -1) of a storage's segment, for one receiver; None if it has none."},
    {"_unsend_segment", unsend_segment_, METH_O, "Takes back what _send_segment counted."},
    {"_segments_given_up", segments_given_up_, METH_NOARGS,
     "Segments that were given up since the last call."},
    {"_map_segment", map_segment_, METH_VARARGS,
     "_map_segment(descriptor, length): a segment received; takes the descriptor."},
    {"_storage_on_segment", storage_on_segment_, METH_VARARGS, "_storage_on_segment(segment, nbytes)"},
    {"_storage_on_file", storage_on_file_, METH_VARARGS,
     "_storage_on_file(path, shared, nbytes): a file's bytes as a storage; all of them if nbytes is 0."},
    {"_crc32", crc32_, METH_VARARGS, "_crc32(bytes, crc=0): the checksum of zip archives."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void init_shared_memory(PyObject* module) {
    if (PyModule_AddFunctions(module, functions) < 0) throw Error(ErrorKind::Python, "");
}

}  // namespace flb
