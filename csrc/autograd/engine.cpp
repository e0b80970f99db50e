// The backward pass.
//
// Nodes run when all their incoming gradients have arrived, the one recorded last first. What a pass knows of a node
// is a Task, allocated from the pass's arena and reachable from the node, so that following an edge needs no table.
// Passes may nest (a rule that calls backward, as checkpointing does) or interleave (threads): a node then has
// several tasks, one per pass.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "autograd/node.h"
#include "autograd/recorder.h"
#include "bindings/op.h"
#include "bindings/types.h"
#include "kernels/pointwise.h"

namespace flb {

struct Pass;

struct Capture {
    uint32_t input_nr;
    int index;  // in BackwardRequest::captured
    Capture* next;
};

struct Task {
    Node* node;  // owned
    Pass* pass;
    Task* other;  // the same node in another pass
    Task* next_in_pass;
    Capture* captures;
    uint64_t owned;    // bit i: grads[i] is a buffer made here, which nobody else sees
    int dependencies;  // gradients still to come
    int next_edge;     // while searching
    bool queued;
    bool execute;      // false: only its gradients are wanted (grad())
    TensorRef* grads;  // one per output of the node
};

namespace {

// Memory that a pass hands out piece by piece and frees at once; the first block is kept from pass to pass.
class Arena {
  public:
    void* allocate(size_t bytes) {
        bytes = (bytes + 15) & ~size_t(15);
        if (used_ + bytes > size_) {
            size_ = std::max(bytes, kBlock);
            used_ = 0;
            if (size_ == kBlock && spare_) {
                blocks_.push_back(std::move(spare_));
            } else {
                blocks_.push_back(std::unique_ptr<char[]>(new char[size_]));
            }
        }
        void* p = blocks_.back().get() + used_;
        used_ += bytes;
        return p;
    }
    ~Arena() {
        if (!spare_ && !blocks_.empty() && size_ == kBlock) spare_ = std::move(blocks_.back());
    }

  private:
    static constexpr size_t kBlock = 64 * 1024;
    static std::unique_ptr<char[]> spare_;
    std::vector<std::unique_ptr<char[]>> blocks_;
    size_t size_ = 0, used_ = 0;
};
std::unique_ptr<char[]> Arena::spare_;

OpHandle add_op("add");
OpHandle clone_op("clone");
OpHandle sum_op("sum");
OpHandle view_as_real_op("view_as_real");
OpHandle select_op("select");
OpHandle to_op("_to");
OpHandle to_dense_op("_sparse_to_dense");

}  // namespace

// ---- one pass --------------------------------------------------------------------------------------------------------

struct Pass {
    const BackwardRequest& request;
    Pass* outer;
    uint64_t id;
    Arena arena;
    Task* tasks = nullptr;
    std::vector<Task*> ready;  // a heap by sequence number
    std::vector<PyObject*> callbacks;

    explicit Pass(const BackwardRequest& r);
    ~Pass();
    Task* find(Node* n) const;
    Task* task_for(Node* n);
    void discover(Node* root, std::vector<Task*>& order);
    void enqueue(Task* t);
    void deliver(Task* t, uint32_t input_nr, TensorRef grad);
    void run_task(Task* t);
    void run();
    void run_callbacks();
};

static thread_local Pass* current_pass = nullptr;

Pass::Pass(const BackwardRequest& r) : request(r), outer(current_pass) {
    static uint64_t last_id = 0;
    id = ++last_id;
    current_pass = this;
}

Pass::~Pass() {
    current_pass = outer;
    for (Task* t = tasks; t;) {
        Task* next = t->next_in_pass;
        Task** link = &t->node->task;
        while (*link != t) link = &(*link)->other;
        *link = t->other;
        for (int i = 0; i < t->node->num_outputs; ++i) t->grads[i].~TensorRef();
        Py_DECREF(node_object(t->node));
        t = next;
    }
    for (PyObject* callback : callbacks) Py_DECREF(callback);
}

inline Task* Pass::find(Node* n) const {
    Task* t = n->task;
    while (t && t->pass != this) t = t->other;
    return t;
}

Task* Pass::task_for(Node* n) {
    if (Task* known = find(n)) return known;
    const int outputs = n->num_outputs;
    Task* t = static_cast<Task*>(arena.allocate(sizeof(Task) + size_t(outputs) * sizeof(TensorRef)));
    Py_INCREF(node_object(n));
    *t = Task{n, this, n->task, tasks, nullptr, 0, 0, 0, false, true, reinterpret_cast<TensorRef*>(t + 1)};
    for (int i = 0; i < outputs; ++i) new (t->grads + i) TensorRef();
    n->task = t;
    tasks = t;
    return t;
}

// Visits everything reachable from root, counting for each node the edges that lead to it. `order` receives tasks
// after all that they lead to.
void Pass::discover(Node* root, std::vector<Task*>& order) {
    if (find(root)) return;
    std::vector<Task*> stack{task_for(root)};
    while (!stack.empty()) {
        Task* t = stack.back();
        Node* n = t->node;
        bool descended = false;
        while (t->next_edge < n->num_edges) {
            Node* next = n->edges[t->next_edge++].node;
            if (!next) continue;
            if (Task* known = find(next)) {
                ++known->dependencies;
                continue;
            }
            Task* fresh = task_for(next);
            fresh->dependencies = 1;
            stack.push_back(fresh);
            descended = true;
            break;
        }
        if (!descended) {
            stack.pop_back();
            order.push_back(t);
        }
    }
}

static bool runs_later(const Task* a, const Task* b) { return a->node->sequence < b->node->sequence; }

void Pass::enqueue(Task* t) {
    if (t->queued) return;
    t->queued = true;
    ready.push_back(t);
    if (ready.size() > 1) std::push_heap(ready.begin(), ready.end(), runs_later);
}

void Pass::deliver(Task* t, uint32_t input_nr, TensorRef grad) {
    TensorRef& slot = t->grads[input_nr];
    if (!slot) {
        slot = std::move(grad);
        return;
    }
    const uint64_t bit = input_nr < 64 ? uint64_t(1) << input_nr : 0;
    if ((t->owned & bit) && !grad_mode() && slot->dtype == grad->dtype && slot->sizes == grad->sizes &&
        !slot->is_meta() && !slot->sparse && !grad->sparse && !slot->wrapped && !grad->wrapped) {
        add_into(*slot, *grad);
        return;
    }
    slot = add_gradients(slot, grad);
    t->owned |= bit;
}

// ---- hooks -----------------------------------------------------------------------------------------------------------

static std::string repr_name(PyObject* callable) {
    PyObject* name = PyObject_GetAttrString(callable, "__name__");
    const char* text = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : nullptr;
    std::string result = text ? text : Py_TYPE(callable)->tp_name;
    Py_XDECREF(name);
    PyErr_Clear();
    return result;
}

static void check_replacement(const Tensor& grad, const Tensor& given, PyObject* hook) {
    check(given.sizes == grad.sizes, "hook '", repr_name(hook), "' has changed the size of value");
    check(given.dtype == grad.dtype, "hook '", repr_name(hook), "' has changed the type of value (was ",
          name_of(grad.dtype), ", now ", name_of(given.dtype), ")");
}

// Hooks of a tensor: each sees what the one before returned. A list of values is taken first, because a hook may
// remove itself.
static void run_tensor_hooks(PyObject* hooks, TensorRef& grad) {
    if (!hooks || PyDict_GET_SIZE(hooks) == 0 || !grad) return;
    const ObjectRef held = ObjectRef::borrow(hooks);
    ObjectRef list = ObjectRef::steal(checked_object(PyDict_Values(hooks)));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list.get()); ++i) {
        PyObject* hook = PyList_GET_ITEM(list.get(), i);
        ObjectRef given = ObjectRef::steal(checked_object(PyObject_CallOneArg(hook, grad.object())));
        if (given.get() == Py_None) continue;
        check_as(ErrorKind::Type, is_tensor(given.get()), "expected Variable, but hook returned '",
                 Py_TYPE(given.get())->tp_name, "'");
        check_replacement(*grad, *reinterpret_cast<Tensor*>(given.get()), hook);
        grad = TensorRef::steal(given.release());
    }
}

static PyObject* grads_tuple(const TensorRef* grads, int count) {
    PyObject* tuple = checked_object(PyTuple_New(count));
    for (int i = 0; i < count; ++i) {
        PyObject* g = grads[i] ? grads[i].object() : Py_None;
        Py_INCREF(g);
        PyTuple_SET_ITEM(tuple, i, g);
    }
    return tuple;
}

// Takes a hook's replacement for a tuple of gradients.
static void take_replacements(PyObject* given, PyObject* hook, TensorRef* grads, int count) {
    ObjectRef tuple = PyTuple_Check(given) ? ObjectRef::borrow(given)
                                           : ObjectRef::steal(checked_object(PyTuple_Pack(1, given)));
    check(PyTuple_GET_SIZE(tuple.get()) == count, "hook '", repr_name(hook),
          "' has returned an incorrect number of values "
          "(got ",
          PyTuple_GET_SIZE(tuple.get()), ", but expected ", count, ")");
    for (int i = 0; i < count; ++i) {
        PyObject* o = PyTuple_GET_ITEM(tuple.get(), i);
        check_as(ErrorKind::Type, o == Py_None || is_tensor(o), "expected Variable, but hook returned '",
                 Py_TYPE(o)->tp_name, "'");
        if (o != Py_None && grads[i]) check_replacement(*grads[i], *reinterpret_cast<Tensor*>(o), hook);
        grads[i] = o == Py_None ? TensorRef() : TensorRef::borrow(o);
    }
}

static void run_node_hooks(PyObject* hooks, TensorRef* grads, int count, PyObject* grads_before) {
    if (!hooks || PyDict_GET_SIZE(hooks) == 0) return;
    ObjectRef list = ObjectRef::steal(checked_object(PyDict_Values(hooks)));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list.get()); ++i) {
        PyObject* hook = PyList_GET_ITEM(list.get(), i);
        ObjectRef now = ObjectRef::steal(grads_tuple(grads, count));
        ObjectRef given = ObjectRef::steal(
            checked_object(grads_before ? PyObject_CallFunctionObjArgs(hook, now.get(), grads_before, nullptr)
                                        : PyObject_CallOneArg(hook, now.get())));
        if (given.get() != Py_None) take_replacements(given.get(), hook, grads, count);
    }
}

static void store_retained(Tensor& t, TensorRef& grad) {
    if (!grad) return;
    const TensorRef held = TensorRef::borrow(&t);  // other threads run while the gradient is copied
    AutogradMeta& meta = t.ensure_meta();
    // Like a leaf's gradient, a first one must not change when the pass goes on adding into its buffers.
    TensorRef sum = meta.grad     ? add_gradients(TensorRef::borrow(meta.grad), grad)
                    : grad_mode() ? grad
                                  : invoke_tensor(clone_op, {grad.object()});
    PyObject* old = std::exchange(meta.grad, sum.release());
    Py_XDECREF(old);
}

static void run_post_accumulate_hooks(Node* n) {
    if (!n->payload) return;
    Tensor& leaf = *reinterpret_cast<Tensor*>(n->payload);
    if (!leaf.meta || !leaf.meta->post_accumulate || PyDict_GET_SIZE(leaf.meta->post_accumulate) == 0) return;
    TensorRef held = TensorRef::borrow(&leaf);
    ObjectRef list = ObjectRef::steal(checked_object(PyDict_Values(leaf.meta->post_accumulate)));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list.get()); ++i) {
        ObjectRef given = ObjectRef::steal(
            checked_object(PyObject_CallOneArg(PyList_GET_ITEM(list.get(), i), held.object())));
        check(given.get() == Py_None, "Tensor post accumulate grad hooks should return None.");
    }
}

// ---- one node --------------------------------------------------------------------------------------------------------

// Tells in a note of the exception where the operator whose derivative failed was called.
static void add_note(const Node* n) {
#if PY_VERSION_HEX >= 0x030B0000
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    const std::string where = describe_site(n->site);
    if (value && !where.empty()) {
        const std::string note = join("in the backward pass of ", node_name(n), ", recorded at ", where);
        PyObject* done = PyObject_CallMethod(value, "add_note", "s", note.c_str());
        if (!done) PyErr_Clear();
        Py_XDECREF(done);
    }
    PyErr_Restore(type, value, traceback);
#else
    (void)n;
#endif
}

static void warn_anomaly(Node* n) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject* module = PyImport_ImportModule("flambeau.autograd.anomaly_mode");
    ObjectRef node = ObjectRef::steal(expose_node(n));
    PyObject* done = module ? PyObject_CallMethod(module, "_warn_of", "O", node.get()) : nullptr;
    Py_XDECREF(done);
    Py_XDECREF(module);
    PyErr_Clear();
    PyErr_Restore(type, value, traceback);
}

static void check_nan(Node* n, const TensorRef* grads, int count) {
    ObjectRef module =
        ObjectRef::steal(checked_object(PyImport_ImportModule("flambeau.autograd.anomaly_mode")));
    ObjectRef tuple = ObjectRef::steal(grads_tuple(grads, count));
    ObjectRef index =
        ObjectRef::steal(checked_object(PyObject_CallMethod(module.get(), "_first_nan", "(O)", tuple.get())));
    if (index.get() == Py_None) return;
    fail(ErrorKind::Runtime, "Function '", node_name(n), "' returned nan values in its ",
         PyLong_AsLong(index.get()), "th output.");
}

static void apply_guarded(Node* n, TensorRef* in, TensorRef* out) {
    const RecordedSpan span(n);
    try {
        n->kind->apply(n, in, out);
        if (__builtin_expect(modes.anomaly_nan, 0)) check_nan(n, out, n->num_edges);
    } catch (const Error& e) {
        if (e.kind != ErrorKind::Python) raise_python(e);
        add_note(n);
        if (modes.anomaly) warn_anomaly(n);
        throw Error(ErrorKind::Python, "");
    }
}

void Pass::run_task(Task* t) {
    Node* n = t->node;
    if (n->kind == &kAccumulateGrad) {
        Tensor* leaf = reinterpret_cast<Tensor*>(n->payload);
        if (leaf && leaf->meta) run_tensor_hooks(leaf->meta->hooks, t->grads[0]);
    }
    if (n->hooks && n->hooks->outputs) {
        for (int i = 0; i < n->num_outputs; ++i) {
            run_tensor_hooks(n->hooks->outputs[i].hooks, t->grads[i]);
            if (n->hooks->outputs[i].retains_grad)
                store_retained(*n->hooks->outputs[i].retains_grad, t->grads[i]);
        }
    }
    for (Capture* c = t->captures; c; c = c->next) request.captured[c->index] = t->grads[c->input_nr];
    if (!t->execute) return;

    constexpr int kInline = 8;
    TensorRef inline_out[kInline];
    std::unique_ptr<TensorRef[]> heap_out;
    const int count = n->num_edges;
    if (count > kInline) heap_out.reset(new TensorRef[count]);
    TensorRef* out = count > kInline ? heap_out.get() : inline_out;

    if (__builtin_expect(n->hooks != nullptr, 0)) {
        run_node_hooks(n->hooks->pre, t->grads, n->num_outputs, nullptr);
        ObjectRef before = ObjectRef::steal(n->hooks->post ? grads_tuple(t->grads, n->num_outputs) : nullptr);
        apply_guarded(n, t->grads, out);
        if (n->hooks && before) run_node_hooks(n->hooks->post, out, count, before.get());
    } else {
        apply_guarded(n, t->grads, out);
    }
    if (n->kind == &kAccumulateGrad) run_post_accumulate_hooks(n);
    if (!request.keep_graph) release_saved(n);
    for (int i = 0; i < n->num_outputs; ++i) t->grads[i] = TensorRef();

    for (int i = 0; i < count; ++i) {
        const Edge edge = n->edges[i];
        if (!edge.node) continue;
        Task* next = find(edge.node);
        if (!next) continue;
        if (out[i]) {
            const OutputMeta& meta = edge.node->outputs[edge.input_nr];
            if (out[i]->dtype != meta.dtype || out[i]->sizes != meta.sizes)
                out[i] = fit_gradient(std::move(out[i]), meta, n, i);
            deliver(next, edge.input_nr, std::move(out[i]));
        }
        if (--next->dependencies == 0 && (next->execute || next->captures)) enqueue(next);
    }
}

void Pass::run() {
    std::vector<Task*> order;
    for (int i = 0; i < request.num_roots; ++i) discover(request.roots[i].node, order);
    if (request.num_inputs) {
        for (Task* t : order) t->execute = false;
        for (int i = 0; i < request.num_inputs; ++i) {
            Task* t = find(request.inputs[i].node);
            if (!t) continue;
            if (request.accumulate) {
                // backward(inputs=...): leaves accumulate, other tensors retain, which needs their node's hooks only.
                t->execute = t->node->kind == &kAccumulateGrad;
                if (!t->captures) t->captures = static_cast<Capture*>(arena.allocate(sizeof(Capture)));
                *t->captures = {request.inputs[i].input_nr, i, nullptr};
            } else {
                Capture* c = static_cast<Capture*>(arena.allocate(sizeof(Capture)));
                *c = {request.inputs[i].input_nr, i, t->captures};
                t->captures = c;
            }
        }
        // A node runs if it leads to one that is wanted; `order` has what it leads to before it.
        for (Task* t : order)
            for (int e = 0; e < t->node->num_edges && !t->execute; ++e) {
                Task* next = t->node->edges[e].node ? find(t->node->edges[e].node) : nullptr;
                t->execute = next && (next->execute || next->captures);
            }
    }
    GradModeGuard mode(request.create_graph);
    for (int i = 0; i < request.num_roots; ++i) {
        const Edge& root = request.roots[i];
        const OutputMeta& meta = root.node->outputs[root.input_nr];
        TensorRef grad = request.root_grads[i];
        if (grad->dtype != meta.dtype) grad = fit_gradient(std::move(grad), meta, root.node, i);
        deliver(find(root.node), root.input_nr, std::move(grad));
    }
    for (int i = 0; i < request.num_roots; ++i) {
        Task* t = find(request.roots[i].node);
        if (t->dependencies == 0 && (t->execute || t->captures)) enqueue(t);
    }
    while (!ready.empty()) {
        if (ready.size() > 1) std::pop_heap(ready.begin(), ready.end(), runs_later);
        Task* t = ready.back();
        ready.pop_back();
        run_task(t);
    }
    run_callbacks();
}

void Pass::run_callbacks() {
    for (size_t i = 0; i < callbacks.size(); ++i) {  // a callback may queue another
        PyObject* done = PyObject_CallNoArgs(callbacks[i]);
        checked_object(done);
        Py_DECREF(done);
    }
}

void run_backward(const BackwardRequest& request) {
    Pass pass(request);
    pass.run();
}

PyObject* backward_engine_queue_callback(PyObject*, PyObject* callback) {
    return guarded([&]() -> PyObject* {
        check(current_pass, "Final callbacks can only be installed during backward pass.");
        Py_INCREF(callback);
        current_pass->callbacks.push_back(callback);
        Py_RETURN_NONE;
    });
}

// The innermost pass under way (None outside): its id, and whether it is after certain gradients only, not those of all
// leaves. With whether it reaches a node, that is what hooks need that wait for several gradients.
PyObject* backward_engine_current_pass(PyObject*, PyObject*) {
    if (!current_pass) Py_RETURN_NONE;
    const BackwardRequest& request = current_pass->request;
    const bool restricted = !request.accumulate || request.num_inputs > 0;
    return Py_BuildValue("(KO)", static_cast<unsigned long long>(current_pass->id),
                         restricted ? Py_True : Py_False);
}
PyObject* backward_engine_will_run(PyObject*, PyObject* node) {
    if (!PyObject_TypeCheck(node, NodeType)) {
        PyErr_SetString(PyExc_TypeError, "expected a graph node");
        return nullptr;
    }
    const Task* t = current_pass ? current_pass->find(reinterpret_cast<Node*>(node)) : nullptr;
    return PyBool_FromLong(t && (t->execute || t->captures));
}

// ---- gradients -------------------------------------------------------------------------------------------------------

TensorRef zeros_for(const OutputMeta& meta) {
    TensorRef zeros = empty(meta.sizes, meta.dtype, meta.device);
    if (!zeros->is_meta()) fill(*zeros, Scalar(0));
    return zeros;
}

TensorRef add_gradients(const TensorRef& a, const TensorRef& b) {
    // A dense and a sparse one give a dense sum; the operator wants the dense one first.
    if (a->sparse && !b->sparse) return invoke_tensor(add_op, {b.object(), a.object()});
    return invoke_tensor(add_op, {a.object(), b.object()});
}

static TensorRef sum_to(TensorRef grad, const Dims& sizes) {
    const int extra = grad->ndim() - sizes.size();
    const auto sum = [&](const std::vector<int>& dims, bool keepdim) {
        ObjectRef list = ObjectRef::steal(checked_object(PyTuple_New(Py_ssize_t(dims.size()))));
        for (size_t i = 0; i < dims.size(); ++i)
            PyTuple_SET_ITEM(list.get(), Py_ssize_t(i), PyLong_FromLong(dims[i]));
        grad = invoke_tensor(sum_op, {grad.object(), list.get(), keepdim ? Py_True : Py_False});
    };
    std::vector<int> dims;
    for (int i = 0; i < extra; ++i) dims.push_back(i);
    if (extra) sum(dims, false);
    dims.clear();
    for (int i = 0; i < sizes.size(); ++i)
        if (sizes[i] == 1 && grad->sizes[i] != 1) dims.push_back(i);
    if (!dims.empty()) sum(dims, true);
    return grad;
}

TensorRef fit_gradient(TensorRef grad, const OutputMeta& meta, const Node* from, int index) {
    if (grad->sizes != meta.sizes) {
        check(broadcastable_to(meta.sizes, grad->sizes), "Function ", from ? node_name(from) : "backward",
              " returned an invalid gradient at index ", index, " - got ", str(grad->sizes),
              " but expected shape compatible with ", str(meta.sizes));
        if (grad->sparse) grad = invoke_tensor(to_dense_op, {grad.object()});
        grad = sum_to(std::move(grad), meta.sizes);
    }
    if (grad->dtype == meta.dtype) return grad;
    if (is_complex(grad->dtype) && !is_complex(meta.dtype)) {
        ObjectRef last = ObjectRef::steal(PyLong_FromLong(-1)), zero = ObjectRef::steal(PyLong_FromLong(0));
        TensorRef parts = invoke_tensor(view_as_real_op, {grad.object()});
        grad = invoke_tensor(select_op, {parts.object(), last.get(), zero.get()});
    }
    if (grad->dtype == meta.dtype) return grad;
    if (!grad_mode() && !grad->sparse && !grad->wrapped) return cast(*grad, meta.dtype);
    return invoke_tensor(to_op, {grad.object(), dtype_object(meta.dtype)});
}

}  // namespace flb
