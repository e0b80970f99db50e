// The levels of a thread, wrapped tensors, and both as flambeau/_transforms uses them.
#include "transforms/level.h"

#include <unordered_set>

#include "bindings/op.h"
#include "bindings/types.h"
#include "transforms/handlers.h"

namespace flb {

static thread_local int functions_depth = 0;

void check_outside_functions(const char* message) { check(functions_depth == 0, message); }

namespace {

std::vector<Level>& levels() {
    static thread_local std::vector<Level> stack;
    return stack;
}

Tensor& tensor_of(PyObject* o) {
    check_as(ErrorKind::Type, is_tensor(o), "expected a Tensor, got ", Py_TYPE(o)->tp_name);
    return *reinterpret_cast<Tensor*>(o);
}
Level& living_level(unsigned long long id) {
    Level* level = find_level(id);
    check(level, "this function transform is over");
    return *level;
}

}  // namespace

uint64_t& handlers_limit() {
    static thread_local uint64_t limit = UINT64_MAX;
    return limit;
}

Level* find_level(uint64_t id) {
    for (Level& level : levels())
        if (level.id == id) return &level;
    return nullptr;
}
Level* top_level() { return levels().empty() ? nullptr : &levels().back(); }
Level* innermost_batch(uint64_t limit) {
    std::vector<Level>& all = levels();
    for (size_t i = all.size(); i-- > 0;)
        if (all[i].kind == LevelKind::Batch && all[i].id < limit) return &all[i];
    return nullptr;
}

// ---- wrapping ----------------------------------------------------------------------------------------------------------

TensorRef wrap_batched(Tensor& value, int dim, const Level& level) {
    TensorRef t;
    if (dim < 0) {
        t = window_copy(value);
    } else {
        check_as(ErrorKind::Index, dim < value.ndim(), "batch dimension ", dim, " of a tensor with ",
                 value.ndim(), " dimensions");
        Dims sizes = value.sizes, strides = value.strides;
        sizes.erase(dim);
        strides.erase(dim);
        Storage* storage = new_storage(value.storage->nbytes, DeviceType::Meta);
        try {
            // Of an empty batch, not even one example's window lies in the storage.
            if (value.numel == 0)
                t = empty_strided(sizes, contiguous_strides(sizes), value.dtype, DeviceType::Meta);
            else t = from_storage(storage, sizes, strides, value.offset, value.dtype);
        } catch (...) {
            release(storage);
            throw;
        }
        release(storage);
        t->device = value.device;
    }
    Py_INCREF(value.object());
    t->wrapped = new Wrapped{level.id, dim, &value, nullptr};
    return t;
}

TensorRef wrap_dual(Tensor& value, Tensor* tangent, const Level& level) {
    TensorRef t = window_copy(value);
    Py_INCREF(value.object());
    if (tangent) Py_INCREF(tangent->object());
    t->wrapped = new Wrapped{level.id, -1, &value, tangent};
    return t;
}

TensorRef lift(Tensor& t, const Level& level) {
    return level.kind == LevelKind::Batch ? wrap_batched(t, -1, level) : wrap_dual(t, nullptr, level);
}

// ---- for Python ----------------------------------------------------------------------------------------------------------

namespace {

// _enter_level(kind, size, randomness) -> number. kind: "batch" or "forward".
PyObject* enter_level(PyObject*, PyObject* args) {
    const char* kind;
    long long size;
    PyObject* random;
    if (!PyArg_ParseTuple(args, "sLU", &kind, &size, &random)) return nullptr;
    return guarded([&]() -> PyObject* {
        static uint64_t last = 0;
        const bool batch = kind[0] == 'b';
        ObjectRef number = ObjectRef::steal(checked_object(PyLong_FromUnsignedLongLong(last + 1)));
        levels().push_back({++last, batch ? LevelKind::Batch : LevelKind::Forward, size, Py_NewRef(random),
                            modes.grad, true});
        ++modes.transforms;
        return number.release();
    });
}

PyObject* leave_level(PyObject*, PyObject* number) {
    const unsigned long long id = PyLong_AsUnsignedLongLong(number);
    if (id == static_cast<unsigned long long>(-1) && PyErr_Occurred()) return nullptr;
    std::vector<Level>& all = levels();
    for (size_t i = all.size(); i-- > 0;)
        if (all[i].id == id) {
            PyObject* random = all[i].random;
            all.erase(all.begin() + long(i));
            --modes.transforms;
            Py_DECREF(random);
            break;
        }
    Py_RETURN_NONE;
}

PyObject* set_handlers(PyObject*, PyObject* args) {
    PyObject *batch, *forward;
    if (!PyArg_ParseTuple(args, "OO", &batch, &forward)) return nullptr;
    Py_XSETREF(handlers.batch, Py_NewRef(batch));
    Py_XSETREF(handlers.forward, Py_NewRef(forward));
    Py_RETURN_NONE;
}

// _levels() -> ((number, kind, size, randomness), ...), outermost first.
PyObject* list_levels(PyObject*, PyObject*) {
    return guarded([&]() -> PyObject* {
        ObjectRef out = ObjectRef::steal(checked_object(PyTuple_New(Py_ssize_t(levels().size()))));
        for (size_t i = 0; i < levels().size(); ++i) {
            const Level& l = levels()[i];
            PyTuple_SET_ITEM(out.get(), Py_ssize_t(i),
                             checked_object(Py_BuildValue("(KsLO)", static_cast<unsigned long long>(l.id),
                                                          l.kind == LevelKind::Batch ? "batch" : "forward",
                                                          static_cast<long long>(l.size), l.random)));
        }
        return out.release();
    });
}
PyObject* depth(PyObject*, PyObject*) { return PyLong_FromLong(modes.transforms); }

// _record_level(number or None, value) -> before: whether what has that level is recorded.
PyObject* record_level(PyObject*, PyObject* args) {
    unsigned long long id;
    int value;
    if (!PyArg_ParseTuple(args, "Kp", &id, &value)) return nullptr;
    Level* level = find_level(id);
    if (!level) Py_RETURN_TRUE;
    return PyBool_FromLong(std::exchange(level->record, bool(value)));
}

// _quiet(number) -> before: 0, or the level at which the backward pass under way is not recorded.
PyObject* quiet(PyObject*, PyObject* number) {
    const unsigned long long id = PyLong_AsUnsignedLongLong(number);
    if (id == static_cast<unsigned long long>(-1) && PyErr_Occurred()) return nullptr;
    return PyLong_FromUnsignedLongLong(std::exchange(modes.quiet, id));
}

PyObject* wrap_batched_(PyObject*, PyObject* args) {
    PyObject* value;
    int dim;
    unsigned long long id;
    if (!PyArg_ParseTuple(args, "OiK", &value, &dim, &id)) return nullptr;
    return guarded([&]() -> PyObject* {
        const Level& level = living_level(id);
        check(level.kind == LevelKind::Batch, "not a level of vmap");
        Tensor& t = tensor_of(value);
        check(dim < 0 || (dim < t.ndim() && t.sizes[dim] == level.size), "a batch of the wrong size");
        return wrap_batched(t, dim, level).release();
    });
}
PyObject* wrap_dual_(PyObject*, PyObject* args) {
    PyObject *value, *tangent;
    unsigned long long id;
    if (!PyArg_ParseTuple(args, "OOK", &value, &tangent, &id)) return nullptr;
    return guarded([&]() -> PyObject* {
        const Level& level = living_level(id);
        check(level.kind == LevelKind::Forward, "not a level of forward-mode differentiation");
        return wrap_dual(tensor_of(value), tangent == Py_None ? nullptr : &tensor_of(tangent), level)
            .release();
    });
}
PyObject* lift_(PyObject*, PyObject* args) {
    PyObject* value;
    unsigned long long id;
    if (!PyArg_ParseTuple(args, "OK", &value, &id)) return nullptr;
    return guarded([&]() -> PyObject* { return lift(tensor_of(value), living_level(id)).release(); });
}

// _unwrap(tensor, number) -> (value, batch dimension or tangent, or None), or None if the tensor is not of that level.
PyObject* unwrap(PyObject*, PyObject* args) {
    PyObject* o;
    unsigned long long id;
    if (!PyArg_ParseTuple(args, "OK", &o, &id)) return nullptr;
    return guarded([&]() -> PyObject* {
        if (!is_tensor(o)) Py_RETURN_NONE;
        const Wrapped* w = tensor_of(o).wrapped;
        if (!w || w->level != id) Py_RETURN_NONE;
        if (w->dim >= 0) return Py_BuildValue("(Oi)", w->value->object(), w->dim);
        return Py_BuildValue("(OO)", w->value->object(), w->tangent ? w->tangent->object() : Py_None);
    });
}
// _wrapped(tensor) -> (number, value, batch dimension or tangent) of whatever level, or None.
PyObject* wrapped(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        if (!is_tensor(o)) Py_RETURN_NONE;
        const Wrapped* w = tensor_of(o).wrapped;
        if (!w) Py_RETURN_NONE;
        const auto id = static_cast<unsigned long long>(w->level);
        if (w->dim >= 0) return Py_BuildValue("(KOi)", id, w->value->object(), w->dim);
        return Py_BuildValue("(KOO)", id, w->value->object(), w->tangent ? w->tangent->object() : Py_None);
    });
}
PyObject* without_history(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* { return shallow_copy(tensor_of(o)).release(); });
}
// What is recorded of a dual tensor goes on where the history of its primal ends.
void apply_alias(Node*, TensorRef* in, TensorRef* out) { out[0] = in[0]; }
const NodeKind kAlias = {"AliasBackward0", "AliasBackward0", apply_alias, nullptr, nullptr};
PyObject* continue_history(PyObject*, PyObject* args) {
    PyObject *tensor, *of;
    if (!PyArg_ParseTuple(args, "OO", &tensor, &of)) return nullptr;
    return guarded([&]() -> PyObject* {
        Tensor& t = tensor_of(tensor);
        Ref<Node> n = Ref<Node>::steal(new_node(&kAlias, 1, 0, 1));
        n->edges[0] = gradient_edge(tensor_of(of));
        set_output_meta(n.get(), 0, t);
        set_history(t, n.get(), 0);
        return Py_NewRef(tensor);
    });
}

// _in_function(change): one more, or one less, transformed function runs.
PyObject* in_function(PyObject*, PyObject* change) {
    const long by = PyLong_AsLong(change);
    if (by == -1 && PyErr_Occurred()) return nullptr;
    functions_depth += int(by);
    if (functions_depth < 0) functions_depth = 0;
    return PyBool_FromLong(functions_depth > 0);
}
// _leaf(tensor): the same elements, to differentiate with respect to.
PyObject* leaf(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        TensorRef t = shallow_copy(tensor_of(o));
        check(is_differentiable(t->dtype), "only Tensors of floating point dtype can require gradients");
        t->requires_grad_flag = true;
        return t.release();
    });
}

// _call(operator, one argument per parameter)
PyObject* call(PyObject*, PyObject* args) {
    PyObject *callable, *values;
    if (!PyArg_ParseTuple(args, "O!O!", OpType, &callable, &PyTuple_Type, &values)) return nullptr;
    return guarded([&]() -> PyObject* {
        Op* op = reinterpret_cast<Op*>(callable);
        const size_t n = op->params->size();
        check_as(ErrorKind::Type, size_t(PyTuple_GET_SIZE(values)) == n, op->cname, " has ", n,
                 " parameters");
        std::vector<PyObject*> given;
        ObjectRef names = ObjectRef::steal(checked_object(PyList_New(0)));
        size_t positional = 0;
        for (size_t i = 0; i < n; ++i) {
            const Param& p = (*op->params)[i];
            PyObject* value = PyTuple_GET_ITEM(values, Py_ssize_t(i));
            if (!p.keyword_only) ++positional;
            else if (int(i) == op->out_param || value == p.default_value) continue;
            else if (PyList_Append(names.get(), p.name) < 0) throw Error(ErrorKind::Python, "");
            given.push_back(value);
        }
        ObjectRef keywords = ObjectRef::steal(
            PyList_GET_SIZE(names.get()) ? checked_object(PyList_AsTuple(names.get())) : nullptr);
        return checked_object(op->vectorcall(callable, given.data(), positional, keywords.get()));
    });
}

// _leads_elsewhere(outputs, inputs): whether the history of the outputs goes on beyond the inputs, or goes through a
// custom Function, whose backward may use anything.
PyObject* leads_elsewhere(PyObject*, PyObject* args) {
    PyObject *outputs, *inputs;
    if (!PyArg_ParseTuple(args, "O!O!", &PyTuple_Type, &outputs, &PyTuple_Type, &inputs)) return nullptr;
    return guarded([&]() -> PyObject* {
        std::unordered_set<const Node*> seen;
        std::vector<Node*> stack;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i) {
            const Edge edge = gradient_edge(tensor_of(PyTuple_GET_ITEM(inputs, i)));
            if (!edge.node) continue;
            if (edge.node->kind != &kAccumulateGrad) {
                Py_DECREF(node_object(edge.node));
                Py_RETURN_TRUE;
            }
            seen.insert(edge.node);
            Py_DECREF(node_object(edge.node));
        }
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(outputs); ++i) {
            const Edge edge = gradient_edge(tensor_of(PyTuple_GET_ITEM(outputs, i)));
            if (!edge.node) continue;
            if (seen.insert(edge.node).second) stack.push_back(edge.node);
            Py_DECREF(node_object(edge.node));  // the output holds it
        }
        while (!stack.empty()) {
            const Node* n = stack.back();
            stack.pop_back();
            if (n->kind == &kAccumulateGrad || !n->rule) Py_RETURN_TRUE;
            for (int e = 0; e < n->num_edges; ++e)
                if (n->edges[e].node && seen.insert(n->edges[e].node).second)
                    stack.push_back(n->edges[e].node);
        }
        Py_RETURN_FALSE;
    });
}

PyMethodDef functions[] = {
    {"_enter_level", enter_level, METH_VARARGS, nullptr},
    {"_leave_level", leave_level, METH_O, nullptr},
    {"_set_transform_handlers", set_handlers, METH_VARARGS, nullptr},
    {"_levels", list_levels, METH_NOARGS, nullptr},
    {"_transforms", depth, METH_NOARGS, "How many function transforms this thread is in."},
    {"_record_level", record_level, METH_VARARGS, nullptr},
    {"_quiet", quiet, METH_O, nullptr},
    {"_wrap_batched", wrap_batched_, METH_VARARGS, nullptr},
    {"_wrap_dual", wrap_dual_, METH_VARARGS, nullptr},
    {"_lift", lift_, METH_VARARGS, nullptr},
    {"_unwrap", unwrap, METH_VARARGS, nullptr},
    {"_wrapped", wrapped, METH_O, nullptr},
    {"_without_history", without_history, METH_O, nullptr},
    {"_continue_history", continue_history, METH_VARARGS, nullptr},
    {"_in_function", in_function, METH_O, nullptr},
    {"_leaf", leaf, METH_O, nullptr},
    {"_call", call, METH_VARARGS, nullptr},
    {"_leads_elsewhere", leads_elsewhere, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void init_transforms(PyObject* module) {
    if (PyModule_AddFunctions(module, functions) < 0) throw Error(ErrorKind::Python, "");
}

}  // namespace flb
