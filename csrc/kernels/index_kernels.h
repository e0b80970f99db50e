// Moving elements by index. Every index is checked before anything is written.
#pragma once
#include <vector>

#include "core/scalar.h"
#include "tensor/tensor.h"

namespace flb {

enum class Reduce : uint8_t { Assign, Add, Multiply, Min, Max };

// ---- positions given by offsets: the work of `index` and `index_put_` -------------------------------------------------------

// Numbers in memory of the caching allocator: a vector's would be fresh pages for every large index.
class Offsets {
  public:
    void resize(int64_t n) {
        memory_ = empty({n}, DType::Int64);
        data_ = n ? reinterpret_cast<int64_t*>(kernel_pointer(*memory_)) : nullptr;
        size_ = n;
    }
    int64_t size() const { return size_; }
    int64_t* data() { return data_; }
    const int64_t* data() const { return data_; }
    int64_t operator[](int64_t i) const { return data_[i]; }

  private:
    TensorRef memory_;
    int64_t* data_ = nullptr;
    int64_t size_ = 0;
};

// Index tensors per dimension (null where a dimension is kept), masks already turned into positions.
struct IndexPlan {
    Dims outer_sizes,
        outer_strides;  // kept dimensions before the indexed ones, in elements of the indexed tensor
    Dims index_shape;   // of the broadcast indices
    Dims inner_sizes, inner_strides;  // kept dimensions after them
    Offsets offsets;                  // of every index position, in elements; checked
    Dims result_shape() const;
};
IndexPlan plan_index(Tensor& t, const std::vector<TensorRef>& indices, const char* op_name);
void index_get(Tensor& out, Tensor& in, const IndexPlan& plan);  // out contiguous, of the result shape
void index_put(Tensor& out, Tensor& values, const IndexPlan& plan,
               bool accumulate);  // values contiguous likewise

// Positions of the elements that are not zero, one row per element: (n, ndim) int64.
TensorRef nonzero(Tensor& t);
int64_t count_true(Tensor& mask);  // of a contiguous bool tensor
// The elements whose mask is true; both contiguous and of one size.
TensorRef select_true(Tensor& t, Tensor& mask);

// ---- gather and scatter along one dimension -------------------------------------------------------------------------------------

// Raises unless every index lies in [0, size) (negative ones too, if `wrap`, in [-size, size)).
void check_indices(Tensor& index, int64_t size, int dim, const char* op_name, bool wrap, ErrorKind kind);
// out has the shape of index.
void gather(Tensor& out, Tensor& in, int dim, Tensor& index);
// out[index] (op)= src or value, in order of the index; counts (int64, out's shape) may be null.
void scatter(Tensor& out, int dim, Tensor& index, Tensor* src, const Scalar* value, Reduce reduce,
             Tensor* counts);

// ---- whole slices along one dimension ----------------------------------------------------------------------------------------------

void index_select(Tensor& out, Tensor& in, int dim, Tensor& index);  // out contiguous
// out.select(dim, index[i]) (op)= src.select(dim, i); src contiguous in out's dtype
void index_write(Tensor& out, int dim, Tensor& index, Tensor& src, Reduce reduce, Tensor* counts);

}  // namespace flb
