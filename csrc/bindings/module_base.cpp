// The native base of nn.Module: finds parameters, buffers and submodules without a detour through Python's __getattr__,
// which every layer's forward would otherwise pay for several times.
#include "bindings/op.h"

extern "C" PyAPI_FUNC(PyObject*) _PyObject_GenericGetAttrWithDict(PyObject*, PyObject*, PyObject*, int);

namespace flb {

namespace {

PyObject* registries[3];  // "_parameters", "_buffers", "_modules", interned

PyObject* module_getattro(PyObject* self, PyObject* name) {
    // Without an exception where the attribute is missing.
    PyObject* found = _PyObject_GenericGetAttrWithDict(self, name, nullptr, 1);
    if (found || PyErr_Occurred()) return found;
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

PyType_Slot slots[] = {
    {Py_tp_getattro, reinterpret_cast<void*>(module_getattro)},
    {0, nullptr},
};
PyType_Spec spec = {"flambeau._C.ModuleBase", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

void init_module_base(PyObject* module) {
    constexpr const char* names[] = {"_parameters", "_buffers", "_modules"};
    for (int i = 0; i < 3; ++i) registries[i] = checked_object(PyUnicode_InternFromString(names[i]));
    PyModule_AddObject(module, "ModuleBase", checked_object(PyType_FromSpec(&spec)));
}

}  // namespace flb
