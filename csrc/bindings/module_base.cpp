// The native base of nn.Module: finds parameters, buffers and submodules without a detour through Python's __getattr__,
// which every layer's forward would otherwise pay for several times.
#include "bindings/op.h"

extern "C" PyAPI_FUNC(PyObject*) _PyObject_GenericGetAttrWithDict(PyObject*, PyObject*, PyObject*, int);

namespace flb {

namespace {

PyObject* registries[3];  // "_parameters", "_buffers", "_modules", interned
PyObject* getattr_name;   // "__getattr__", interned
PyObject* own_getattr;    // Module.__getattr__; null before the class is known

PyObject* module_getattro(PyObject* self, PyObject* name) {
    // Without an exception where the attribute is missing.
    PyObject* found = _PyObject_GenericGetAttrWithDict(self, name, nullptr, 1);
    if (found || PyErr_Occurred()) return found;
    if (_PyType_Lookup(Py_TYPE(self), getattr_name) !=
        own_getattr) {  // the subclass has one of its own: it is asked
        PyErr_SetObject(PyExc_AttributeError, name);
        return nullptr;
    }
    ObjectRef dict = ObjectRef::steal(PyObject_GenericGetDict(self, nullptr));
    if (!dict) return nullptr;
    for (PyObject* registry : registries) {
        PyObject* entries = PyDict_GetItemWithError(dict.get(), registry);
        if (!entries || !PyDict_Check(entries)) {
            if (PyErr_Occurred()) return nullptr;
            continue;
        }
        PyObject* entry = PyDict_GetItemWithError(entries, name);
        if (entry) return Py_NewRef(entry);
        if (PyErr_Occurred()) return nullptr;
    }
    PyErr_SetObject(PyExc_AttributeError, name);  // Module.__getattr__ says more
    return nullptr;
}

PyObject* set_module_type(PyObject*, PyObject* type) {
    if (!PyType_Check(type)) {
        PyErr_SetString(PyExc_TypeError, "_set_module_type takes a class");
        return nullptr;
    }
    Py_XSETREF(own_getattr, Py_XNewRef(_PyType_Lookup(reinterpret_cast<PyTypeObject*>(type), getattr_name)));
    Py_RETURN_NONE;
}
PyMethodDef functions[] = {
    {"_set_module_type", set_module_type, METH_O,
     "_set_module_type(cls): whose __getattr__ is left out where a subclass has no other."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_getattro, reinterpret_cast<void*>(module_getattro)},
    {0, nullptr},
};
PyType_Spec spec = {"flambeau._C.ModuleBase", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

void init_module_base(PyObject* module) {
    constexpr const char* names[] = {"_parameters", "_buffers", "_modules"};
    for (int i = 0; i < 3; ++i) registries[i] = checked_object(PyUnicode_InternFromString(names[i]));
    getattr_name = checked_object(PyUnicode_InternFromString("__getattr__"));
    if (PyModule_AddFunctions(module, functions) < 0) throw Error(ErrorKind::Python, "");
    PyModule_AddObject(module, "ModuleBase", checked_object(PyType_FromSpec(&spec)));
}

}  // namespace flb
