// The recorded graph: nodes, edges and what a node keeps for its derivative rule.
#pragma once
#include "tensor/tensor.h"

namespace flb {

struct Op;
struct Rule;

// The interpreter's current place in the user's program (innermost frame outside flambeau). Takes a reference.
Site capture_site();
std::string describe_site(const Site& site);  // `File "x.py", line 3, in f`, or "" when unknown

// ---- modes, per thread ---------------------------------------------------------------------------------------------
struct Modes {
    bool grad = true;
    bool inference = false;
    bool multithreading = true;
};
extern thread_local Modes modes __attribute__((tls_model("initial-exec")));
inline bool grad_mode() { return modes.grad; }
inline bool inference_mode() { return modes.inference; }

struct GradModeGuard {
    bool previous = modes.grad;
    explicit GradModeGuard(bool enabled) { modes.grad = enabled; }
    ~GradModeGuard() { modes.grad = previous; }
};

// ---- nodes -----------------------------------------------------------------------------------------------------------

struct Edge {
    Node* node = nullptr;  // owned; null where no gradient is wanted
    uint32_t input_nr = 0; // which output of the forward operator, that is, which incoming gradient of `node`
};

// What is known of an output of the forward operator, so that an incoming gradient can be fitted to it.
struct OutputMeta {
    Dims sizes;
    DType dtype = DType::Float32;
    DeviceType device = DeviceType::Cpu;
};

// Note [Saved values]: an input is kept as the tensor object itself; an output as a copy without history, because
// the node owning its own output would be a cycle. Either way the version at saving is kept, and `unpack` raises
// when the tensor has been written since.
struct Saved {
    PyObject* value = nullptr;   // Tensor, any object, or null
    Version* version = nullptr;  // of a tensor
    uint32_t version_value = 0;
    int32_t output_index = -1;   // of an output: which one
    PyObject* unpack_hook = nullptr;
};

struct Node {
    PyObject_HEAD
    PyObject* dict;       // `metadata` and attributes users set
    PyObject* weakrefs;
    uint64_t sequence;    // order of recording: the engine runs the newest first
    // Gradients in (one per forward output; null where undefined, owned by the caller) to gradients out (one per
    // edge; left null where none). Raises Error.
    void (*apply)(Node* self, TensorRef* grads_in, TensorRef* grads_out);
    const char* (*name)(const Node* self);
    void (*release_saved)(Node* self);       // drops what apply needs; the node stays
    const Rule* rule;                        // of operator nodes
    PyObject* payload;                       // of other kinds: Function context, leaf, ...
    Edge* edges;
    Saved* saved;
    OutputMeta* outputs;
    int num_edges, num_saved, num_outputs;
    bool released;                           // saved values were freed by a backward pass
    Site site;                               // where it was recorded
    PyObject* pre_hooks;                     // dict or null: called with the tuple of incoming gradients
    PyObject* post_hooks;                    // dict or null: called with (grads out, grads in)
    PyObject** tensor_hooks;                 // per output, dict or null: the hooks of tensors (register_hook)
    Tensor** retain_grad;                    // per output: weak pointer to a tensor that retains its gradient
};

extern PyTypeObject* NodeType;
inline PyObject* node_object(Node* n) { return reinterpret_cast<PyObject*>(n); }

Node* new_node(int num_edges, int num_saved, int num_outputs);  // a new reference; fields neutral
void set_output_meta(Node* node, int index, const Tensor& output);
// Where a tensor's gradient goes: its grad_fn's output, its AccumulateGrad node for a leaf, nothing otherwise.
Edge gradient_edge(Tensor& t);
Node* grad_fn_of(Tensor& t);          // borrowed; makes a view's grad_fn anew when its base was written
Node* accumulator_of(Tensor& leaf);   // a new reference
void detach_accumulator(Node* accumulator);  // its leaf dies

void save_value(Node* node, int slot, PyObject* value);                     // an argument (input tensor or any object)
void save_output(Node* node, int slot, Tensor& output, int output_index);
// A new reference to what was saved; checks the version. Null if nothing was saved in the slot.
PyObject* unpack_saved(Node* node, int slot);

// After an in-place write to `t` recorded as `node` (already holding t's old edge): t's history becomes `node`; for a
// view also its base's. node may be null when nothing is to be recorded.
void check_inplace(Tensor& t, const char* op_name);
void rebase_history(Tensor& t, Node* node, int output_nr);
void set_history(Tensor& t, Node* node, int output_nr);  // steals nothing; takes a reference

// ---- engine ----------------------------------------------------------------------------------------------------------

struct BackwardRequest {
    Edge* roots;
    TensorRef* root_grads;
    int num_roots;
    bool keep_graph;
    bool create_graph;
    bool accumulate;         // backward(): into leaves' .grad
    Edge* inputs;            // grad(): where to capture; may be empty
    int num_inputs;
    TensorRef* captured;     // out, one per input
};
void run_backward(const BackwardRequest& request);

// Fits an incoming gradient to the output it belongs to: sums over broadcast dimensions, casts, takes real parts.
TensorRef fit_gradient(TensorRef grad, const OutputMeta& meta, const Node* from, int index);

// helpers shared by the tensor type's parts
void track_tensor(Tensor& t);
Tensor* construct_subclass(PyTypeObject* type);
void release_fields(Tensor* t);
uint32_t version_value_if_any(const Tensor& t);
extern destructor tensor_dealloc;

void init_autograd(PyObject* module);

}  // namespace flb
