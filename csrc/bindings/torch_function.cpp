// __torch_function__: lets tensor subclasses and tensor-like objects take over an operator's call.
#include "bindings/signature.h"

namespace flb {

static thread_local int disabled_depth __attribute__((tls_model("initial-exec"))) = 0;
static PyObject* disabled_impl = nullptr;   // flambeau._C._disabled_torch_function_impl
static PyObject* attribute_name = nullptr;  // "__torch_function__", interned

bool has_torch_function(PyObject* o) {
    if (disabled_depth || PyLong_CheckExact(o) || PyFloat_CheckExact(o) || PyTuple_CheckExact(o) ||
        PyList_CheckExact(o) || PyUnicode_CheckExact(o) || o == Py_None)
        return false;
    PyObject* found = _PyType_Lookup(Py_TYPE(o), attribute_name);
    return found && found != disabled_impl && Py_TYPE(o) != TensorType;
}

static void collect(PyObject* o, std::vector<PyObject*>& out) {
    if (!has_torch_function(o)) return;
    for (PyObject* seen : out)
        if (Py_TYPE(seen) == Py_TYPE(o)) return;
    // Subclasses go before their bases.
    size_t at = out.size();
    for (size_t i = 0; i < out.size(); ++i)
        if (PyType_IsSubtype(Py_TYPE(o), Py_TYPE(out[i]))) {
            at = i;
            break;
        }
    out.insert(out.begin() + long(at), o);
}

PyObject* call_torch_function(PyObject* function, PyObject* const* args, size_t nargsf, PyObject* kwnames,
                              Op* op, PyObject** slots) {
    std::vector<PyObject*> overloaded;
    for (PyObject** s = slots; s < slots + op->params->size(); ++s) {
        if (!*s) continue;
        if (PyTuple_Check(*s) || PyList_Check(*s)) {
            for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(*s); ++i)
                collect(PySequence_Fast_ITEMS(*s)[i], overloaded);
        } else {
            collect(*s, overloaded);
        }
    }
    const Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    ObjectRef tuple = ObjectRef::steal(checked_object(PyTuple_New(nargs)));
    for (Py_ssize_t i = 0; i < nargs; ++i) PyTuple_SET_ITEM(tuple.get(), i, Py_NewRef(args[i]));
    ObjectRef kwargs = ObjectRef::steal(checked_object(PyDict_New()));
    for (Py_ssize_t i = 0; i < nkw; ++i)
        if (PyDict_SetItem(kwargs.get(), PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) < 0)
            throw Error(ErrorKind::Python, "");
    ObjectRef types = ObjectRef::steal(checked_object(PyTuple_New(Py_ssize_t(overloaded.size()))));
    for (size_t i = 0; i < overloaded.size(); ++i)
        PyTuple_SET_ITEM(types.get(), Py_ssize_t(i),
                         Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(overloaded[i]))));
    for (PyObject* o : overloaded) {
        ObjectRef handler = ObjectRef::steal(
            checked_object(PyObject_GetAttr(reinterpret_cast<PyObject*>(Py_TYPE(o)), attribute_name)));
        PyObject* result = checked_object(PyObject_CallFunctionObjArgs(handler.get(), function, types.get(),
                                                                       tuple.get(), kwargs.get(), nullptr));
        if (result != Py_NotImplemented) return result;
        Py_DECREF(result);
    }
    fail(ErrorKind::Type, "no implementation found for '", op->cname,
         "' on types that implement __torch_function__");
}

// x[key] of a subclass with __torch_function__: it sees Tensor.__getitem__ with the arguments.
static PyObject* item_through(PyObject* self, const char* name, PyObject* args) {
    ObjectRef held = ObjectRef::steal(checked_object(args));
    ObjectRef function = ObjectRef::steal(
        checked_object(PyObject_GetAttrString(reinterpret_cast<PyObject*>(TensorType), name)));
    ObjectRef handler = ObjectRef::steal(
        checked_object(PyObject_GetAttr(reinterpret_cast<PyObject*>(Py_TYPE(self)), attribute_name)));
    ObjectRef types = ObjectRef::steal(checked_object(PyTuple_Pack(1, Py_TYPE(self))));
    return checked_object(
        PyObject_CallFunctionObjArgs(handler.get(), function.get(), types.get(), held.get(), nullptr));
}
PyObject* subclass_getitem(PyObject* self, PyObject* key) {
    return item_through(self, "__getitem__", PyTuple_Pack(2, self, key));
}
PyObject* subclass_setitem(PyObject* self, PyObject* key, PyObject* value) {
    return item_through(self, "__setitem__", PyTuple_Pack(3, self, key, value));
}

static PyObject* disabled_torch_function_impl(PyObject*, PyObject* args) {
    PyObject *function, *types, *call_args = nullptr, *kwargs = nullptr;
    if (!PyArg_ParseTuple(args, "OO|OO", &function, &types, &call_args, &kwargs)) return nullptr;
    ++disabled_depth;
    ObjectRef none = ObjectRef::steal(PyTuple_New(0));
    PyObject* result = PyObject_Call(function, call_args ? call_args : none.get(), kwargs);
    --disabled_depth;
    return result;
}

static PyObject* push_disabled(PyObject*, PyObject*) {
    ++disabled_depth;
    Py_RETURN_NONE;
}
static PyObject* pop_disabled(PyObject*, PyObject*) {
    if (disabled_depth > 0) --disabled_depth;
    Py_RETURN_NONE;
}
static PyObject* is_enabled(PyObject*, PyObject*) { return PyBool_FromLong(disabled_depth == 0); }

static PyMethodDef methods[] = {
    {"_disabled_torch_function_impl", disabled_torch_function_impl, METH_VARARGS,
     "A __torch_function__ that runs the function plainly: subclasses set it to opt out."},
    {"_push_disable_torch_function", push_disabled, METH_NOARGS, nullptr},
    {"_pop_disable_torch_function", pop_disabled, METH_NOARGS, nullptr},
    {"_is_torch_function_enabled", is_enabled, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

void init_torch_function(PyObject* module) {
    attribute_name = checked_object(PyUnicode_InternFromString("__torch_function__"));
    if (PyModule_AddFunctions(module, methods) < 0) throw Error(ErrorKind::Python, "");
    disabled_impl = checked_object(PyObject_GetAttrString(module, "_disabled_torch_function_impl"));
}

}  // namespace flb
