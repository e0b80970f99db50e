// torch.Generator, and the default generator.

#include "bindings/op.h"
#include "bindings/types.h"

namespace flb {

PyTypeObject* GeneratorType = nullptr;

namespace {

Generator& of(PyObject* self) { return *reinterpret_cast<GeneratorObject*>(self)->generator; }

PyObject* wrap(Generator* generator, PyTypeObject* type) {
    PyObject* self = checked_object(type->tp_alloc(type, 0));
    reinterpret_cast<GeneratorObject*>(self)->generator = generator;
    return self;
}
PyObject* generator_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* const names[] = {"device", nullptr};
    PyObject* device = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", const_cast<char**>(names), &device)) return nullptr;
    return guarded([&]() -> PyObject* {
        if (device != Py_None) {
            check_as(ErrorKind::Type, is_device_like(device),
                     "Generator(): argument 'device' must be torch.device");
            usable_device(device_from(device));
        }
        return wrap(new Generator(), type);
    });
}
void generator_dealloc(PyObject* self) {
    GeneratorObject* o = reinterpret_cast<GeneratorObject*>(self);
    PyTypeObject* type = Py_TYPE(self);
    if (o->weakrefs) PyObject_ClearWeakRefs(self);
    if (o->generator != &default_generator()) delete o->generator;
    type->tp_free(self);
    Py_DECREF(type);
}

// Any Python int that fits in 64 bits, signed or not: negative ones wrap.
uint64_t seed_from(PyObject* value) {
    ObjectRef index = ObjectRef::steal(checked_object(PyNumber_Index(value)));
    const long long s = PyLong_AsLongLong(index.get());
    if (!(s == -1 && PyErr_Occurred())) return uint64_t(s);
    PyErr_Clear();
    const unsigned long long u = PyLong_AsUnsignedLongLong(index.get());
    if (PyErr_Occurred()) {
        PyErr_Clear();
        fail(ErrorKind::Value, "Overflow when unpacking long long: a seed must fit in 64 bits");
    }
    return u;
}
PyObject* manual_seed(PyObject* self, PyObject* value) {
    return guarded([&]() -> PyObject* {
        of(self).manual_seed(seed_from(value));
        return Py_NewRef(self);
    });
}
PyObject* seed(PyObject* self, PyObject*) { return PyLong_FromUnsignedLongLong(of(self).seed()); }
PyObject* initial_seed(PyObject* self, PyObject*) {
    return PyLong_FromUnsignedLongLong(of(self).initial_seed());
}
PyObject* get_state(PyObject* self, PyObject*) {
    return guarded([&]() -> PyObject* {
        TensorRef state = empty({int64_t(Generator::kStateBytes)}, DType::UInt8);
        of(self).get_state(reinterpret_cast<uint8_t*>(kernel_pointer(*state)));
        return state.release();
    });
}
PyObject* set_state(PyObject* self, PyObject* value) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, is_tensor(value), "expected a torch.ByteTensor, but got ",
                 Py_TYPE(value)->tp_name);
        Tensor& t = *reinterpret_cast<Tensor*>(value);
        check_as(ErrorKind::Type, t.dtype == DType::UInt8 && !t.is_meta(),
                 "RNG state must be a torch.ByteTensor");
        TensorRef dense = contiguous(t);
        of(self).set_state(reinterpret_cast<const uint8_t*>(kernel_pointer(*dense)), dense->nbytes());
        return Py_NewRef(self);
    });
}
PyObject* clone_state(PyObject* self, PyObject*) {
    return guarded([&]() -> PyObject* { return wrap(new Generator(of(self)), Py_TYPE(self)); });
}
PyObject* get_device(PyObject* self, void*) {
    return guarded([&] { return device_object(Device{}); });
}

PyMethodDef methods[] = {
    {"manual_seed", manual_seed, METH_O,
     "manual_seed(seed)\n\nStarts the stream of `seed` (any int of 64 bits) and returns the generator."},
    {"seed", seed, METH_NOARGS, "Reseeds from the system's entropy and returns the seed."},
    {"initial_seed", initial_seed, METH_NOARGS, "The seed that the current stream started from."},
    {"get_state", get_state, METH_NOARGS, "The state as a uint8 tensor, in PyTorch's layout."},
    {"set_state", set_state, METH_O, "set_state(state)\n\nContinues from a state of get_state."},
    {"clone_state", clone_state, METH_NOARGS, "An independent generator at the same point of the stream."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef getset[] = {
    {"device", get_device, nullptr, "torch.device('cpu').", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(GeneratorObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(generator_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(generator_dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {0, nullptr},
};
PyType_Spec spec = {"torch.Generator", sizeof(GeneratorObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                    slots};

}  // namespace

bool is_generator_object(PyObject* o) { return PyObject_TypeCheck(o, GeneratorType); }

Generator& Call::generator(int i) const {
    return none(i) ? default_generator() : *reinterpret_cast<GeneratorObject*>(args[i])->generator;
}

void init_generator_type(PyObject* module) {
    GeneratorType = reinterpret_cast<PyTypeObject*>(checked_object(PyType_FromSpec(&spec)));
    PyModule_AddObject(module, "Generator", Py_NewRef(reinterpret_cast<PyObject*>(GeneratorType)));
    PyModule_AddObject(module, "default_generator", wrap(&default_generator(), GeneratorType));
}

}  // namespace flb
