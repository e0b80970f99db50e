// Custom Functions: the user's forward runs without recording, and one node stands for it. The node is the `ctx`
// that forward and backward receive: a Python subclass of Node, made per Function by flambeau/autograd/function.py.
#include <memory>

#include "autograd/node.h"
#include "bindings/op.h"

namespace flb {

namespace {

struct FunctionData {
    std::vector<bool> is_tensor;  // per argument of forward
    int num_saved_slots = -1;     // how many tensors were given to save_for_backward
};

FunctionData& data_of(Node* n) { return *static_cast<FunctionData*>(n->data); }

void destroy_function(Node* n) {
    delete static_cast<FunctionData*>(n->data);
    n->data = nullptr;
}

ObjectRef ensure_tuple(PyObject* o) {
    return PyTuple_Check(o) ? ObjectRef::borrow(o) : ObjectRef::steal(checked_object(PyTuple_Pack(1, o)));
}

// An attribute that the user's forward may have set on ctx; null when it is absent or None.
PyObject* attribute(Node* n, const char* name) {
    PyObject* value = n->dict ? PyDict_GetItemString(n->dict, name) : nullptr;  // borrowed
    return value == Py_None ? nullptr : value;
}

bool contains(PyObject* tuple, PyObject* item) {
    for (Py_ssize_t i = 0; tuple && i < PyTuple_GET_SIZE(tuple); ++i)
        if (PyTuple_GET_ITEM(tuple, i) == item) return true;
    return false;
}

int index_in(PyObject* tuple, PyObject* item) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i)
        if (PyTuple_GET_ITEM(tuple, i) == item) return int(i);
    return -1;
}

void apply_function(Node* n, TensorRef* in, TensorRef* out) {
    PyObject* flag = attribute(n, "materialize_grads");
    const bool materialize = flag != Py_False;
    ObjectRef grads = ObjectRef::steal(checked_object(PyTuple_New(n->num_outputs)));
    for (int i = 0; i < n->num_outputs; ++i) {
        PyObject* g = Py_None;
        if (in[i]) g = in[i].object();
        else if (materialize) in[i] = zeros_for(n->outputs[i]), g = in[i].object();
        Py_INCREF(g);
        PyTuple_SET_ITEM(grads.get(), i, g);
    }
    ObjectRef method =
        ObjectRef::steal(checked_object(PyObject_GetAttrString(node_object(n), "_run_backward")));
    ObjectRef given = ObjectRef::steal(checked_object(PyObject_CallObject(method.get(), grads.get())));
    ObjectRef results = ensure_tuple(given.get());
    const std::vector<bool>& is_tensor_input = data_of(n).is_tensor;
    const Py_ssize_t expected = Py_ssize_t(is_tensor_input.size());
    Py_ssize_t count = PyTuple_GET_SIZE(results.get());
    const Py_ssize_t returned = count;
    while (count > expected && PyTuple_GET_ITEM(results.get(), count - 1) == Py_None) --count;
    check(count == expected, "function ", node_name(n),
          " returned an incorrect number of gradients (expected ", expected, ", got ", returned, ")");
    int edge = 0;
    for (Py_ssize_t i = 0; i < expected; ++i) {
        PyObject* g = PyTuple_GET_ITEM(results.get(), i);
        if (!is_tensor_input[size_t(i)]) {
            check(g == Py_None, "function ", node_name(n),
                  " returned a gradient different than None at position ", i + 1,
                  ", but the corresponding forward input was not a Variable");
            continue;
        }
        check(g == Py_None || is_tensor(g), "expected Variable or None (got ", Py_TYPE(g)->tp_name, ")");
        if (g != Py_None && n->edges[edge].node) out[edge] = TensorRef::borrow(g);
        ++edge;
    }
}

const NodeKind kFunction = {nullptr, nullptr, apply_function, destroy_function, nullptr};

// What one output becomes: the same tensor with this node as history, or another window on it.
TensorRef wrap_output(Node* n, Tensor& t, int index, int num_tensor_outputs, bool is_input, bool dirty,
                      bool differentiable) {
    if (!differentiable) {
        if (!t.requires_grad()) return TensorRef::borrow(&t);
        // An input keeps its own history; the caller gets its values without one.
        if (is_input) return shallow_copy(t);
        if (!t.base) detach_inplace(t);
        return TensorRef::borrow(&t);
    }
    if (dirty && is_input) {
        check(!(t.is_leaf() && t.requires_grad_flag),
              "a leaf Variable that requires grad has been used in an in-place "
              "operation.");
        if (t.base) {
            check(num_tensor_outputs == 1,
                  "If your Function modifies inplace an input that is a view of another Tensor, your "
                  "Function cannot return more than one Tensor. Clone the view before the in-place write "
                  "instead.");
            check(!(t.base->is_leaf() && t.base->requires_grad_flag),
                  "a view of a leaf Variable that requires grad is being "
                  "used in an in-place operation.");
        }
        rebase_history(t, n, index);
        return TensorRef::borrow(&t);
    }
    TensorRef result = !is_input  ? TensorRef::borrow(&t)
                       : t.sparse ? shallow_copy(t)
                                  : make_view(t, t.sizes, t.strides, t.offset);
    set_history(*result, n, index);
    if (result->base)
        result->view_kind = num_tensor_outputs > 1 ? ViewKind::MultiOutput : ViewKind::CustomFunction;
    return result;
}

void save_for_backward(Node* n, PyObject* outputs) {
    PyObject* to_save = attribute(n, "to_save");
    if (!to_save) return;
    check_as(ErrorKind::Type, PyTuple_Check(to_save), "saved tensors must be a tuple");
    ObjectRef held = ObjectRef::borrow(to_save);
    const int count = int(PyTuple_GET_SIZE(to_save));
    for (int i = 0; i < count; ++i) {
        PyObject* o = PyTuple_GET_ITEM(to_save, i);
        check_as(ErrorKind::Type, o == Py_None || is_tensor(o),
                 "save_for_backward can only save variables, but argument ", i, " is of type ",
                 Py_TYPE(o)->tp_name);
    }
    allocate_saved(n, count);
    data_of(n).num_saved_slots = count;
    for (int i = 0; i < count; ++i) {
        PyObject* o = PyTuple_GET_ITEM(to_save, i);
        const int output = index_in(outputs, o);
        if (output >= 0 && o != Py_None && reinterpret_cast<Tensor*>(o)->grad_fn == n)
            save_output(n, i, *reinterpret_cast<Tensor*>(o), output);
        else save_value(n, i, o);
    }
    PyDict_DelItemString(n->dict, "to_save");
}

void check_dirty(PyObject* dirty, PyObject* outputs) {
    for (Py_ssize_t i = 0; dirty && i < PyTuple_GET_SIZE(dirty); ++i) {
        PyObject* o = PyTuple_GET_ITEM(dirty, i);
        check_as(ErrorKind::Type, is_tensor(o), "mark_dirty can only accept variables, but argument ", i,
                 " is of type ", Py_TYPE(o)->tp_name);
        check(index_in(outputs, o) >= 0,
              "Some elements marked as dirty during the forward method were not returned as "
              "output. The inputs that are modified inplace must all be outputs of the Function.");
    }
}

// _function_apply(Function class, *arguments)
PyObject* function_apply(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, nargs >= 1, "_function_apply needs a Function");
        PyObject* cls = args[0];
        PyObject* const* inputs = args + 1;
        const Py_ssize_t count = nargs - 1;
        ObjectRef type = ObjectRef::steal(checked_object(PyObject_GetAttrString(cls, "_backward_cls")));
        check_as(ErrorKind::Type,
                 PyType_Check(type.get()) &&
                     PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type.get()), NodeType),
                 "not a Function class");

        auto data = std::make_unique<FunctionData>();
        int num_tensors = 0;
        bool record = false;
        ObjectRef needs = ObjectRef::steal(checked_object(PyTuple_New(count)));
        for (Py_ssize_t i = 0; i < count; ++i) {
            const bool tensor = is_tensor(inputs[i]);
            const bool needed = tensor && reinterpret_cast<Tensor*>(inputs[i])->requires_grad();
            data->is_tensor.push_back(tensor);
            num_tensors += tensor;
            record |= needed && grad_mode();
            PyTuple_SET_ITEM(needs.get(), i, PyBool_FromLong(needed));
        }
        Node* n = new_node_of_type(reinterpret_cast<PyTypeObject*>(type.get()), &kFunction, num_tensors);
        Ref<Node> held = Ref<Node>::steal(n);
        n->data = data.release();
        n->site = capture_site();
        n->dict = checked_object(PyDict_New());
        PyDict_SetItemString(n->dict, "needs_input_grad", needs.get());
        if (record)
            for (Py_ssize_t i = 0, edge = 0; i < count; ++i)
                if (is_tensor(inputs[i]))
                    n->edges[edge++] = gradient_edge(*reinterpret_cast<Tensor*>(inputs[i]));

        ObjectRef given;
        {
            GradModeGuard no_grad(false);
            ObjectRef all = ObjectRef::steal(checked_object(PyTuple_New(count)));
            for (Py_ssize_t i = 0; i < count; ++i) {
                Py_INCREF(inputs[i]);
                PyTuple_SET_ITEM(all.get(), i, inputs[i]);
            }
            ObjectRef run = ObjectRef::steal(checked_object(PyObject_GetAttrString(cls, "_run_forward")));
            given = ObjectRef::steal(
                checked_object(PyObject_CallFunctionObjArgs(run.get(), node_object(n), all.get(), nullptr)));
        }
        ObjectRef outputs = ensure_tuple(given.get());
        const Py_ssize_t num_outputs = PyTuple_GET_SIZE(outputs.get());
        ObjectRef dirty = ObjectRef::borrow(attribute(n, "dirty_tensors"));
        ObjectRef non_differentiable = ObjectRef::borrow(attribute(n, "non_differentiable"));
        for (const ObjectRef* marked : {&dirty, &non_differentiable})
            check_as(ErrorKind::Type, !*marked || PyTuple_Check(marked->get()),
                     "ctx: marked tensors must be a tuple, got ",
                     *marked ? Py_TYPE(marked->get())->tp_name : "");
        check_dirty(dirty.get(), outputs.get());
        int num_tensor_outputs = 0;
        for (Py_ssize_t i = 0; i < num_outputs; ++i)
            num_tensor_outputs += is_tensor(PyTuple_GET_ITEM(outputs.get(), i));
        if (record) allocate_outputs(n, int(num_outputs));

        ObjectRef wrapped = ObjectRef::steal(checked_object(PyTuple_New(num_outputs)));
        for (Py_ssize_t i = 0; i < num_outputs; ++i) {
            PyObject* o = PyTuple_GET_ITEM(outputs.get(), i);
            if (is_tensor(o)) {
                Tensor& t = *reinterpret_cast<Tensor*>(o);
                bool is_input = false;
                for (Py_ssize_t k = 0; k < count; ++k) is_input |= inputs[k] == o;
                if (record) set_output_meta(n, int(i), t);
                const bool differentiable =
                    record && is_differentiable(t.dtype) && !contains(non_differentiable.get(), o);
                TensorRef result = wrap_output(n, t, int(i), num_tensor_outputs, is_input,
                                               contains(dirty.get(), o), differentiable);
                if (differentiable) track_tensor(*result);  // users keep outputs on ctx, which closes a cycle
                PyTuple_SET_ITEM(wrapped.get(), i, result.release());
            } else {
                Py_INCREF(o);
                PyTuple_SET_ITEM(wrapped.get(), i, o);
            }
        }
        if (record) save_for_backward(n, outputs.get());
        if (PyTuple_Check(given.get())) return wrapped.release();
        PyObject* single = PyTuple_GET_ITEM(wrapped.get(), 0);
        Py_INCREF(single);
        return single;
    });
}

// _saved_tensors(ctx)
PyObject* saved_tensors(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, PyObject_TypeCheck(o, NodeType), "saved_tensors: not a ctx");
        Node* n = reinterpret_cast<Node*>(o);
        if (n->released && n->num_saved) fail_released();
        ObjectRef tuple = ObjectRef::steal(checked_object(PyTuple_New(n->num_saved)));
        for (int i = 0; i < n->num_saved; ++i) {
            PyObject* value = unpack_saved(n, i);
            if (!value) {
                value = Py_None;
                Py_INCREF(value);
            }
            PyTuple_SET_ITEM(tuple.get(), i, value);
        }
        return tuple.release();
    });
}

void apply_once(Node*, TensorRef*, TensorRef*) {
    fail(ErrorKind::Runtime,
         "trying to differentiate twice a function that was marked with @once_differentiable");
}
const NodeKind kDelayedError = {"DelayedError", "DelayedError", apply_once, nullptr, nullptr};

// _once_differentiated(tensor, inputs): a copy of `tensor` whose differentiation raises. `inputs` only give it edges.
PyObject* once_differentiated(PyObject*, PyObject* args) {
    PyObject *tensor, *inputs;
    if (!PyArg_ParseTuple(args, "OO!", &tensor, &PyTuple_Type, &inputs)) return nullptr;
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, is_tensor(tensor), "expected a Tensor");
        TensorRef result = shallow_copy(*reinterpret_cast<Tensor*>(tensor));
        if (!is_differentiable(result->dtype)) return result.release();
        const int count = int(PyTuple_GET_SIZE(inputs));
        Ref<Node> n = Ref<Node>::steal(new_node(&kDelayedError, count, 0, 1));
        for (int i = 0; i < count; ++i)
            if (is_tensor(PyTuple_GET_ITEM(inputs, i)))
                n->edges[i] = gradient_edge(*reinterpret_cast<Tensor*>(PyTuple_GET_ITEM(inputs, i)));
        set_output_meta(n.get(), 0, *result);
        set_history(*result, n.get(), 0);
        return result.release();
    });
}

}  // namespace

PyMethodDef function_functions[] = {
    {"_function_apply", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function_apply)), METH_FASTCALL,
     nullptr},
    {"_saved_tensors", saved_tensors, METH_O, nullptr},
    {"_once_differentiated", once_differentiated, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace flb
