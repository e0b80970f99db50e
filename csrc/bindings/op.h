// Op: an operator as a Python callable, made at import from its record (flambeau/_ops).
//
// The record gives the signature, e.g.  "sum(Tensor input, int[1]? dim=None, bool keepdim=False, *, dtype? dtype=None)"
// and the derivative rule; the native function is found by name among those registered with FLB_OPS. One call does:
// parse, __torch_function__, the native function, recording for autograd.
#pragma once
#include <vector>

#include "autograd/node.h"

namespace flb {

struct GeneratorObject;
class Generator;

// Types of parameters, written in signatures as the names on the right.
enum class Kind : uint8_t {
    Tensor,        // Tensor
    Operand,       // Operand: a tensor or a number
    TensorList,    // Tensor[]
    OptTensors,    // Tensor?[]: None allowed inside
    Scalar,        // Scalar
    Int,           // int
    IntList,       // int[] or int[N]: an int stands for N equal ones
    Float,         // float
    FloatList,     // float[]
    Bool,          // bool
    Str,           // str
    DType,         // dtype
    Layout,        // layout
    Device,        // device
    MemoryFormat,  // memory_format
    Generator,     // Generator
    Object,        // object: anything
};

struct Param {
    PyObject* name = nullptr;   // interned
    PyObject* aliases[3] = {};  // NumPy's names for it (axis, keepdims, x), interned, and null
    Kind kind = Kind::Object;
    bool none_ok = false;  // written with a trailing ?
    bool keyword_only = false;
    bool required = true;
    int list_length = 0;  // N of int[N]
    PyObject* default_value = nullptr;
};

// One entry of a derivative rule: a Python function giving the gradients of one or several parameters.
struct RuleEntry {
    PyObject* function;
    std::vector<int> targets;    // parameters
    std::vector<int> arguments;  // codes, see Rule::Argument
    bool tuple_result;           // several targets: returns a tuple
};

// Note [Rule arguments]: a rule's function names what it wants. `grad` is the gradient of the (first) output, `grads`
// the tuple of all; `NAME_geometry` a tensor parameter's (size, stride, storage offset); `needs` a tuple of bools, one per target; `result`, `results` or an output's name what the operator
// returned; `NAME_shape`, `NAME_dtype` a tensor parameter's size or dtype, which costs no memory to keep; any other
// name is that parameter as the caller gave it.
struct Rule {
    const Op* op;
    std::vector<RuleEntry> entries;
    struct SavedSource {
        enum Kind : uint8_t { Param, Output, AllOutputs, Shape, DType, Geometry } kind;
        int index;
        uint64_t users;  // bit e: entry e wants it
    };
    std::vector<SavedSource> saved;
    std::string node_name;  // "MulBackward0"
    std::vector<int>
        edge_params;          // parameters that have an edge, in order; a list of tensors has one per item
    int list_param;           // the parameter that is a list of tensors, or -1
    uint64_t differentiable;  // bit p: parameter p is not declared non-differentiable
    bool saves_all_outputs;
    // Codes in RuleEntry::arguments below zero; others index `saved`.
    enum : int { kGrad = -1, kGrads = -2, kNeeds = -3 };
};

struct Call;
using Impl =
    PyObject* (*)(Call& call);  // returns a new reference: a Tensor, a tuple of tensors, or any object

struct Op {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject* dict;
    PyObject* name;     // str
    const char* cname;  // its UTF-8, interned for the process
    PyObject* doc;
    PyObject* signature;  // str, as written
    PyObject*
        public_function;  // what __torch_function__ receives: the Op itself unless an overload set owns it
    Impl impl;
    const void* family;  // data of a family's shared Impl (e.g. loops of a pointwise operator)
    std::vector<Param>* params;
    std::vector<PyObject*>* output_names;  // of several outputs
    PyTypeObject* result_type;             // struct sequence, or null
    Rule* rule;                            // null: never recorded
    int num_positional;
    int out_param;            // index of `out`, or -1
    int varargs_param;        // an int[] parameter that also takes f(2, 3), or -1
    int input_tensors;        // how many leading params can hold tensors
    bool inplace;             // writes parameter 0 and returns it
    bool is_view;             // outputs are views of parameter 0
    bool differentiable_out;  // unused outputs dtypes decide
    bool takes_sparse;        // handles sparse tensors itself; of other operators, `sparse_form` does
    bool takes_stored_only;   // dtypes that only store: see note [Stored only] in core/dtype.h
    Op* sparse_form;          // null: there is none, and sparse tensors are refused
    bool composite;           // `python` is a function of operators, called as it is; see call_composite
    PyObject* python;  // the implementation, where it is a Python function of the parameters; else null
    PyObject* older
        [2];  // signatures (tuples of Op) that were PyTorch's once, of the function and the method; or null
    const char*
        why_not_differentiable;  // "not differentiable" / "not written", for the error; null otherwise
};

extern PyTypeObject* OpType;

// The arguments of one call, as the implementation sees them.
struct Call {
    Op* op;
    PyObject* const*
        args;  // one per parameter, defaults filled in; borrowed; null only for absent optional `out`
    const char* name() const { return op->cname; }
    int count() const { return int(op->params->size()); }

    bool none(int i) const { return !args[i] || args[i] == Py_None; }
    bool is_tensor(int i) const { return args[i] && flb::is_tensor(args[i]); }
    Tensor& tensor(int i) const { return *reinterpret_cast<Tensor*>(args[i]); }  // parse has checked the type
    Tensor* tensor_or_null(int i) const { return none(i) ? nullptr : reinterpret_cast<Tensor*>(args[i]); }
    std::vector<Tensor*> tensors(int i) const;  // None inside gives null
    Scalar scalar(int i) const;                 // a number, or a zero-dimensional tensor
    int64_t integer(int i) const;
    Dims ints(int i) const;
    std::vector<double> reals(int i) const;
    double real(int i) const;
    bool boolean(int i) const {
        return args[i] == Py_True || (args[i] != Py_False && PyObject_IsTrue(args[i]) == 1);
    }
    const char* str(int i) const;
    flb::DType dtype(int i) const;
    flb::DType dtype(int i, flb::DType fallback) const { return none(i) ? fallback : dtype(i); }
    flb::Device device(int i) const;  // None: cpu
    flb::MemoryFormat memory_format(int i, flb::MemoryFormat fallback) const;
    Generator& generator(int i) const;  // None: the default one

    // The tensor to write: out= or the in-place operand; null when a fresh result is to be made.
    Tensor* out() const {
        if (op->inplace) return reinterpret_cast<Tensor*>(args[0]);
        return op->out_param < 0 ? nullptr : tensor_or_null(op->out_param);
    }
    // out= as a tuple of n tensors (or null).
    std::vector<Tensor*> outs(int n) const;
    // "add(): " before a message.
    template <class... Parts>
    [[noreturn]] void fail(ErrorKind kind, const Parts&... parts) const {
        flb::fail(kind, name(), "(): ", parts...);
    }
    template <class... Parts>
    void check(bool condition, const Parts&... parts) const {
        if (__builtin_expect(!condition, 0)) flb::fail(ErrorKind::Runtime, name(), "(): ", parts...);
    }
    // A named tuple (torch.return_types.NAME) or plain tuple of results.
    PyObject* results(std::initializer_list<TensorRef> values) const;
};

// Prepares the destination of a result: a fresh tensor, or call.out() checked (castable dtype, device) and resized to
// `sizes` (with PyTorch's warning when it wasn't empty); in-place operands must have the shape already.
TensorRef output(Call& call, const Dims& sizes, DType dtype, DeviceType device = DeviceType::Cpu);
// For kernels that write a fresh `result` of the computed dtype only: copies it into out= / the in-place operand if there
// is one, and returns what the caller gets.
PyObject* deliver(Call& call, TensorRef result);
PyObject* deliver_all(Call& call, std::initializer_list<TensorRef> results);
void resize_output(Tensor& out, const Dims& sizes, const char* op_name);
bool can_cast(DType from, DType to);  // whether out= of dtype `to` can hold a result of dtype `from`

// ---- registration --------------------------------------------------------------------------------------------------
struct OpEntry {
    const char* name;
    Impl impl;
};
void register_ops(const OpEntry* entries, int count);
// At file scope:  FLB_OPS({"sum", sum}, {"mean", mean});
#define FLB_OPS(...)                                           \
    static const ::flb::OpEntry op_entries_[] = {__VA_ARGS__}; \
    [[maybe_unused]] static const bool ops_registered_ =       \
        (::flb::register_ops(op_entries_, sizeof(op_entries_) / sizeof(op_entries_[0])), true)

// A family serves many operators by one Impl and per-operator data: the record names it (family="pointwise").
// The resolver gets the operator's name and the record's `kind` and returns the data, or raises.
using FamilyResolver = const void* (*)(const char* op_name, const char* kind);
void register_family(const char* family, Impl impl, FamilyResolver resolve);
#define FLB_FAMILY(name, impl, resolve) \
    [[maybe_unused]] static const bool family_##name##_ = (::flb::register_family(#name, impl, resolve), true)

// Runs an operator natively, recording as usual; used by number slots and indexing. args: one per parameter
// (null for defaults). Returns a new reference or throws.
PyObject* invoke(Op* op, PyObject** args);
Op* find_op(const char* name);  // after the records were read; raises if absent
// Ops that native code invokes are looked up once:  static OpHandle add("add"); add.get()
class OpHandle {
  public:
    explicit constexpr OpHandle(const char* name) : name_(name) {}
    Op* get() {
        if (!op_) op_ = find_op(name_);
        return op_;
    }

  private:
    const char* name_;
    Op* op_ = nullptr;
};
// Convenience for engine and friends: op(args...) with Python objects, defaults for the rest.
TensorRef invoke_tensor(OpHandle& op, std::initializer_list<PyObject*> args);

// ---- errors across the border ------------------------------------------------------------------------------------------
void raise_python(const Error& error);  // sets the Python exception
void warn(const char* message);         // UserWarning; throws Error(Python) if warnings are errors
// Wraps a body: exceptions become Python's.
template <class F>
PyObject* guarded(F&& f) noexcept {
    try {
        return f();
    } catch (const Error& e) { raise_python(e); } catch (const std::bad_alloc&) {
        PyErr_SetString(PyExc_RuntimeError,
                        "not enough memory for what the operator keeps beside its result");
    } catch (const std::exception& e) { PyErr_SetString(PyExc_RuntimeError, e.what()); }
    return nullptr;
}
inline PyObject* checked_object(PyObject* o) {  // for the C API's new references
    if (!o) throw Error(ErrorKind::Python, "");
    return o;
}

void init_ops(PyObject* module);

}  // namespace flb
