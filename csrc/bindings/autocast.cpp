// Autocast: which operators compute in which dtype, the casts, and those of weights kept for a block.
#include "bindings/autocast.h"

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bindings/types.h"

namespace flb {

thread_local bool autocast_on __attribute__((tls_model("initial-exec"))) = false;

namespace {

using Casts = std::unordered_map<Tensor*, std::pair<TensorRef, TensorRef>>;
struct State {
    DType lower = DType::BFloat16;
    bool cache_enabled = true;
    // Casts of weights: kept until the outermost block ends, as PyTorch does, whatever is written to them meanwhile.
    // A plain pointer: a thread that ends inside a block may not touch Python's objects any more.
    Casts* casts = nullptr;
};
thread_local State current;

std::unordered_map<Op*, CastPolicy>& policies() {
    static auto* map = new std::unordered_map<Op*, CastPolicy>();
    return *map;
}

struct Off {
    bool before = autocast_on;
    Off() { autocast_on = false; }
    ~Off() { autocast_on = before; }
};

bool eligible(PyObject* o) {
    if (!is_tensor(o)) return false;
    const Tensor& t = *reinterpret_cast<Tensor*>(o);
    return is_floating(t.dtype) && t.dtype != DType::Float64 && t.device == DeviceType::Cpu;
}

TensorRef converted(Tensor& t, DType dtype) {
    static OpHandle to("_to");
    return invoke_tensor(to, {t.object(), dtype_object(dtype)});
}

TensorRef cast_or_kept(Tensor& t, DType dtype) {
    const bool is_weight = current.cache_enabled && dtype == current.lower && t.dtype == DType::Float32 &&
                           modes.grad && t.requires_grad_flag && !t.base && t.is_leaf();
    if (!is_weight) return converted(t, dtype);
    if (!current.casts) current.casts = new Casts();
    auto found = current.casts->find(&t);
    if (found != current.casts->end()) return found->second.second;
    TensorRef made = converted(t, dtype);
    current.casts->emplace(&t, std::make_pair(TensorRef::borrow(&t), made));
    return made;
}

// float32 if one of the tensors that may be cast has it, else the lower dtype.
DType widest_of(PyObject* const* values, size_t count, DType lower) {
    bool wide = false;
    const auto look = [&](PyObject* o) {
        if (eligible(o)) wide |= reinterpret_cast<Tensor*>(o)->dtype == DType::Float32;
    };
    for (size_t i = 0; i < count; ++i) {
        PyObject* o = values[i];
        if (!o) continue;
        if (PyList_Check(o) || PyTuple_Check(o))
            for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k) look(PySequence_Fast_GET_ITEM(o, k));
        else look(o);
    }
    return wide ? DType::Float32 : lower;
}

// Replaces the tensors among `values`, and those in lists, by casts; `held` owns what it made.
void cast_all(PyObject** values, size_t count, CastPolicy policy, std::vector<ObjectRef>& held) {
    if (policy == CastPolicy::Same) return;
    const DType lower = current.lower;
    const DType dtype = policy == CastPolicy::Lower     ? lower
                        : policy == CastPolicy::Float32 ? DType::Float32
                                                        : widest_of(values, count, lower);
    const auto wants = [&](PyObject* o) {
        return eligible(o) && reinterpret_cast<Tensor*>(o)->dtype != dtype;
    };
    for (size_t i = 0; i < count; ++i) {
        PyObject* o = values[i];
        if (!o) continue;
        if (wants(o)) {
            held.push_back(ObjectRef::steal(cast_or_kept(*reinterpret_cast<Tensor*>(o), dtype).release()));
        } else if (PyList_Check(o) || PyTuple_Check(o)) {
            const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
            Py_ssize_t first = 0;
            while (first < n && !wants(PySequence_Fast_GET_ITEM(o, first))) ++first;
            if (first == n) continue;
            ObjectRef list = ObjectRef::steal(checked_object(PyList_New(n)));
            for (Py_ssize_t k = 0; k < n; ++k) {
                PyObject* item = PySequence_Fast_GET_ITEM(o, k);
                if (wants(item)) item = cast_or_kept(*reinterpret_cast<Tensor*>(item), dtype).release();
                else Py_INCREF(item);
                PyList_SET_ITEM(list.get(), k, item);
            }
            held.push_back(std::move(list));
        } else {
            continue;
        }
        values[i] = held.back().get();
    }
}

CastPolicy policy_named(const char* name) {
    const std::string text = name;
    if (text == "same") return CastPolicy::Same;
    if (text == "lower") return CastPolicy::Lower;
    if (text == "float32") return CastPolicy::Float32;
    check_as(ErrorKind::Value, text == "widest", "unknown autocast policy '", text, "'");
    return CastPolicy::Widest;
}

// A Python function with a policy; it calls the function itself while autocast is off.
struct CastFunction {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject* dict;
    PyObject* function;
    CastPolicy policy;
};
PyTypeObject* CastFunctionType = nullptr;

bool gives_out(PyObject* const* args, size_t positional, PyObject* kwnames) {
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); ++i)
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i), "out") == 0)
            return args[positional + i] != Py_None;
    return false;
}

PyObject* cast_function_vectorcall(PyObject* object, PyObject* const* args, size_t nargsf,
                                   PyObject* kwnames) {
    CastFunction* self = reinterpret_cast<CastFunction*>(object);
    if (__builtin_expect(!autocast_on, 1))
        return PyObject_Vectorcall(self->function, args, nargsf & ~PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
    return guarded([&]() -> PyObject* {
        const size_t positional = PyVectorcall_NARGS(nargsf);
        const size_t count = positional + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
        std::vector<PyObject*> values(args, args + count);
        std::vector<ObjectRef> held;
        if (gives_out(args, positional, kwnames))
            return PyObject_Vectorcall(self->function, args, positional, kwnames);
        Off off;
        cast_all(values.data(), count, self->policy, held);
        return PyObject_Vectorcall(self->function, values.data(), positional, kwnames);
    });
}

PyObject* cast_function_new(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject* function;
    const char* policy;
    if (!PyArg_ParseTuple(args, "Os", &function, &policy)) return nullptr;
    return guarded([&]() -> PyObject* {
        const CastPolicy chosen = policy_named(policy);
        CastFunction* self = reinterpret_cast<CastFunction*>(checked_object(type->tp_alloc(type, 0)));
        self->vectorcall = cast_function_vectorcall;
        Py_INCREF(function);
        self->function = function;
        self->policy = chosen;
        return reinterpret_cast<PyObject*>(self);
    });
}

PyObject* cast_function_bind(PyObject* self, PyObject* object, PyObject*) {
    if (object && object != Py_None) return PyMethod_New(self, object);
    Py_INCREF(self);
    return self;
}

// What the object does not have itself is the function's.
PyObject* cast_function_getattro(PyObject* self, PyObject* name) {
    PyObject* own = PyObject_GenericGetAttr(self, name);
    if (own || !PyErr_ExceptionMatches(PyExc_AttributeError)) return own;
    PyErr_Clear();
    return PyObject_GetAttr(reinterpret_cast<CastFunction*>(self)->function, name);
}

PyObject* cast_function_repr(PyObject* self) {
    return PyObject_Repr(reinterpret_cast<CastFunction*>(self)->function);
}

// Pickled by name, as functions are.
PyObject* cast_function_reduce(PyObject* self, PyObject*) {
    return PyObject_GetAttrString(reinterpret_cast<CastFunction*>(self)->function, "__qualname__");
}

PyGetSetDef cast_function_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef cast_function_methods[] = {
    {"__reduce__", cast_function_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyMemberDef cast_function_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(CastFunction, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(CastFunction, dict), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot cast_function_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(cast_function_new)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_repr, reinterpret_cast<void*>(cast_function_repr)},
    {Py_tp_descr_get, reinterpret_cast<void*>(cast_function_bind)},
    {Py_tp_getattro, reinterpret_cast<void*>(cast_function_getattro)},
    {Py_tp_getset, cast_function_getset},
    {Py_tp_methods, cast_function_methods},
    {Py_tp_members, cast_function_members},
    {0, nullptr},
};
PyType_Spec cast_function_spec = {
    "flambeau._C.CastFunction", sizeof(CastFunction), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR, cast_function_slots};

PyObject* set_autocast(PyObject*, PyObject* args) {
    int enabled, cache_enabled;
    PyObject* dtype;
    if (!PyArg_ParseTuple(args, "pOp", &enabled, &dtype, &cache_enabled)) return nullptr;
    return guarded([&]() -> PyObject* {
        current.lower = dtype_from(dtype);
        current.cache_enabled = cache_enabled;
        autocast_on = enabled;
        Py_RETURN_NONE;
    });
}

PyObject* clear_autocast_cache(PyObject*, PyObject*) {
    return guarded([&]() -> PyObject* {
        delete std::exchange(current.casts,
                             nullptr);  // first out of reach: tensors may run Python's code when they go
        Py_RETURN_NONE;
    });
}

PyObject* set_cast_policy(PyObject*, PyObject* args) {
    PyObject* op;
    const char* policy;
    if (!PyArg_ParseTuple(args, "O!s", OpType, &op, &policy)) return nullptr;
    return guarded([&]() -> PyObject* {
        policies()[reinterpret_cast<Op*>(op)] = policy_named(policy);
        Py_RETURN_NONE;
    });
}

PyMethodDef functions[] = {
    {"_set_autocast", set_autocast, METH_VARARGS,
     "_set_autocast(enabled, dtype, cache_enabled): this thread's autocast for the CPU."},
    {"_clear_autocast_cache", clear_autocast_cache, METH_NOARGS, "Forget the casts of weights."},
    {"_set_cast_policy", set_cast_policy, METH_VARARGS,
     "_set_cast_policy(op, policy): the dtype of an operator's arguments in autocast."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyObject* invoke_in_autocast(Op* op, PyObject** args) {
    auto found = policies().find(op);
    const bool writes =
        op->inplace || (op->out_param >= 0 && args[op->out_param] && args[op->out_param] != Py_None);
    const Off off;
    if (found == policies().end() || writes) return invoke(op, args);
    std::vector<ObjectRef> held;
    cast_all(args, size_t(op->input_tensors), found->second, held);
    return invoke(op, args);
}

void init_autocast(PyObject* module) {
    if (PyModule_AddFunctions(module, functions) < 0) throw Error(ErrorKind::Python, "");
    PyObject* type = checked_object(PyType_FromSpec(&cast_function_spec));
    CastFunctionType = reinterpret_cast<PyTypeObject*>(type);
    Py_INCREF(type);
    PyModule_AddObject(module, "CastFunction", type);
}

}  // namespace flb
