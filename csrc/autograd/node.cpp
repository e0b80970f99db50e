// Nodes: allocation, deletion without recursion, saved values.
#include "autograd/node.h"

#include <structmember.h>

#include <cstddef>

#include "bindings/op.h"

namespace flb {

thread_local Modes modes __attribute__((tls_model("initial-exec")));

// ---- allocation --------------------------------------------------------------------------------------------------------

namespace {

uint64_t next_sequence = 0;

// Dead nodes by size, linked through `data`: a training step records again what the last one released.
constexpr int kGranule = 16;
constexpr int kSizeClasses = 48;
constexpr int kMaxFree = 2048;
struct FreeList {
    Node* first = nullptr;
    int count = 0;
};
FreeList free_nodes[kSizeClasses];

void construct(Node* n, const NodeKind* kind) {
    std::memset(reinterpret_cast<char*>(n) + offsetof(Node, dict), 0, sizeof(Node) - offsetof(Node, dict));
    n->sequence = next_sequence++;
    n->kind = kind;
}

}  // namespace

Node* new_node(const NodeKind* kind, int num_edges, int num_saved, int num_outputs) {
    const size_t bytes =
        num_edges * sizeof(Edge) + num_saved * sizeof(Saved) + num_outputs * sizeof(OutputMeta);
    const size_t granules = (bytes + kGranule - 1) / kGranule;
    Node* n;
    if (granules < kSizeClasses && free_nodes[granules].first) {
        FreeList& list = free_nodes[granules];
        n = list.first;
        list.first = static_cast<Node*>(n->data);
        --list.count;
        PyObject_InitVar(reinterpret_cast<PyVarObject*>(n), NodeType, Py_ssize_t(granules));
    } else {
        n = PyObject_GC_NewVar(Node, NodeType, Py_ssize_t(granules));
        if (!n) throw Error(ErrorKind::Python, "");
    }
    construct(n, kind);
    n->pooled = true;
    n->num_edges = num_edges;
    n->num_saved = num_saved;
    n->num_outputs = num_outputs;
    n->edges = reinterpret_cast<Edge*>(n + 1);
    n->saved = reinterpret_cast<Saved*>(n->edges + num_edges);
    n->outputs = reinterpret_cast<OutputMeta*>(n->saved + num_saved);
    for (int i = 0; i < num_edges; ++i) new (n->edges + i) Edge();
    for (int i = 0; i < num_saved; ++i) new (n->saved + i) Saved();
    for (int i = 0; i < num_outputs; ++i) new (n->outputs + i) OutputMeta();
    return n;
}

Node* new_node_of_type(PyTypeObject* type, const NodeKind* kind, int num_edges) {
    const Py_ssize_t granules = (num_edges * sizeof(Edge) + kGranule - 1) / kGranule;
    Node* n = PyObject_GC_NewVar(Node, type, granules);
    if (!n) throw Error(ErrorKind::Python, "");
    construct(n, kind);
    n->num_edges = num_edges;
    n->edges = reinterpret_cast<Edge*>(n + 1);
    for (int i = 0; i < num_edges; ++i) new (n->edges + i) Edge();
    n->exposed = true;
    PyObject_GC_Track(node_object(n));
    return n;
}

void allocate_saved(Node* n, int num_saved) {
    n->saved = new Saved[num_saved]();
    n->num_saved = num_saved;
    n->own_saved = true;
}

void allocate_outputs(Node* n, int num_outputs) {
    n->outputs = new OutputMeta[num_outputs]();
    n->num_outputs = num_outputs;
    n->own_outputs = true;
}

void set_output_meta(Node* node, int index, const Tensor& output) {
    OutputMeta& meta = node->outputs[index];
    meta.sizes = output.sizes;
    meta.dtype = output.dtype;
    meta.device = output.device;
}

// ---- deletion ----------------------------------------------------------------------------------------------------------

static bool holds_tensors(PyObject* value) {
    if (!PyTuple_CheckExact(value)) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); ++i)
        if (is_tensor(PyTuple_GET_ITEM(value, i))) return true;
    return false;
}

static void clear_saved(Saved& saved) {
    PyObject* value = saved.value;
    HookedSaved* hooked = saved.hooked;
    saved.value = nullptr;
    saved.hooked = nullptr;
    Py_XDECREF(value);
    if (hooked) {
        Py_DECREF(hooked->unpack);
        Py_XDECREF(node_object(hooked->edge.node));
        delete hooked;
    }
}

// Sizes and numbers stay: a node that keeps no tensors can run again, as in PyTorch.
void release_saved(Node* n) {
    n->released = true;
    for (int i = 0; i < n->num_saved; ++i) {
        Saved& saved = n->saved[i];
        if (saved.value && (saved.hooked || is_tensor(saved.value) || holds_tensors(saved.value)))
            clear_saved(saved);
    }
    if (n->kind->release) n->kind->release(n);
}

static void clear_hooks(Node* n) {
    NodeHooks* hooks = n->hooks;
    n->hooks = nullptr;
    if (!hooks) return;
    Py_XDECREF(hooks->pre);
    Py_XDECREF(hooks->post);
    if (hooks->outputs) {
        for (int i = 0; i < n->num_outputs; ++i) Py_XDECREF(hooks->outputs[i].hooks);
        delete[] hooks->outputs;
    }
    delete hooks;
}

static int node_clear(PyObject* self) {
    Node* n = reinterpret_cast<Node*>(self);
    Py_CLEAR(n->dict);
    clear_hooks(n);
    for (int i = 0; i < n->num_saved; ++i) clear_saved(n->saved[i]);
    for (int i = 0; i < n->num_edges; ++i) {
        Node* next = n->edges[i].node;
        n->edges[i].node = nullptr;
        Py_XDECREF(node_object(next));
    }
    if (n->kind->destroy) n->kind->destroy(n);
    Py_CLEAR(n->payload);
    return 0;
}

static void destroy(Node* n) {
    PyObject* self = node_object(n);
    if (n->weakrefs) PyObject_ClearWeakRefs(self);
    node_clear(self);
    if (n->own_saved) delete[] n->saved;
    if (n->own_outputs) delete[] n->outputs;
    else
        for (int i = 0; i < n->num_outputs; ++i) n->outputs[i].~OutputMeta();
    release_site(n->site);
    PyTypeObject* type = Py_TYPE(self);
    const Py_ssize_t granules = Py_SIZE(n);
    if (n->pooled && granules < kSizeClasses && free_nodes[granules].count < kMaxFree) {
        FreeList& list = free_nodes[granules];
        n->data = list.first;
        list.first = n;
        ++list.count;
    } else {
        PyObject_GC_Del(self);
    }
    Py_DECREF(type);
}

// A chain of nodes is as long as the user's program; deleting it by recursion would overflow the C stack. Nodes that
// die while another is being destroyed wait here instead, linked through `task`.
static void node_dealloc(PyObject* self) {
    static Node* waiting = nullptr;
    static bool destroying = false;
    Node* n = reinterpret_cast<Node*>(self);
    if (PyObject_GC_IsTracked(self)) PyObject_GC_UnTrack(self);
    if (destroying) {
        n->task = reinterpret_cast<Task*>(waiting);
        waiting = n;
        return;
    }
    destroying = true;
    destroy(n);
    while (waiting) {
        Node* next = waiting;
        waiting = reinterpret_cast<Node*>(next->task);
        destroy(next);
    }
    destroying = false;
}

static int node_traverse(PyObject* self, visitproc visit, void* arg) {
    Node* n = reinterpret_cast<Node*>(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(n->dict);
    Py_VISIT(n->payload);
    for (int i = 0; i < n->num_saved; ++i) {
        Py_VISIT(n->saved[i].value);
        if (n->saved[i].hooked) {
            Py_VISIT(n->saved[i].hooked->unpack);
            Py_VISIT(node_object(n->saved[i].hooked->edge.node));
        }
    }
    for (int i = 0; i < n->num_edges; ++i) Py_VISIT(node_object(n->edges[i].node));
    if (n->hooks) {
        Py_VISIT(n->hooks->pre);
        Py_VISIT(n->hooks->post);
        if (n->hooks->outputs)
            for (int i = 0; i < n->num_outputs; ++i) Py_VISIT(n->hooks->outputs[i].hooks);
    }
    return 0;
}

// ---- saved values --------------------------------------------------------------------------------------------------------

namespace {

uint32_t sum_of_versions(PyObject* list) {
    uint32_t sum = 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list); ++i) {
        PyObject* item = PySequence_Fast_GET_ITEM(list, i);
        if (is_tensor(item)) sum += version_value_if_any(*reinterpret_cast<Tensor*>(item));
    }
    return sum;
}

void check_savable(const Tensor& t) {
    check(!t.inference,
          "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference "
          "mode in computation tracked by autograd. To work around this, you can make a clone to get a "
          "normal tensor and "
          "use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`.");
}

// Hands the tensor to the innermost pack hook and keeps what it returns.
void pack(Saved& saved, Tensor& t, Edge edge) {
    const Py_ssize_t n = PyList_GET_SIZE(modes.saved_hooks);
    ObjectRef hooks = ObjectRef::borrow(PyList_GET_ITEM(modes.saved_hooks, n - 1));
    HookedSaved* hooked = new HookedSaved{PyTuple_GET_ITEM(hooks.get(), 1), edge};
    Py_INCREF(hooked->unpack);
    saved.hooked = hooked;  // from here on the node owns it, whatever the hook raises
    GradModeGuard no_grad(false);
    TensorRef plain = shallow_copy(t);
    const uint32_t version = version_value_if_any(*plain);
    saved.value = checked_object(PyObject_CallOneArg(PyTuple_GET_ITEM(hooks.get(), 0), plain.object()));
    check(version_value_if_any(*plain) == version,
          "A saved tensor pack hook is modifying its input in place. Tensors "
          "provided as input to pack hook can not be modified by in-place operations as this can lead to "
          "unexpected "
          "side-effects. Save a modified copy instead.");
}

PyObject* unpack_hooked(Node* n, const Saved& saved) {
    ObjectRef given;
    {
        GradModeGuard no_grad(false);
        given = ObjectRef::steal(checked_object(PyObject_CallOneArg(saved.hooked->unpack, saved.value)));
    }
    check_as(ErrorKind::Type, is_tensor(given.get()),
             "Output of saved tensor unpack_hook expected to be a Tensor but got "
             "result of type ",
             Py_TYPE(given.get())->tp_name);
    TensorRef t = shallow_copy(*reinterpret_cast<Tensor*>(given.get()));
    if (saved.output_index >= 0) set_history(*t, n, saved.output_index);
    else if (saved.hooked->edge.node)
        set_history(*t, saved.hooked->edge.node, int(saved.hooked->edge.input_nr));
    return t.release();
}

std::string indented_site(const char* lead, const std::string& who, const Site& site) {
    const std::string where = describe_site(site);
    return join("\n  ", lead, " ", who, where.empty() ? "" : " at ", where);
}

[[noreturn, gnu::cold, gnu::noinline]] void fail_version(Node* n, const Saved& saved, Tensor& t) {
    Node* producer = saved.output_index >= 0 ? n : t.grad_fn;
    const int output = saved.output_index >= 0 ? saved.output_index : int(t.output_nr);
    std::string origin;
    if (producer && producer->kind != &kAccumulateGrad) {
        std::string name = node_name(producer);
        const size_t suffix = name.rfind("Backward");
        if (suffix != std::string::npos) name.resize(suffix);
        origin = join(", which is output ", output, " of ", name, ",");
    }
    const Version& version = version_of(t);
    std::string writer = version.writer_name ? version.writer_name : "an in-place write";
    std::string message = join(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        "[torch.",
        info(t.dtype).class_name, "Tensor ", str(t.sizes), "]", origin, " is at version ", version.value,
        "; expected version ", saved.version, " instead.");
    message += indented_site("saved by ", node_name(n), n->site);
    message += indented_site("written by", writer, version.writer);
    message += "\nWrite to a copy (clone()), or use the out-of-place form of the operator.";
    fail(ErrorKind::Runtime, message);
}

}  // namespace

void save_value(Node* node, int slot, PyObject* value) {
    Saved& saved = node->saved[slot];
    if (is_tensor(value)) {
        Tensor& t = *reinterpret_cast<Tensor*>(value);
        check_savable(t);
        if (__builtin_expect(modes.saved_hooks != nullptr, 0)) return pack(saved, t, gradient_edge(t));
        saved.version = version_value_if_any(t);
    } else if (PyList_Check(value)) {
        value = checked_object(PyList_AsTuple(value));  // the caller may go on changing its list
        saved.version = sum_of_versions(value);
        saved.value = value;
        return;
    } else if (PyTuple_Check(value)) {
        saved.version = sum_of_versions(value);
    }
    Py_INCREF(value);
    saved.value = value;
}

void save_output(Node* node, int slot, Tensor& output, int output_index) {
    Saved& saved = node->saved[slot];
    check_savable(output);
    saved.output_index = output_index;
    if (__builtin_expect(modes.saved_hooks != nullptr, 0)) return pack(saved, output, Edge{});
    saved.version = version_value_if_any(output);
    saved.value = shallow_copy(output).release();
}

void fail_released() {
    fail(ErrorKind::Runtime,
         "Trying to backward through the graph a second time (or directly access saved tensors after "
         "they have already been freed). Saved intermediate values of the graph are freed when you call "
         ".backward() or "
         "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time "
         "or if you "
         "need to access saved tensors after calling backward.");
}

PyObject* unpack_saved(Node* n, int slot) {
    Saved& saved = n->saved[slot];
    if (__builtin_expect(!saved.value, 0)) {
        if (n->released) fail_released();
        return nullptr;
    }
    if (__builtin_expect(saved.hooked != nullptr, 0)) return unpack_hooked(n, saved);
    if (is_tensor(saved.value)) {
        Tensor& t = *reinterpret_cast<Tensor*>(saved.value);
        if (__builtin_expect(version_value_if_any(t) != saved.version, 0)) fail_version(n, saved, t);
        // The copy of an output gets its history back, so that second derivatives flow through it.
        if (saved.output_index >= 0 && is_differentiable(t.dtype)) {
            TensorRef output = shallow_copy(t);
            set_history(*output, n, saved.output_index);
            return output.release();
        }
    } else if (PyTuple_Check(saved.value) && sum_of_versions(saved.value) != saved.version) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(saved.value); ++i) {
            PyObject* item = PyTuple_GET_ITEM(saved.value, i);
            if (is_tensor(item) && version_value_if_any(*reinterpret_cast<Tensor*>(item)))
                fail_version(n, saved, *reinterpret_cast<Tensor*>(item));
        }
    }
    Py_INCREF(saved.value);
    return saved.value;
}

// ---- the Python type ------------------------------------------------------------------------------------------------------

PyTypeObject* NodeType = nullptr;

std::string node_name(const Node* n) {
    if (n->kind->name) return n->kind->name;
    if (n->rule) return n->rule->node_name;
    return Py_TYPE(n)->tp_name;
}

NodeHooks& ensure_hooks(Node* n) {
    if (!n->hooks) n->hooks = new NodeHooks();
    return *n->hooks;
}

OutputHooks& ensure_output_hooks(Node* n, int output_nr) {
    NodeHooks& hooks = ensure_hooks(n);
    check(output_nr < n->num_outputs, "a node of ", n->num_outputs, " outputs has no output ", output_nr);
    if (!hooks.outputs) hooks.outputs = new OutputHooks[n->num_outputs]();
    return hooks.outputs[output_nr];
}

PyObject** backward_hooks_of(Tensor& t, bool make) {
    Node* fn = grad_fn_of(t);
    if (make) {  // a hook's closure may close a cycle through the tensor or the node
        track_tensor(t);
        if (fn) Py_DECREF(expose_node(fn));
    }
    if (fn)
        return make || (fn->hooks && fn->hooks->outputs) ? &ensure_output_hooks(fn, int(t.output_nr)).hooks
                                                         : nullptr;
    return make || t.meta ? &t.ensure_meta().hooks : nullptr;
}

// Every operator has a Python type of its own, as in PyTorch, where programs tell nodes apart by type(node).__name__.
static PyTypeObject* named_type(const char* name) {
    static PyObject* types = PyDict_New();
    PyObject* known = PyDict_GetItemString(types, name);
    if (!known) {
        static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
                                      {Py_tp_traverse, reinterpret_cast<void*>(node_traverse)},
                                      {Py_tp_clear, reinterpret_cast<void*>(node_clear)},
                                      {0, nullptr}};
        char* full = strdup(join("flambeau.autograd.graph.", name).c_str());  // Python 3.10 keeps the pointer
        PyType_Spec spec = {full, int(sizeof(Node)), kGranule, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                            slots};
        ObjectRef bases = ObjectRef::steal(checked_object(PyTuple_Pack(1, NodeType)));
        ObjectRef type = ObjectRef::steal(checked_object(PyType_FromSpecWithBases(&spec, bases.get())));
        PyDict_SetItemString(types, name, type.get());
        known = type.get();
    }
    return reinterpret_cast<PyTypeObject*>(known);
}

PyObject* expose_node(Node* n) {
    PyObject* self = node_object(n);
    if (!n->exposed) {
        const char* name = n->rule ? n->rule->node_name.c_str() : n->kind->type_name;
        if (name) {
            PyTypeObject* type = named_type(name);
            PyTypeObject* old = Py_TYPE(self);
            Py_INCREF(type);
            Py_SET_TYPE(self, type);
            Py_DECREF(old);
        }
        n->exposed = true;
        PyObject_GC_Track(self);
    }
    Py_INCREF(self);
    return self;
}

void keep_traceback(Node* n) {
    ObjectRef module = ObjectRef::steal(checked_object(PyImport_ImportModule("traceback")));
    ObjectRef stack =
        ObjectRef::steal(checked_object(PyObject_CallMethod(module.get(), "format_stack", nullptr)));
    if (!n->dict) n->dict = checked_object(PyDict_New());
    PyObject* metadata = PyDict_GetItemString(n->dict, "metadata");
    if (!metadata) {
        ObjectRef fresh = ObjectRef::steal(checked_object(PyDict_New()));
        PyDict_SetItemString(n->dict, "metadata", fresh.get());
        metadata = PyDict_GetItemString(n->dict, "metadata");
    }
    PyDict_SetItemString(metadata, "traceback_", stack.get());
}

static PyObject* node_get_name(PyObject* self, PyObject*) {
    return PyUnicode_FromString(node_name(reinterpret_cast<Node*>(self)).c_str());
}

static PyObject* node_repr(PyObject* self) {
    const char* name = Py_TYPE(self)->tp_name;
    const char* dot = std::strrchr(name, '.');
    return PyUnicode_FromFormat("<%s object at %p>", dot ? dot + 1 : name, self);
}

static PyObject* node_get_next_functions(PyObject* self, void*) {
    Node* n = reinterpret_cast<Node*>(self);
    return guarded([&]() -> PyObject* {
        ObjectRef all = ObjectRef::steal(checked_object(PyTuple_New(n->num_edges)));
        for (int i = 0; i < n->num_edges; ++i) {
            Node* next = n->edges[i].node;
            ObjectRef object = next ? ObjectRef::steal(expose_node(next)) : ObjectRef::borrow(Py_None);
            PyTuple_SET_ITEM(all.get(), i,
                             checked_object(Py_BuildValue("(OI)", object.get(), n->edges[i].input_nr)));
        }
        return all.release();
    });
}

static PyObject* node_get_metadata(PyObject* self, void*) {
    Node* n = reinterpret_cast<Node*>(self);
    if (!n->dict && !(n->dict = PyDict_New())) return nullptr;
    PyObject* metadata = PyDict_GetItemString(n->dict, "metadata");
    if (!metadata) {
        metadata = PyDict_New();
        if (!metadata || PyDict_SetItemString(n->dict, "metadata", metadata) < 0) return nullptr;
        return metadata;
    }
    Py_INCREF(metadata);
    return metadata;
}

static PyObject* node_get_requires_grad(PyObject*, void*) { Py_RETURN_TRUE; }

static PyObject* node_get_variable(PyObject* self, void*) {
    Node* n = reinterpret_cast<Node*>(self);
    if (n->kind != &kAccumulateGrad) {
        PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute 'variable'", Py_TYPE(self)->tp_name);
        return nullptr;
    }
    PyObject* leaf = n->payload ? n->payload : Py_None;
    Py_INCREF(leaf);
    return leaf;
}

static PyObject* node_sequence_nr(PyObject* self, PyObject*) {
    return PyLong_FromUnsignedLongLong(reinterpret_cast<Node*>(self)->sequence);
}

static PyObject* node_hook_dict(Node* n, bool pre) {
    return guarded([&]() -> PyObject* {
        NodeHooks& hooks = ensure_hooks(n);
        PyObject*& dict = pre ? hooks.pre : hooks.post;
        if (!dict)
            dict = checked_object(PyODict_New());  // handles hold it weakly, which plain dicts don't allow
        Py_INCREF(dict);
        return dict;
    });
}
static PyObject* node_post_hook_dict(PyObject* self, PyObject*) {
    return node_hook_dict(reinterpret_cast<Node*>(self), false);
}
static PyObject* node_pre_hook_dict(PyObject* self, PyObject*) {
    return node_hook_dict(reinterpret_cast<Node*>(self), true);
}

// Adds a hook and returns its handle (flambeau.utils.hooks.RemovableHandle).
static PyObject* register_in(PyObject* dict, PyObject* hook) {
    if (!dict) return nullptr;
    ObjectRef hooks = ObjectRef::steal(dict);
    ObjectRef module = ObjectRef::steal(PyImport_ImportModule("flambeau.utils.hooks"));
    if (!module) return nullptr;
    ObjectRef handle =
        ObjectRef::steal(PyObject_CallMethod(module.get(), "RemovableHandle", "O", hooks.get()));
    if (!handle) return nullptr;
    ObjectRef id = ObjectRef::steal(PyObject_GetAttrString(handle.get(), "id"));
    if (!id || PyObject_SetItem(hooks.get(), id.get(), hook) < 0) return nullptr;
    return handle.release();
}
static PyObject* node_register_hook(PyObject* self, PyObject* hook) {
    return register_in(node_post_hook_dict(self, nullptr), hook);
}
static PyObject* node_register_prehook(PyObject* self, PyObject* hook) {
    return register_in(node_pre_hook_dict(self, nullptr), hook);
}

// `_saved_NAME`: a value the rule keeps; PyTorch calls the first input "self".
static PyObject* node_getattro(PyObject* self, PyObject* attribute) {
    PyObject* found = PyObject_GenericGetAttr(self, attribute);
    if (found || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    Node* n = reinterpret_cast<Node*>(self);
    const char* text = PyUnicode_Check(attribute) ? PyUnicode_AsUTF8(attribute) : nullptr;
    if (!n->rule || !text || std::strncmp(text, "_saved_", 7) != 0) return nullptr;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    const std::string wanted = text + 7;
    const std::vector<Rule::SavedSource>& sources = n->rule->saved;
    const std::vector<Param>& params = *n->rule->op->params;
    for (int i = 0; i < int(sources.size()); ++i) {
        const Rule::SavedSource& source = sources[i];
        std::string name;
        if (source.kind == Rule::SavedSource::Param) {
            name = PyUnicode_AsUTF8(params[source.index].name);
        } else if (source.kind == Rule::SavedSource::Output) {
            const auto* names = n->rule->op->output_names;
            name = names ? PyUnicode_AsUTF8((*names)[source.index]) : "result";
        } else {
            continue;
        }
        const bool is_self = source.kind == Rule::SavedSource::Param && source.index == 0 && wanted == "self";
        if (name != wanted && !is_self) continue;
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        return guarded([&]() -> PyObject* {
            PyObject* object = unpack_saved(n, i);
            if (object) return object;
            Py_RETURN_NONE;
        });
    }
    PyErr_Restore(type, value, traceback);
    return nullptr;
}

static PyMethodDef node_methods[] = {
    {"name", node_get_name, METH_NOARGS, "The name of the node, e.g. 'MulBackward0'."},
    {"_sequence_nr", node_sequence_nr, METH_NOARGS, "The order of recording."},
    {"register_hook", node_register_hook, METH_O,
     "Calls hook(grad_inputs, grad_outputs) after the node ran in a backward pass; a returned tuple replaces "
     "grad_inputs."},
    {"register_prehook", node_register_prehook, METH_O,
     "Calls hook(grad_outputs) before the node runs; a returned tuple replaces grad_outputs."},
    {"_post_hook_dict", node_post_hook_dict, METH_NOARGS, nullptr},
    {"_pre_hook_dict", node_pre_hook_dict, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
static PyGetSetDef node_getset[] = {
    {"next_functions", node_get_next_functions, nullptr,
     "Where the gradients go: a tuple of (node, input number).", nullptr},
    {"metadata", node_get_metadata, nullptr, "A dict for whatever users attach.", nullptr},
    {"requires_grad", node_get_requires_grad, nullptr, nullptr, nullptr},
    {"variable", node_get_variable, nullptr, "Of an AccumulateGrad node: the leaf.", nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
static PyMemberDef node_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(Node, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Node, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
static PyType_Slot node_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(node_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(node_clear)},
    {Py_tp_getattro, reinterpret_cast<void*>(node_getattro)},
    {Py_tp_repr, reinterpret_cast<void*>(node_repr)},
    {Py_tp_methods, node_methods},
    {Py_tp_getset, node_getset},
    {Py_tp_members, node_members},
    {Py_tp_doc, const_cast<char*>("A recorded operator in the graph that backward walks.")},
    {0, nullptr},
};
static PyType_Spec node_spec = {
    "flambeau._C.Node", int(sizeof(Node)), kGranule,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    node_slots};

void init_autograd(PyObject* module) {
    static_assert(sizeof(Node) % alignof(Edge) == 0);
    NodeType = reinterpret_cast<PyTypeObject*>(checked_object(PyType_FromSpec(&node_spec)));
    Py_INCREF(node_object(reinterpret_cast<Node*>(NodeType)));
    PyModule_AddObject(module, "Node", reinterpret_cast<PyObject*>(NodeType));
    if (PyModule_AddFunctions(module, autograd_functions) < 0 ||
        PyModule_AddFunctions(module, function_functions) < 0)
        throw Error(ErrorKind::Python, "");
}

}  // namespace flb
