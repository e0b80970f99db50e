// The Op type: construction from a record, and the call.
#include "bindings/op.h"

#include <cstring>
#include <string>
#include <unordered_map>

#include "autograd/recorder.h"
#include "bindings/autocast.h"
#include "bindings/signature.h"
#include "bindings/types.h"
#include "kernels/pointwise.h"
#include "tensor/sparse.h"
#include "transforms/level.h"

namespace flb {

PyTypeObject* OpType = nullptr;
static PyTypeObject* MethodType = nullptr;
static PyTypeObject* OverloadsType = nullptr;

namespace {

struct Family {
    Impl impl;
    FamilyResolver resolve;
};
// Function-local, so that registration before main meets a constructed map whatever the order of files.
std::unordered_map<std::string, Impl>& impls() {
    static auto* map = new std::unordered_map<std::string, Impl>();
    return *map;
}
std::unordered_map<std::string, Family>& families() {
    static auto* map = new std::unordered_map<std::string, Family>();
    return *map;
}
std::unordered_map<std::string, Op*>& ops_by_name() {
    static auto* map = new std::unordered_map<std::string, Op*>();
    return *map;
}

// An operator as an attribute of Tensor: binds like a method, without an object per call.
struct Method {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject* callable;  // Op or Overloads
};

// Several signatures under one public name, tried in order.
struct Overloads {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject* dict;
    PyObject* name;
    PyObject* doc;
    PyObject* ops;  // tuple of Op
};

}  // namespace

void register_ops(const OpEntry* entries, int count) {
    for (int i = 0; i < count; ++i) impls()[entries[i].name] = entries[i].impl;
}

void register_family(const char* family, Impl impl, FamilyResolver resolve) {
    families()[family] = {impl, resolve};
}

Op* find_op(const char* name) {
    auto found = ops_by_name().find(name);
    check(found != ops_by_name().end(), "operator '", name, "' has no record");
    return found->second;
}

// ---- the call -----------------------------------------------------------------------------------------------------------

// A function of operators: its arguments are parsed like an operator's, and that is all.
PyObject* call_composite(Op* op, PyObject** slots) {
    const std::vector<Param>& params = *op->params;
    const int n = int(params.size());
    for (int i = 0; i < n; ++i)
        if (!slots[i]) slots[i] = Py_None;
    ObjectRef names;
    if (n > op->num_positional) {
        names = ObjectRef::steal(checked_object(PyTuple_New(n - op->num_positional)));
        for (int i = op->num_positional; i < n; ++i)
            PyTuple_SET_ITEM(names.get(), i - op->num_positional, Py_NewRef(params[i].name));
    }
    return checked_object(PyObject_Vectorcall(op->python, slots, size_t(op->num_positional), names.get()));
}

// `called` is what __torch_function__ receives: the function or the method.
static PyObject* call_op(Op* op, PyObject* called, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
    ParsedArgs parsed;
    return guarded([&]() -> PyObject* {
        const Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
        if (!parse_arguments(op, args, nargs, kwnames, parsed, op->older[0] ? kSilently : nullptr)) {
            if (PyObject* result =
                    call_older(op, called, Py_TYPE(called) == MethodType, args, nargsf, kwnames))
                return result;
            ParsedArgs again;  // for the message
            parse_arguments(op, args, nargs, kwnames, again, nullptr);
            fail(ErrorKind::Type, op->cname, "(): the arguments changed while they were read");
        }
        if (__builtin_expect(parsed.overridden, 0))
            return call_torch_function(called, args, nargsf, kwnames, op, parsed.slots);
        if (op->composite) return call_composite(op, parsed.slots);
        return invoke(op, parsed.slots);
    });
}

static PyObject* op_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
    Op* op = reinterpret_cast<Op*>(self);
    return call_op(op, op->public_function, args, nargsf, kwnames);
}

static PyObject* call_overloads(Overloads* set, PyObject* called, PyObject* const* args, size_t nargsf,
                                PyObject* kwnames) {
    return guarded([&]() -> PyObject* {
        const Py_ssize_t n = PyTuple_GET_SIZE(set->ops);
        for (Py_ssize_t i = 0; i < n; ++i) {
            Op* op = reinterpret_cast<Op*>(PyTuple_GET_ITEM(set->ops, i));
            ParsedArgs parsed;
            if (!parse_arguments(op, args, PyVectorcall_NARGS(nargsf), kwnames, parsed, kSilently)) continue;
            if (parsed.overridden)
                return call_torch_function(called, args, nargsf, kwnames, op, parsed.slots);
            if (op->composite) return call_composite(op, parsed.slots);
            return invoke(op, parsed.slots);
        }
        raise_no_overload(set->name, set->ops, args, PyVectorcall_NARGS(nargsf), kwnames);
    });
}

static PyObject* overloads_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf,
                                      PyObject* kwnames) {
    return call_overloads(reinterpret_cast<Overloads*>(self), self, args, nargsf, kwnames);
}

static PyObject* method_vectorcall(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
    PyObject* callable = reinterpret_cast<Method*>(self)->callable;
    return Py_TYPE(callable) == OpType
               ? call_op(reinterpret_cast<Op*>(callable), self, args, nargsf, kwnames)
               : call_overloads(reinterpret_cast<Overloads*>(callable), self, args, nargsf, kwnames);
}

// Warnings run the caller's code (filters, showwarning), so they wait until the operator is through: see the note
// [Arguments hold still]. A vector per thread, empty almost always.
static thread_local int running __attribute__((tls_model("initial-exec"))) = 0;
static std::vector<std::string>& pending_warnings() {
    static thread_local std::vector<std::string> list;
    return list;
}
static thread_local bool has_warnings __attribute__((tls_model("initial-exec"))) = false;

void warn(const char* message) {
    if (running == 0) {
        if (PyErr_WarnEx(PyExc_UserWarning, message, 1) < 0) throw Error(ErrorKind::Python, "");
        return;
    }
    pending_warnings().push_back(message);
    has_warnings = true;
}

namespace {
struct Running {
    Running() { ++running; }
    ~Running() { --running; }
};

[[gnu::noinline]] void issue_warnings() {
    has_warnings = false;
    std::vector<std::string> messages;
    messages.swap(pending_warnings());
    for (const std::string& m : messages) warn(m.c_str());
}
}  // namespace

[[gnu::cold, gnu::noinline]] static void make_writable(PyObject* out) {
    if (is_tensor(out)) {
        Storage* storage = reinterpret_cast<Tensor*>(out)->storage;
        if (storage->read_only) own_memory(storage);
    } else if (PyTuple_Check(out)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(out); ++i) make_writable(PyTuple_GET_ITEM(out, i));
    }
}

static ObjectRef run(Op* op, PyObject** args) {
    const Running scope;
    Call call{op, args};
    bool record = false;
    Tensor* written = op->inplace ? reinterpret_cast<Tensor*>(args[0]) : nullptr;
    if (modes.grad && (op->rule || op->why_not_differentiable)) record = any_requires_grad(call);
    if (op->out_param >= 0 && args[op->out_param] && args[op->out_param] != Py_None) {
        check(!record, op->cname,
              "(): functions with out=... arguments don't support automatic differentiation, "
              "but one of the arguments requires grad.");
        make_writable(args[op->out_param]);
        ObjectRef result = ObjectRef::steal(op->impl(call));
        note_out_written(args[op->out_param], op);
        return result;
    }
    if (written) {
        check_inplace(*written, record);
        if (__builtin_expect(written->storage->read_only, 0)) own_memory(written->storage);
        ObjectRef original;
        PyObject* adjusted[kMaxParams];
        if (record) {
            std::memcpy(adjusted, args, sizeof(PyObject*) * op->params->size());
            if (rule_saves_input(op, call, 0)) {
                // The rule wants the operand as it was: it is about to be overwritten.
                original = ObjectRef::steal(clone(*written).release());
                adjusted[0] = original.get();
            }
        }
        ObjectRef result = ObjectRef::steal(op->impl(call));
        bump_version(*written, op->cname);
        if (record) record_node(call, adjusted, result.get());
        return result;
    }
    ObjectRef result = ObjectRef::steal(op->impl(call));
    if (record) record_node(call, args, result.get());
    return result;
}

// ---- sparse arguments and implementations in Python ----------------------------------------------------------------------

// The first tensor among the arguments, `out` included, of which `wanted` is true; or null.
template <class F>
static const Tensor* find_argument(const Op* op, PyObject** args, F wanted) {
    const Tensor* found = nullptr;
    const auto is_wanted = [&](PyObject* o) { return is_tensor(o) && wanted(*reinterpret_cast<Tensor*>(o)); };
    const auto look_at = [&](PyObject* o) {
        if (!o || o == Py_None || found) return;
        if (is_wanted(o)) {
            found = reinterpret_cast<Tensor*>(o);
        } else if (PyTuple_Check(o) || PyList_Check(o)) {
            for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o) && !found; ++k) {
                PyObject* item = PySequence_Fast_GET_ITEM(o, k);
                if (is_wanted(item)) found = reinterpret_cast<Tensor*>(item);
            }
        }
    };
    for (int i = 0; i < op->input_tensors; ++i) look_at(args[i]);
    if (op->out_param >= 0) look_at(args[op->out_param]);
    return found;
}

[[gnu::noinline]] static void check_stored_only(Op* op, PyObject** args) {
    if (op->takes_stored_only) return;
    const Tensor* found = find_argument(op, args, [](const Tensor& t) { return is_stored_only(t.dtype); });
    if (!found) return;
    // Two floating dtypes: an operator that computes would have to find a common one, and there is none.
    const Tensor* other = find_argument(op, args, [found](const Tensor& t) {
        return t.dtype != found->dtype && (is_differentiable(t.dtype) || is_stored_only(t.dtype));
    });
    if (other) promote_types(found->dtype, other->dtype);
    raise_no_kernel(op->cname, found->dtype);
}

// What runs a call that may have sparse tensors among its arguments: the operator itself if it has none.
[[gnu::noinline]] static Op* form_for(Op* op, PyObject** args) {
    const Tensor* found = find_argument(op, args, [](const Tensor& t) { return t.sparse != nullptr; });
    if (!found || op->takes_sparse) return op;
    if (op->sparse_form) return op->sparse_form;
    const std::string full = op->cname;
    fail(ErrorKind::NotImplemented, "Could not run 'aten::", full.substr(0, full.find('.')),
         "' with arguments from the '", backend_word(layout_of(*found)),
         "' backend: the operator has no form for sparse tensors, and one of its arguments has layout ",
         layout_word(layout_of(*found)), " and shape ", str(found->sizes),
         "; to_dense() makes it an ordinary one");
}

static PyObject* python_impl(Call& call) {
    const GradModeGuard unrecorded(false);
    PyObject* args[kMaxParams];
    for (int i = 0; i < call.count(); ++i) args[i] = call.args[i] ? call.args[i] : Py_None;
    return checked_object(PyObject_Vectorcall(call.op->python, args, size_t(call.count()), nullptr));
}

PyObject* invoke(Op* op, PyObject** args) {
    if (__builtin_expect(autocast_on, 0)) return invoke_in_autocast(op, args);
    if (__builtin_expect(intercepted, 0)) return invoke_intercepted(op, args);
    return invoke_plainly(op, args);
}

PyObject* invoke_plainly(Op* op, PyObject** args) {
    if (__builtin_expect(modes.transforms, 0))
        if (PyObject* result = invoke_transformed(op, args)) return result;
    if (__builtin_expect(living_sparse_tensors != 0, 0)) op = form_for(op, args);
    if (__builtin_expect(stored_only_tensors, 0)) check_stored_only(op, args);
    ObjectRef result = run(op, args);
    if (__builtin_expect(has_warnings, 0) && running == 0) issue_warnings();
    return result.release();
}

TensorRef invoke_tensor(OpHandle& handle, std::initializer_list<PyObject*> given) {
    Op* op = handle.get();
    PyObject* args[kMaxParams] = {};
    int i = 0;
    for (PyObject* o : given) args[i++] = o;
    for (; i < int(op->params->size()); ++i) args[i] = (*op->params)[i].default_value;
    return TensorRef::steal(invoke(op, args));
}

// ---- construction from the record ---------------------------------------------------------------------------------------

static PyObject* op_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* const names[] = {"signature", "doc",       "vjp",  "inplace",   "view",
                                        "family",    "kind",      "impl", "node_name", "why_not",
                                        "python",    "composite", nullptr};
    const char *signature, *family = nullptr, *kind = nullptr, *impl_name = nullptr, *node_name = nullptr,
                           *why_not = nullptr;
    PyObject *doc = Py_None, *vjp = Py_None, *python = nullptr;
    int inplace = 0, view = 0, composite = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s|OOppzzzzzOp", const_cast<char**>(names), &signature,
                                     &doc, &vjp, &inplace, &view, &family, &kind, &impl_name, &node_name,
                                     &why_not, &python, &composite))
        return nullptr;
    return guarded([&]() -> PyObject* {
        Op* op = reinterpret_cast<Op*>(checked_object(type->tp_alloc(type, 0)));
        ObjectRef held = ObjectRef::steal(op);
        op->vectorcall = op_vectorcall;
        op->params = new std::vector<Param>();
        op->out_param = op->varargs_param = -1;
        op->inplace = inplace;
        op->is_view = view;
        op->signature = checked_object(PyUnicode_FromString(signature));
        Py_INCREF(doc);
        op->doc = doc;
        parse_signature(op, signature);
        const std::string key = impl_name ? impl_name : PyUnicode_AsUTF8(op->name);
        if (python) {
            op->python = Py_NewRef(python);
            op->impl = python_impl;
            op->takes_sparse = op->takes_stored_only = true;
            op->composite = composite;
        } else if (family) {
            auto found = families().find(family);
            check(found != families().end(), "record of ", op->cname, ": unknown family '", family, "'");
            op->impl = found->second.impl;
            op->family = found->second.resolve(key.c_str(), kind ? kind : "");
        } else {
            auto found = impls().find(key);
            check(found != impls().end(), "record of ", op->cname, ": no native function named '", key, "'");
            op->impl = found->second;
        }
        // Views look at no element, and loops say themselves which dtypes they are there for.
        op->takes_stored_only |= op->is_view || (family && !std::strcmp(family, "pointwise"));
        if (why_not) op->why_not_differentiable = strdup(why_not);
        if (vjp != Py_None) op->rule = build_rule(op, vjp, node_name ? node_name : "");
        op->public_function = reinterpret_cast<PyObject*>(op);  // not owned: itself
        if (!composite) ops_by_name()[PyUnicode_AsUTF8(op->name)] = op;
        Py_INCREF(op);  // the table keeps every operator for the process's life
        return held.release();
    });
}

static PyObject* op_repr(PyObject* self) {
    return PyUnicode_FromFormat("<operator %U>", reinterpret_cast<Op*>(self)->name);
}

static PyObject* op_get_name(PyObject* self, void*) {
    PyObject* name = reinterpret_cast<Op*>(self)->name;
    Py_INCREF(name);
    return name;
}
static PyObject* op_get_doc(PyObject* self, void*) {
    PyObject* doc = reinterpret_cast<Op*>(self)->doc;
    Py_INCREF(doc);
    return doc;
}
static PyObject* op_get_signature(PyObject* self, void*) {
    PyObject* text = reinterpret_cast<Op*>(self)->signature;
    Py_INCREF(text);
    return text;
}
static PyObject* op_get_differentiable(PyObject* self, void*) {
    return PyBool_FromLong(reinterpret_cast<Op*>(self)->rule != nullptr);
}
static PyObject* op_get_result_type(PyObject* self, void*) {
    PyTypeObject* type = reinterpret_cast<Op*>(self)->result_type;
    PyObject* result = type ? reinterpret_cast<PyObject*>(type) : Py_None;
    Py_INCREF(result);
    return result;
}
// Pickled by name: `torch.relu` inside a saved module.
static PyObject* op_reduce(PyObject* self, PyObject*) { return op_get_name(self, nullptr); }

static PyGetSetDef op_getset[] = {
    {"__name__", op_get_name, nullptr, nullptr, nullptr},
    {"__qualname__", op_get_name, nullptr, nullptr, nullptr},
    {"__doc__", op_get_doc, nullptr, nullptr, nullptr},
    {"__text_signature__", nullptr, nullptr, nullptr, nullptr},
    {"signature", op_get_signature, nullptr, "The signature, as the record writes it.", nullptr},
    {"has_rule", op_get_differentiable, nullptr, "Whether the record gives a derivative rule.", nullptr},
    {"result_type", op_get_result_type, nullptr, "The named tuple of several results, or None.", nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
static PyMethodDef op_methods[] = {
    {"__reduce__", op_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
static PyMemberDef op_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Op, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(Op, dict), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
static PyType_Slot op_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(op_new)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_repr, reinterpret_cast<void*>(op_repr)},
    {Py_tp_getset, op_getset},
    {Py_tp_methods, op_methods},
    {Py_tp_members, op_members},
    {0, nullptr},
};
static PyType_Spec op_spec = {"flambeau._C.Op", sizeof(Op), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL, op_slots};

// ---- Overloads ----------------------------------------------------------------------------------------------------------

static PyObject* overloads_new(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *name, *ops, *doc;
    if (!PyArg_ParseTuple(args, "UO!O", &name, &PyTuple_Type, &ops, &doc)) return nullptr;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(ops); ++i)
        if (Py_TYPE(PyTuple_GET_ITEM(ops, i)) != OpType) {
            PyErr_SetString(PyExc_TypeError, "Overloads takes a tuple of operators");
            return nullptr;
        }
    PyObject* self = type->tp_alloc(type, 0);
    if (!self) return nullptr;
    Overloads* set = reinterpret_cast<Overloads*>(self);
    set->vectorcall = overloads_vectorcall;
    Py_INCREF(name);
    Py_INCREF(doc);
    Py_INCREF(ops);
    set->name = name;
    set->doc = doc;
    set->ops = ops;
    return self;
}
static PyObject* overloads_get(PyObject* self, void* which) {
    Overloads* set = reinterpret_cast<Overloads*>(self);
    PyObject* o = which == nullptr ? set->name : which == reinterpret_cast<void*>(1) ? set->doc : set->ops;
    Py_INCREF(o);
    return o;
}
static PyObject* overloads_repr(PyObject* self) {
    return PyUnicode_FromFormat("<operator %U>", reinterpret_cast<Overloads*>(self)->name);
}
static PyObject* overloads_reduce(PyObject* self, PyObject*) { return overloads_get(self, nullptr); }
static PyGetSetDef overloads_getset[] = {
    {"__name__", overloads_get, nullptr, nullptr, nullptr},
    {"__qualname__", overloads_get, nullptr, nullptr, nullptr},
    {"__doc__", overloads_get, nullptr, nullptr, reinterpret_cast<void*>(1)},
    {"ops", overloads_get, nullptr, "The operators, in the order tried.", reinterpret_cast<void*>(2)},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
static PyMethodDef overloads_methods[] = {
    {"__reduce__", overloads_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
static PyMemberDef overloads_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Overloads, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(Overloads, dict), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
static PyType_Slot overloads_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(overloads_new)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_repr, reinterpret_cast<void*>(overloads_repr)},
    {Py_tp_getset, overloads_getset},
    {Py_tp_methods, overloads_methods},
    {Py_tp_members, overloads_members},
    {0, nullptr},
};
static PyType_Spec overloads_spec = {"flambeau._C.Overloads", sizeof(Overloads), 0,
                                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL, overloads_slots};

// ---- Method ---------------------------------------------------------------------------------------------------------------

static PyObject* method_new(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject* callable;
    if (!PyArg_ParseTuple(args, "O", &callable)) return nullptr;
    if (Py_TYPE(callable) != OpType && Py_TYPE(callable) != OverloadsType) {
        PyErr_SetString(PyExc_TypeError, "Method takes an operator");
        return nullptr;
    }
    PyObject* self = type->tp_alloc(type, 0);
    if (!self) return nullptr;
    Method* method = reinterpret_cast<Method*>(self);
    method->vectorcall = method_vectorcall;
    Py_INCREF(callable);
    method->callable = callable;
    return self;
}
static PyObject* method_descr_get(PyObject* self, PyObject* object, PyObject*) {
    if (!object || object == Py_None) {
        Py_INCREF(self);
        return self;
    }
    return PyMethod_New(self, object);
}
static PyObject* method_getattro(PyObject* self, PyObject* name) {
    PyObject* own = PyObject_GenericGetAttr(self, name);
    if (own || !PyErr_ExceptionMatches(PyExc_AttributeError)) return own;
    PyErr_Clear();
    return PyObject_GetAttr(reinterpret_cast<Method*>(self)->callable, name);
}
static PyObject* method_get_doc(PyObject* self, void*) {
    return PyObject_GetAttrString(reinterpret_cast<Method*>(self)->callable, "__doc__");
}
static PyObject* method_repr(PyObject* self) {
    PyObject* name = PyObject_GetAttrString(reinterpret_cast<Method*>(self)->callable, "__name__");
    if (!name) return nullptr;
    PyObject* text = PyUnicode_FromFormat("<method '%U' of 'Tensor' objects>", name);
    Py_DECREF(name);
    return text;
}
static PyGetSetDef method_getset[] = {
    {"__doc__", method_get_doc, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
static PyMemberDef method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Method, vectorcall), READONLY, nullptr},
    {"__func__", T_OBJECT, offsetof(Method, callable), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
static PyType_Slot method_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(method_new)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_repr, reinterpret_cast<void*>(method_repr)},
    {Py_tp_descr_get, reinterpret_cast<void*>(method_descr_get)},
    {Py_tp_getattro, reinterpret_cast<void*>(method_getattro)},
    {Py_tp_getset, method_getset},
    {Py_tp_members, method_members},
    {0, nullptr},
};
static PyType_Spec method_spec = {
    "flambeau._C.Method", sizeof(Method), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR, method_slots};

static PyObject* result_type(PyObject*, PyObject* args) {
    const char* name;
    PyObject* fields;
    if (!PyArg_ParseTuple(args, "sO!", &name, &PyTuple_Type, &fields)) return nullptr;
    return guarded([&] {
        std::vector<PyObject*> names;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fields); ++i) {
            PyObject* field = PyTuple_GET_ITEM(fields, i);
            check_as(ErrorKind::Type, PyUnicode_Check(field), "result_type takes a tuple of names");
            Py_INCREF(field);  // the type keeps pointers to the text
            names.push_back(field);
        }
        return reinterpret_cast<PyObject*>(make_result_type(name, names));
    });
}
// _sparse_form(op, function, vjp, node_name): what runs calls of `op` with sparse arguments. A vjp of None: the rule is the
// operator's own.
static PyObject* sparse_form(PyObject*, PyObject* args) {
    PyObject *target, *function, *vjp;
    const char* node_name = nullptr;
    if (!PyArg_ParseTuple(args, "OOOz", &target, &function, &vjp, &node_name)) return nullptr;
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, Py_TYPE(target) == OpType && PyCallable_Check(function),
                 "_sparse_form takes an operator and a function");
        Op* op = reinterpret_cast<Op*>(target);
        check(!op->sparse_form, "record of ", op->cname, ": two forms for sparse tensors");
        Op* form = reinterpret_cast<Op*>(checked_object(OpType->tp_alloc(OpType, 0)));
        const PyObject header = form->ob_base;
        *form = *op;  // operators live as long as the process, and so does all that they point to
        form->ob_base = header;
        form->dict = nullptr;
        form->sparse_form = nullptr;
        form->takes_sparse = true;
        form->python = Py_NewRef(function);
        form->impl = python_impl;
        if (vjp != Py_None) {
            form->rule = build_rule(form, vjp, node_name ? node_name : op->rule ? op->rule->node_name : "");
            form->why_not_differentiable = nullptr;
        }
        op->sparse_form = form;
        Py_RETURN_NONE;
    });
}
static PyObject* takes_stored_only(PyObject*, PyObject* target) {
    if (Py_TYPE(target) != OpType) {
        PyErr_SetString(PyExc_TypeError, "_takes_stored_only takes an operator");
        return nullptr;
    }
    reinterpret_cast<Op*>(target)->takes_stored_only = true;
    Py_RETURN_NONE;
}

// _takes_sparse(op): its native function needs no memory of its tensors.
static PyObject* takes_sparse(PyObject*, PyObject* target) {
    if (Py_TYPE(target) != OpType) {
        PyErr_SetString(PyExc_TypeError, "_takes_sparse takes an operator");
        return nullptr;
    }
    reinterpret_cast<Op*>(target)->takes_sparse = true;
    Py_RETURN_NONE;
}
static PyMethodDef op_functions[] = {
    {"_older_signatures", older_signatures, METH_VARARGS,
     "_older_signatures(op, functions, methods): declares what else calls of an operator may look like."},
    {"_sparse_form", sparse_form, METH_VARARGS,
     "_sparse_form(op, function, vjp, node_name): declares what runs an operator's calls with sparse "
     "arguments."},
    {"_takes_stored_only", takes_stored_only, METH_O,
     "_takes_stored_only(op): declares that an operator takes dtypes that only store, such as float8."},
    {"_takes_sparse", takes_sparse, METH_O,
     "_takes_sparse(op): declares that a native operator handles sparse tensors itself."},
    {"_result_type", result_type, METH_VARARGS,
     "_result_type(name, fields): a named tuple of results for a composite."},
    {nullptr, nullptr, 0, nullptr},
};

void init_ops(PyObject* module) {
    if (PyModule_AddFunctions(module, op_functions) < 0) throw Error(ErrorKind::Python, "");
    const auto add = [&](PyType_Spec* spec, const char* name) {
        PyObject* type = checked_object(PyType_FromSpec(spec));
        Py_INCREF(type);
        PyModule_AddObject(module, name, type);
        return reinterpret_cast<PyTypeObject*>(type);
    };
    OpType = add(&op_spec, "Op");
    OverloadsType = add(&overloads_spec, "Overloads");
    MethodType = add(&method_spec, "Method");
}

}  // namespace flb
