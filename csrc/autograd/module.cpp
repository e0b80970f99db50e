// The native functions behind flambeau.autograd: modes, backward, hooks of tensors.
#include "autograd/node.h"
#include "bindings/op.h"
#include "transforms/level.h"

namespace flb {

namespace {

PyObject* as_bool(bool value) { return PyBool_FromLong(value); }

bool truth(PyObject* o) {
    const int value = PyObject_IsTrue(o);
    if (value < 0) throw Error(ErrorKind::Python, "");
    return value;
}

Tensor& tensor_argument(PyObject* o, const char* function) {
    check_as(ErrorKind::Type, is_tensor(o), function, "(): expected a Tensor, got ", Py_TYPE(o)->tp_name);
    return *reinterpret_cast<Tensor*>(o);
}

// ---- modes -------------------------------------------------------------------------------------------------------------

// While a pass is quiet at a level of transforms, the mode as Python sees it is whether that level records.
Level* quiet_level() { return modes.quiet ? find_level(modes.quiet) : nullptr; }

PyObject* is_grad_enabled(PyObject*, PyObject*) {
    const Level* quiet = quiet_level();
    return as_bool(modes.grad && (!quiet || quiet->record));
}
PyObject* set_grad_enabled(PyObject*, PyObject* value) {
    return guarded([&]() -> PyObject* {
        const bool enabled = truth(value);
        if (Level* quiet = quiet_level()) quiet->record = enabled;
        else modes.grad = enabled;
        Py_RETURN_NONE;
    });
}
PyObject* is_inference_mode_enabled(PyObject*, PyObject*) { return as_bool(modes.inference); }
PyObject* set_inference_mode(PyObject*, PyObject* value) {
    return guarded([&]() -> PyObject* {
        modes.inference = truth(value);
        Py_RETURN_NONE;
    });
}
PyObject* is_multithreading_enabled(PyObject*, PyObject*) { return as_bool(modes.multithreading); }
PyObject* set_multithreading_enabled(PyObject*, PyObject* value) {
    return guarded([&]() -> PyObject* {
        modes.multithreading = truth(value);
        Py_RETURN_NONE;
    });
}
PyObject* is_anomaly_enabled(PyObject*, PyObject*) { return as_bool(modes.anomaly); }
PyObject* is_anomaly_check_nan_enabled(PyObject*, PyObject*) { return as_bool(modes.anomaly_nan); }
PyObject* set_anomaly_enabled(PyObject*, PyObject* args) {
    int enabled, check_nan = 1;
    if (!PyArg_ParseTuple(args, "p|p", &enabled, &check_nan)) return nullptr;
    modes.anomaly = enabled;
    modes.anomaly_nan = enabled && check_nan;
    Py_RETURN_NONE;
}

// ---- saved tensor hooks ------------------------------------------------------------------------------------------------

PyObject* push_saved_tensors_hooks(PyObject*, PyObject* args) {
    PyObject *pack, *unpack;
    if (!PyArg_ParseTuple(args, "OO", &pack, &unpack)) return nullptr;
    return guarded([&]() -> PyObject* {
        check(!modes.saved_hooks_disabled,
              modes.saved_hooks_disabled ? PyUnicode_AsUTF8(modes.saved_hooks_disabled) : "");
        if (!modes.saved_hooks) modes.saved_hooks = checked_object(PyList_New(0));
        ObjectRef pair = ObjectRef::steal(checked_object(PyTuple_Pack(2, pack, unpack)));
        if (PyList_Append(modes.saved_hooks, pair.get()) < 0) throw Error(ErrorKind::Python, "");
        Py_RETURN_NONE;
    });
}
PyObject* pop_saved_tensors_hooks(PyObject*, PyObject*) {
    return guarded([&]() -> PyObject* {
        check(modes.saved_hooks, "no saved tensor hooks to remove");
        const Py_ssize_t n = PyList_GET_SIZE(modes.saved_hooks);
        if (PyList_SetSlice(modes.saved_hooks, n - 1, n, nullptr) < 0) throw Error(ErrorKind::Python, "");
        if (n == 1) Py_CLEAR(modes.saved_hooks);
        Py_RETURN_NONE;
    });
}
// _disable_saved_tensors_hooks(message or None): the previous message is returned.
PyObject* disable_saved_tensors_hooks(PyObject*, PyObject* message) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, message == Py_None || PyUnicode_Check(message),
                 "the error message must be a str");
        check(message == Py_None || !modes.saved_hooks, message == Py_None ? "" : PyUnicode_AsUTF8(message));
        PyObject* previous = modes.saved_hooks_disabled;
        if (message == Py_None) {
            modes.saved_hooks_disabled = nullptr;
        } else {
            Py_INCREF(message);
            modes.saved_hooks_disabled = message;
        }
        if (previous) return previous;
        Py_RETURN_NONE;
    });
}

// ---- backward ----------------------------------------------------------------------------------------------------------

// Edges of a call, released when it is over.
struct Edges {
    std::vector<Edge> list;
    ~Edges() {
        for (Edge& e : list) Py_XDECREF(node_object(e.node));
    }
};

// A tensor's edge, or that of a GradientEdge (a tuple of node and output number). Null if it needs no gradient.
Edge edge_of(PyObject* o) {
    if (is_tensor(o)) return gradient_edge(*reinterpret_cast<Tensor*>(o));
    const bool pair =
        PyTuple_Check(o) && PyTuple_GET_SIZE(o) >= 2 && PyObject_TypeCheck(PyTuple_GET_ITEM(o, 0), NodeType);
    check_as(ErrorKind::Type, pair, "expected Tensors or GradientEdges, got ", Py_TYPE(o)->tp_name);
    Node* n = reinterpret_cast<Node*>(PyTuple_GET_ITEM(o, 0));
    const long nr = PyLong_AsLong(PyTuple_GET_ITEM(o, 1));
    if (nr == -1 && PyErr_Occurred()) throw Error(ErrorKind::Python, "");
    check_as(ErrorKind::Index, nr >= 0 && nr < n->num_outputs, "GradientEdge: ", node_name(n),
             " has no output ", nr);
    Py_INCREF(node_object(n));
    return {n, uint32_t(nr)};
}

TensorRef ones_for(const OutputMeta& meta) {
    TensorRef ones = empty(meta.sizes, meta.dtype, meta.device);
    if (!ones->is_meta()) fill(*ones, Scalar(1));
    return ones;
}

TensorRef root_gradient(PyObject* given, const OutputMeta& meta, Py_ssize_t i) {
    if (given == Py_None) {
        check(checked_numel(meta.sizes) == 1, "grad can be implicitly created only for scalar outputs");
        check(is_floating(meta.dtype),
              "grad can be implicitly created only for real scalar outputs but got torch.",
              name_of(meta.dtype));
        return ones_for(meta);
    }
    check_as(ErrorKind::Type, is_tensor(given), "gradients can be either Tensors or None, but got ",
             Py_TYPE(given)->tp_name);
    Tensor& grad = *reinterpret_cast<Tensor*>(given);
    const auto shape = [](const Dims& sizes) {
        std::string text = str(sizes);
        return "torch.Size(" + text + ")";
    };
    check(grad.sizes == meta.sizes, "Mismatch in shape: grad_output[", i, "] has a shape of ",
          shape(grad.sizes), " and output[", i, "] has a shape of ", shape(meta.sizes), ".");
    check(is_complex(grad.dtype) == is_complex(meta.dtype),
          "For complex Tensors, both grad_output and output are required "
          "to have the same dtype. Mismatch in dtype: grad_output[",
          i, "] has a dtype of torch.", name_of(grad.dtype), " and output[", i, "] has a dtype of torch.",
          name_of(meta.dtype), ".");
    return TensorRef::borrow(given);
}

const char* const kBackwardInside =
    "backward() called inside a torch.func transform. This is not supported, please use func.grad or "
    "func.vjp instead or "
    "call backward() outside of the transforms.";

// _run_backward(tensors, grad_tensors, keep_graph, create_graph, inputs, allow_unused, accumulate): the gradients of
// `inputs` when not accumulating. All three sequences are tuples.
PyObject* py_run_backward(PyObject*, PyObject* args) {
    PyObject *tensors, *grads, *inputs;
    int keep_graph, create_graph, allow_unused, accumulate;
    if (!PyArg_ParseTuple(args, "O!O!ppO!pp", &PyTuple_Type, &tensors, &PyTuple_Type, &grads, &keep_graph,
                          &create_graph, &PyTuple_Type, &inputs, &allow_unused, &accumulate))
        return nullptr;
    return guarded([&]() -> PyObject* {
        if (accumulate) check_outside_functions(kBackwardInside);
        const Py_ssize_t n = PyTuple_GET_SIZE(tensors), m = PyTuple_GET_SIZE(inputs);
        check(PyTuple_GET_SIZE(grads) == n, "got ", n, " tensors and ", PyTuple_GET_SIZE(grads),
              " gradients");
        Edges roots, targets;
        std::vector<TensorRef> root_grads;
        for (Py_ssize_t i = 0; i < n; ++i) {
            const Edge edge = edge_of(PyTuple_GET_ITEM(tensors, i));
            check(edge.node, "element ", i, " of tensors does not require grad and does not have a grad_fn");
            roots.list.push_back(edge);
            root_grads.push_back(
                root_gradient(PyTuple_GET_ITEM(grads, i), edge.node->outputs[edge.input_nr], i));
        }
        for (Py_ssize_t i = 0; i < m; ++i) {
            PyObject* input = PyTuple_GET_ITEM(inputs, i);
            const Edge edge = edge_of(input);
            check(edge.node, "One of the differentiated Tensors does not require grad");
            targets.list.push_back(edge);
            if (accumulate && is_tensor(input)) retain_gradient(*reinterpret_cast<Tensor*>(input));
        }
        std::vector<TensorRef> captured(static_cast<size_t>(m));
        run_backward({roots.list.data(), root_grads.data(), int(n), bool(keep_graph), bool(create_graph),
                      bool(accumulate), targets.list.data(), int(m), captured.data()});
        if (accumulate) Py_RETURN_NONE;
        ObjectRef result = ObjectRef::steal(checked_object(PyTuple_New(m)));
        for (Py_ssize_t i = 0; i < m; ++i) {
            check(captured[size_t(i)] || allow_unused, "The differentiated Tensor at index ", i,
                  " appears to not have been "
                  "used in the graph. Set allow_unused=True if this is the desired behavior.");
            PyObject* o = captured[size_t(i)] ? captured[size_t(i)].release() : (Py_INCREF(Py_None), Py_None);
            PyTuple_SET_ITEM(result.get(), i, o);
        }
        return result.release();
    });
}

// _backward(tensor, gradient, keep_graph, create_graph): the common case of Tensor.backward.
PyObject* py_backward(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, nargs == 4, "_backward takes 4 arguments");
        Tensor& t = tensor_argument(args[0], "backward");
        check_outside_functions(kBackwardInside);
        const bool keep_graph = truth(args[2]), create_graph = truth(args[3]);
        Edges roots;
        roots.list.push_back(gradient_edge(t));
        const Edge& edge = roots.list[0];
        check(edge.node, "element 0 of tensors does not require grad and does not have a grad_fn");
        TensorRef grad = root_gradient(args[1], edge.node->outputs[edge.input_nr], 0);
        run_backward({roots.list.data(), &grad, 1, keep_graph, create_graph, true, nullptr, 0, nullptr});
        Py_RETURN_NONE;
    });
}

// ---- tensors -----------------------------------------------------------------------------------------------------------

// The dict of a tensor's gradient hooks, made when absent.
PyObject* hook_dict(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        Tensor& t = tensor_argument(o, "register_hook");
        check(t.requires_grad(), "cannot register a hook on a tensor that doesn't require gradient");
        PyObject** dict = backward_hooks_of(t, true);
        if (!*dict) *dict = checked_object(PyODict_New());
        Py_INCREF(*dict);
        return *dict;
    });
}

PyObject* post_accumulate_hook_dict(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        Tensor& t = tensor_argument(o, "register_post_accumulate_grad_hook");
        check(t.requires_grad(), "cannot register a hook on a tensor that doesn't require gradient");
        check(t.is_leaf(), "post accumulate grad hooks cannot be registered on non-leaf tensors");
        PyObject*& dict = t.ensure_meta().post_accumulate;
        if (!dict) dict = checked_object(PyODict_New());
        Py_INCREF(dict);
        return dict;
    });
}

PyObject* retain_grad(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        retain_gradient(tensor_argument(o, "retain_grad"));
        Py_RETURN_NONE;
    });
}

PyObject* detach_(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        detach_inplace(tensor_argument(o, "detach_"));
        Py_INCREF(o);
        return o;
    });
}

PyObject* py_gradient_edge(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        Tensor& t = tensor_argument(o, "get_gradient_edge");
        Edges edge;
        edge.list.push_back(gradient_edge(t));
        check(edge.list[0].node,
              "It is not possible to get the gradient edge for a Tensor that does not require gradients");
        ObjectRef node = ObjectRef::steal(expose_node(edge.list[0].node));
        return Py_BuildValue("(OI)", node.get(), edge.list[0].input_nr);
    });
}

PyObject* increment_version(PyObject*, PyObject* o) {
    return guarded([&]() -> PyObject* {
        Tensor& t = tensor_argument(o, "increment_version");
        check(!t.inference, "Inference tensors do not track version counter.");
        bump_version(t, "increment_version");
        Py_RETURN_NONE;
    });
}

}  // namespace

PyMethodDef autograd_functions[] = {
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS,
     "Whether operators record for backward on this thread."},
    {"_set_grad_enabled", set_grad_enabled, METH_O, nullptr},
    {"is_inference_mode_enabled", is_inference_mode_enabled, METH_NOARGS,
     "Whether this thread is in inference mode."},
    {"_set_inference_mode", set_inference_mode, METH_O, nullptr},
    {"_is_multithreading_enabled", is_multithreading_enabled, METH_NOARGS, nullptr},
    {"_set_multithreading_enabled", set_multithreading_enabled, METH_O, nullptr},
    {"is_anomaly_enabled", is_anomaly_enabled, METH_NOARGS, "Whether anomaly detection is on."},
    {"is_anomaly_check_nan_enabled", is_anomaly_check_nan_enabled, METH_NOARGS,
     "Whether anomaly detection looks for nan."},
    {"_set_anomaly_enabled", set_anomaly_enabled, METH_VARARGS, nullptr},
    {"_push_saved_tensors_hooks", push_saved_tensors_hooks, METH_VARARGS, nullptr},
    {"_pop_saved_tensors_hooks", pop_saved_tensors_hooks, METH_NOARGS, nullptr},
    {"_disable_saved_tensors_hooks", disable_saved_tensors_hooks, METH_O, nullptr},
    {"_run_backward", py_run_backward, METH_VARARGS, nullptr},
    {"_backward", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(py_backward)), METH_FASTCALL,
     nullptr},
    {"_queue_callback", backward_engine_queue_callback, METH_O, nullptr},
    {"_current_pass", backward_engine_current_pass, METH_NOARGS, nullptr},
    {"_will_run", backward_engine_will_run, METH_O, nullptr},
    {"_hook_dict", hook_dict, METH_O, nullptr},
    {"_post_accumulate_hook_dict", post_accumulate_hook_dict, METH_O, nullptr},
    {"_retain_grad", retain_grad, METH_O, nullptr},
    {"_detach_", detach_, METH_O, nullptr},
    {"_gradient_edge", py_gradient_edge, METH_O, nullptr},
    {"_increment_version", increment_version, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace flb
