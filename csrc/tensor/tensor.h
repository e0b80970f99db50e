// The Python type `Tensor`: the native struct is the Python object itself.
#pragma once
#include "core/dims.h"
#include "core/dtype.h"
#include "core/scalar.h"
#include "core/storage.h"
#include "tensor/ref.h"

namespace flb {

struct Node;
struct SparseParts;
struct Tensor;
using TensorRef = Ref<Tensor>;

enum class MemoryFormat : uint8_t { Contiguous, Preserve, ChannelsLast, ChannelsLast3d };
enum class Layout : uint8_t {
    Strided,
    SparseCoo,
    SparseCsr,
    SparseCsc,
    SparseBsr,
    SparseBsc,
    Mkldnn,
    Jagged
};

struct Device {
    DeviceType type = DeviceType::Cpu;
    int8_t index = -1;
    bool operator==(const Device& o) const { return type == o.type && index == o.index; }
};
std::string str(Device device);

// How a view came to be; it decides what an in-place write to it means for autograd.
enum class ViewKind : uint8_t { Plain, NoGrad, MultiOutput, Inference, CustomFunction };

// What only some tensors need: gradients and hooks of leaves, retained gradients.
struct AutogradMeta {
    PyObject* grad = nullptr;             // Tensor
    PyObject* hooks = nullptr;            // dict: id -> callable, in order of registration
    PyObject* post_accumulate = nullptr;  // dict: id -> callable
    Node* accumulator = nullptr;          // weak: the AccumulateGrad node, while a graph holds it
    bool retains_grad = false;
};

// Note [Wrapped tensors]: inside a function transform (flambeau.func, forward-mode differentiation) a tensor may stand for
// another one, a level down. Operators on it go to the transform (csrc/transforms); its own history is what is recorded
// above that level, while `value` has the history below. A batched one has the sizes and strides of one example in a
// storage without data, so that no kernel can read it; a dual one is a window on its value's memory.
struct Wrapped {
    uint64_t level;   // of the transform; numbers are never used twice
    int dim;          // which dimension of `value` is the batch; -1: none
    Tensor* value;    // owned
    Tensor* tangent;  // owned; of a dual tensor, null where it is zero
};

// Note [Window invariant]: a tensor is a window (sizes, strides, offset; all in elements) on a storage. Every way
// of making one proves that the window lies inside the storage, and `kernel_pointer` proves it again before a
// kernel gets an address, because a storage may since have shrunk.
struct Tensor {
    PyObject_HEAD PyObject* dict;
    PyObject* weakrefs;
    Storage* storage;
    Version* own_version;  // set by `.data`; otherwise the storage's counter counts
    int64_t offset;
    int64_t numel;
    Dims sizes;
    Dims strides;
    DType dtype;
    DeviceType device;
    bool requires_grad_flag;  // of a leaf; a tensor with grad_fn requires grad by having it
    bool contiguous;          // row-major and dense, known at creation
    bool inference;
    bool gc_tracked;
    ViewKind view_kind;
    bool zero_dim_number;   // came from a Python number: takes part in promotion as one
    uint32_t output_nr;     // which output of grad_fn this is
    uint32_t view_version;  // of a view: the version its grad_fn was made for
    Tensor* base;           // of a view: the tensor it views (never itself a view); owned
    Node* grad_fn;          // owned
    AutogradMeta* meta;
    SparseParts* sparse;  // owned; null for a dense tensor: see tensor/sparse.h
    Wrapped* wrapped;     // owned; null outside function transforms

    int ndim() const { return sizes.size(); }
    bool is_meta() const { return device == DeviceType::Meta; }
    bool is_batched() const { return wrapped && wrapped->dim >= 0; }
    // A view also requires grad when its base came to, by an in-place write.
    bool requires_grad() const { return requires_grad_flag || grad_fn || (base && view_requires_grad()); }
    bool is_leaf() { return !grad_fn && !(base && view_has_history()); }
    bool view_requires_grad() const { return base->requires_grad() && is_differentiable(dtype); }
    bool view_has_history();  // autograd/views.cpp
    PyObject* object() { return reinterpret_cast<PyObject*>(this); }
    AutogradMeta& ensure_meta();
    // Sizes along dims of a zero-dimensional tensor count as one dimension of size 1.
    int64_t size(int dim) const { return sizes.size() ? sizes[dim] : 1; }
    int64_t stride(int dim) const { return strides.size() ? strides[dim] : 1; }
    size_t nbytes() const { return size_t(numel) * itemsize(dtype); }
};

extern PyTypeObject* TensorType;
extern PyTypeObject* ParameterType;  // registered by flambeau.nn: skips __torch_function__; null before

inline bool is_exact_tensor(PyObject* o) { return Py_TYPE(o) == TensorType; }
inline bool is_tensor(PyObject* o) {
    return Py_TYPE(o) == TensorType || PyType_IsSubtype(Py_TYPE(o), TensorType);
}

// Whether there has been a tensor of a dtype that only stores: until then, a call need not look for one among its arguments.
extern bool stored_only_tensors;

// ---- making tensors -------------------------------------------------------------------------------------------

TensorRef empty(const Dims& sizes, DType dtype, DeviceType device = DeviceType::Cpu);
TensorRef empty_strided(const Dims& sizes, const Dims& strides, DType dtype,
                        DeviceType device = DeviceType::Cpu);
TensorRef empty_format(const Dims& sizes, DType dtype, DeviceType device, MemoryFormat format);
// With the layout that `like` has when it is dense (torch.preserve_format), else contiguous.
TensorRef empty_like(const Tensor& like, DType dtype);
TensorRef scalar_tensor(const Scalar& value, DType dtype, DeviceType device = DeviceType::Cpu);
// A tensor on an existing storage; the window is checked.
TensorRef from_storage(Storage* storage, const Dims& sizes, const Dims& strides, int64_t offset, DType dtype);

// A view of `of` for autograd (it has `of`, or its base, as base); the window is checked.
TensorRef make_view(Tensor& of, const Dims& sizes, const Dims& strides, int64_t offset);
TensorRef make_view_dtype(Tensor& of, const Dims& sizes, const Dims& strides, int64_t offset, DType dtype);
// The same window without autograd history and not a view; shares the version counter (detach).
TensorRef shallow_copy(Tensor& of);
// The same, and standing for nothing: of a wrapped tensor its window alone.
TensorRef window_copy(Tensor& of);

// Turns a tensor into another window in place (resize_, set_, transpose_, .data=). Checked; keeps autograd fields.
void set_window(Tensor& t, const Dims& sizes, const Dims& strides, int64_t offset);
void set_storage(Tensor& t, Storage* storage);  // takes a reference
void resize(Tensor& t, const Dims& sizes, MemoryFormat format = MemoryFormat::Contiguous);

// ---- looking at tensors ---------------------------------------------------------------------------------------

bool is_contiguous(const Dims& sizes, const Dims& strides);
bool is_contiguous(const Tensor& t, MemoryFormat format);
bool is_non_overlapping_and_dense(const Tensor& t);
// Like is_non_overlapping_and_dense, but gaps are allowed.
bool has_internal_overlap(const Tensor& t);
MemoryFormat suggested_format(const Tensor& t);

// The gate. Proves that the window lies inside the storage and returns the first element's address (null for an
// empty tensor). Raises for meta tensors: their shapes never reach kernels.
char* kernel_pointer(const Tensor& t);

// Strides with which `shape` views the same elements, or false when only a copy can have that shape.
bool view_strides(const Tensor& t, const Dims& shape, Dims* strides);

Version& version_of(Tensor& t);
inline uint32_t version_value(Tensor& t) { return version_of(t).value; }
// Called by every in-place write, with the operator's name for the error message of a later backward.
void bump_version(Tensor& t, const char* writer_name);

// ---- data movement that everything needs (kernels/copy.cpp) -------------------------------------------------------

void copy_into(Tensor& out, Tensor& in);  // same shape after broadcasting in; casts; no autograd
void fill(Tensor& out, const Scalar& value);
TensorRef contiguous(Tensor& t);         // t itself when it is contiguous
TensorRef cast(Tensor& t, DType dtype);  // t itself when it has the dtype
TensorRef clone(Tensor& t, MemoryFormat format = MemoryFormat::Preserve);
// A contiguous copy in `dtype` that no other tensor shares. Indices are checked and used in one of these where they are
// used without the interpreter lock: another thread may write the original meanwhile.
TensorRef private_copy(Tensor& t, DType dtype);
Scalar item(Tensor& t);  // of one element
TensorRef expand_view(Tensor& t, const Dims& sizes);

// ---- defaults --------------------------------------------------------------------------------------------------

DType default_dtype();
void set_default_dtype(DType dtype);
inline DType default_complex_dtype() { return info(default_dtype()).complex; }

void init_tensor_type(PyObject* module);
void untrack_all_free_tensors();

}  // namespace flb
