// The recorded graph: nodes, edges and what a node keeps for its derivative rule.
#pragma once
#include "tensor/tensor.h"

namespace flb {

struct Op;
struct Rule;
struct Task;  // of a backward pass: engine.cpp

// The interpreter's current place in the user's program (innermost frame outside flambeau). Takes a reference.
Site capture_site();
void release_site(Site& site);
std::string describe_site(const Site& site);  // `File "x.py", line 3, in f`, or "" when unknown

// ---- modes, per thread ---------------------------------------------------------------------------------------------
struct Modes {
    bool grad = true;
    bool inference = false;
    bool multithreading = true;
    bool anomaly = false;      // keep the Python stack of every recorded operator
    bool anomaly_nan = false;  // and look for nan in every gradient
    uint64_t quiet = 0;        // a backward pass that is not recorded at this level, but is below it
    int transforms = 0;        // levels of function transforms in which this thread is: csrc/transforms
    PyObject* saved_hooks = nullptr;  // list of (pack, unpack), innermost last; null when there are none
    PyObject* saved_hooks_disabled = nullptr;  // str: why hooks may not be pushed
};
extern thread_local Modes modes __attribute__((tls_model("initial-exec")));
inline bool grad_mode() { return modes.grad; }
inline bool inference_mode() { return modes.inference; }

struct GradModeGuard {
    bool previous = modes.grad;
    explicit GradModeGuard(bool enabled) { modes.grad = enabled; }
    ~GradModeGuard() { modes.grad = previous; }
    GradModeGuard(const GradModeGuard&) = delete;
};

// ---- nodes -----------------------------------------------------------------------------------------------------------

struct Edge {
    Node* node = nullptr;  // owned; null where no gradient is wanted
    uint32_t input_nr =
        0;  // which output of the forward operator, that is, which incoming gradient of `node`
};

// What is known of an output of the forward operator, so that an incoming gradient can be fitted to it.
struct OutputMeta {
    Dims sizes;
    DType dtype = DType::Float32;
    DeviceType device = DeviceType::Cpu;
};

// A saved tensor that went through the user's pack hook.
struct HookedSaved {
    PyObject* unpack;
    Edge edge;  // of the tensor that was packed: what is unpacked continues its history
};

// Note [Saved values]: an input is kept as the tensor object itself; an output as a copy without history, because
// the node owning its own output would be a cycle. Either way the version at saving is kept, and `unpack` raises
// when the tensor has been written since. A list of tensors keeps the sum of its versions.
struct Saved {
    PyObject* value = nullptr;  // Tensor, any object, or null
    HookedSaved* hooked = nullptr;
    uint32_t version = 0;
    int32_t output_index = -1;  // of an output: which one
};

// What makes one sort of node different from another. `name` and `type_name` are null for operator nodes, whose rule
// knows them, and for custom Functions, whose Python type does.
struct NodeKind {
    const char* type_name;
    const char* name;
    // Gradients in (one per forward output; null where undefined, owned by the caller) to gradients out (one per
    // edge; left null where none). Raises Error.
    void (*apply)(Node* self, TensorRef* grads_in, TensorRef* grads_out);
    void (*destroy)(Node* self);  // frees `data`; may be null
    void (*release)(Node* self);  // drops what backward needs beside `saved`; may be null
};

struct OutputHooks {
    PyObject* hooks = nullptr;       // dict: the hooks of the tensor (register_hook)
    Tensor* retains_grad = nullptr;  // weak: the tensor that keeps its gradient
};

struct NodeHooks {
    PyObject* pre = nullptr;         // dict: called with the tuple of incoming gradients
    PyObject* post = nullptr;        // dict: called with (gradients out, gradients in)
    OutputHooks* outputs = nullptr;  // one per output, or null
};

// Note [Nodes and the collector]: a node is tracked by Python's cycle collector, and gets the Python type that bears
// its operator's name, when Python first sees it (expose_node). Before, nothing in Python can refer to it, and
// recording stays cheap.
struct Node {
    PyObject_VAR_HEAD    // edges, saved values and outputs follow in the same block
        PyObject* dict;  // `metadata` and attributes users set
    PyObject* weakrefs;
    uint64_t sequence;  // order of recording: the engine runs the newest first
    const NodeKind* kind;
    const Rule* rule;   // of operator nodes
    PyObject* payload;  // of other kinds: leaf, inner node, operator
    void* data;         // of other kinds: freed by kind->destroy
    NodeHooks* hooks;
    Task* task;  // of the backward passes under way
    Edge* edges;
    Saved* saved;
    OutputMeta* outputs;
    int num_edges, num_saved, num_outputs;
    bool released;  // saved values were freed by a backward pass
    bool exposed;
    bool pooled;                  // the block goes back to the free list
    bool own_saved, own_outputs;  // allocated apart: the counts were not known at creation
    Site site;                    // where it was recorded
};

extern PyTypeObject* NodeType;
inline PyObject* node_object(Node* n) { return reinterpret_cast<PyObject*>(n); }

Node* new_node(const NodeKind* kind, int num_edges, int num_saved, int num_outputs);  // a new reference
// A node of a Python subclass (custom Functions), whose numbers of saved values and outputs come later.
Node* new_node_of_type(PyTypeObject* type, const NodeKind* kind, int num_edges);
void allocate_saved(Node* node, int num_saved);
void allocate_outputs(Node* node, int num_outputs);
void set_output_meta(Node* node, int index, const Tensor& output);
PyObject* expose_node(Node* node);        // a new reference for Python
std::string node_name(const Node* node);  // "MulBackward0"
void keep_traceback(Node* node);          // anomaly mode
NodeHooks& ensure_hooks(Node* node);
OutputHooks& ensure_output_hooks(Node* node, int output_nr);

// Where a tensor's gradient goes: its grad_fn's output, its AccumulateGrad node for a leaf, nothing otherwise.
// The edge owns a reference to its node.
Edge gradient_edge(Tensor& t);
Node* accumulator_of(Tensor& leaf);          // a new reference
void detach_accumulator(Node* accumulator);  // its leaf dies
extern const NodeKind kAccumulateGrad;

void save_value(Node* node, int slot, PyObject* value);  // an argument (input tensor or any object)
void save_output(Node* node, int slot, Tensor& output, int output_index);
// A new reference to what was saved; checks the version. Null if nothing was saved in the slot.
PyObject* unpack_saved(Node* node, int slot);
void release_saved(Node* node);
[[noreturn]] void fail_released();

// ---- views and in-place writes (views.cpp) ---------------------------------------------------------------------------

Node* grad_fn_of(Tensor& t);  // borrowed; makes a view's grad_fn anew when its base was written
// The dict of the hooks of register_hook: on the leaf itself, or on its grad_fn. Null when there is no place for one yet and
// `make` does not ask for it.
PyObject** backward_hooks_of(Tensor& t, bool make);
// Raises unless autograd allows an in-place write to `t` now. recorded: the write will be, because of another operand.
void check_inplace(Tensor& t, bool recorded);
// After an in-place write to `t` recorded as `node` (already holding t's old edge): t's history becomes `node`; for a
// view also its base's.
void rebase_history(Tensor& t, Node* node, int output_nr);
void set_history(Tensor& t, Node* node, int output_nr);  // steals nothing; takes a reference
void mark_multi_output_view(Tensor& t);
void retain_gradient(Tensor& t);
void drop_retained_gradient(Tensor& t);  // t dies, or gets another history
void detach_inplace(Tensor& t);
void set_requires_grad(Tensor& t, bool value);
// `.grad = value`: the checks PyTorch makes, then the assignment. Null or None clears.
void assign_grad(Tensor& t, PyObject* value);

// ---- engine ----------------------------------------------------------------------------------------------------------

struct BackwardRequest {
    Edge* roots;
    TensorRef* root_grads;
    int num_roots;
    bool keep_graph;
    bool create_graph;
    bool accumulate;  // backward(): into leaves' .grad
    Edge* inputs;     // grad(): where to capture; may be empty
    int num_inputs;
    TensorRef* captured;  // out, one per input
};
void run_backward(const BackwardRequest& request);

// Fits a gradient to the output it belongs to: sums over broadcast dimensions, casts, takes real parts.
// `from` is the node that returned it as gradient number `index`.
TensorRef fit_gradient(TensorRef grad, const OutputMeta& meta, const Node* from, int index);
TensorRef add_gradients(const TensorRef& a, const TensorRef& b);
TensorRef zeros_for(const OutputMeta& meta);
PyObject* backward_engine_queue_callback(PyObject* self, PyObject* callback);
PyObject* backward_engine_current_pass(PyObject* self, PyObject*);
PyObject* backward_engine_will_run(PyObject* self, PyObject* node);

// ---- parts of the Python interface --------------------------------------------------------------------------------------
extern PyMethodDef autograd_functions[];  // module.cpp
extern PyMethodDef function_functions[];  // function.cpp: custom Functions

// helpers shared by the tensor type's parts
void track_tensor(Tensor& t);
Tensor* construct_subclass(PyTypeObject* type);
void release_fields(Tensor* t);
uint32_t version_value_if_any(const Tensor& t);
extern destructor tensor_dealloc;

void init_autograd(PyObject* module);

}  // namespace flb
