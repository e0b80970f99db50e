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

// An argument, or what is in it if it is a list.
static void collect_in(PyObject* o, std::vector<PyObject*>& out) {
    if (PyTuple_Check(o) || PyList_Check(o)) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i)
            collect(PySequence_Fast_ITEMS(o)[i], out);
    } else {
        collect(o, out);
    }
}

static PyObject* ask(PyObject* function, const std::vector<PyObject*>& overloaded, PyObject* const* args,
                     size_t nargsf, PyObject* kwnames, const char* name) {
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
    fail(ErrorKind::Type, "no implementation found for '", name,
         "' on types that implement __torch_function__");
}

PyObject* call_torch_function(PyObject* function, PyObject* const* args, size_t nargsf, PyObject* kwnames,
                              Op* op, PyObject** slots) {
    std::vector<PyObject*> overloaded;
    for (PyObject** s = slots; s < slots + op->params->size(); ++s)
        if (*s) collect_in(*s, overloaded);
    return ask(function, overloaded, args, nargsf, kwnames, op->cname);
}

// ---- Overridable: a public function written in Python --------------------------------------------------------------

namespace {

// Its arguments' __torch_function__ gets the function itself, before the operators it is made of see them. Native, so
// that no frame stands between the caller and the function.
struct Overridable {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject* dict;
    PyObject* function;
};

Overridable& overridable(PyObject* self) { return *reinterpret_cast<Overridable*>(self); }

bool overrides(PyObject* o) {
    if (is_exact_tensor(o) || Py_TYPE(o) == ParameterType) return false;
    if (PyTuple_CheckExact(o) || PyList_CheckExact(o)) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
            PyObject* item = PySequence_Fast_ITEMS(o)[i];
            if (!is_exact_tensor(item) && Py_TYPE(item) != ParameterType && has_torch_function(item))
                return true;
        }
        return false;
    }
    return has_torch_function(o);
}

PyObject* overridable_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
    const Py_ssize_t n = PyVectorcall_NARGS(nargsf) + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    for (Py_ssize_t i = 0; i < n; ++i) {
        if (__builtin_expect(!overrides(args[i]), 1)) continue;
        return guarded([&] {
            std::vector<PyObject*> overloaded;
            for (Py_ssize_t k = 0; k < n; ++k) collect_in(args[k], overloaded);
            ObjectRef name = ObjectRef::steal(checked_object(PyObject_GetAttrString(self, "__name__")));
            const char* text = PyUnicode_Check(name.get()) ? PyUnicode_AsUTF8(name.get()) : nullptr;
            PyErr_Clear();
            return ask(self, overloaded, args, nargsf, kwnames, text ? text : "?");
        });
    }
    return PyObject_Vectorcall(overridable(self).function, args, nargsf, kwnames);
}

PyObject* overridable_new(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject* function;
    if (!PyArg_ParseTuple(args, "O", &function)) return nullptr;
    PyObject* self = type->tp_alloc(type, 0);
    if (!self) return nullptr;
    overridable(self).vectorcall = overridable_vectorcall;
    overridable(self).function = Py_NewRef(function);
    return self;
}
PyObject* overridable_get(PyObject* self, PyObject* object, PyObject*) {
    return object && object != Py_None ? PyMethod_New(self, object) : Py_NewRef(self);
}
// What the function has (its code, its defaults), beside what was set here.
PyObject* overridable_getattro(PyObject* self, PyObject* name) {
    PyObject* own = PyObject_GenericGetAttr(self, name);
    if (own || !PyErr_ExceptionMatches(PyExc_AttributeError)) return own;
    PyErr_Clear();
    return PyObject_GetAttr(overridable(self).function, name);
}
PyObject* overridable_repr(PyObject* self) {
    ObjectRef name = ObjectRef::steal(PyObject_GetAttrString(self, "__qualname__"));
    return name.get() ? PyUnicode_FromFormat("<function %U at %p>", name.get(), self) : nullptr;
}
// Pickled by its name.
PyObject* overridable_reduce(PyObject* self, PyObject*) {
    return PyObject_GetAttrString(self, "__qualname__");
}

PyGetSetDef overridable_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef overridable_methods[] = {
    {"__reduce__", overridable_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyMemberDef overridable_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Overridable, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(Overridable, dict), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot overridable_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(overridable_new)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_repr, reinterpret_cast<void*>(overridable_repr)},
    {Py_tp_descr_get, reinterpret_cast<void*>(overridable_get)},
    {Py_tp_getattro, reinterpret_cast<void*>(overridable_getattro)},
    {Py_tp_getset, overridable_getset},
    {Py_tp_methods, overridable_methods},
    {Py_tp_members, overridable_members},
    {0, nullptr},
};
// Like the other callables here they live as long as the process, and are not followed by the garbage collector.
PyType_Spec overridable_spec = {
    "flambeau._C.Overridable", sizeof(Overridable), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR, overridable_slots};

}  // namespace

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
    PyObject* type = checked_object(PyType_FromSpec(&overridable_spec));
    if (PyModule_AddObject(module, "Overridable", type) < 0) throw Error(ErrorKind::Python, "");
    disabled_impl = checked_object(PyObject_GetAttrString(module, "_disabled_torch_function_impl"));
}

}  // namespace flb
