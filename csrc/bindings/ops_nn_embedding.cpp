// Rows of a table by index, and the gradient of the table.
#include <cstring>
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/index_kernels.h"

namespace flb {
namespace {

void check_index_dtype(const Call& call, const Tensor& indices) {
    check(indices.dtype == DType::Int64 || indices.dtype == DType::Int32,
          "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; "
          "but got ",
          "torch.", info(indices.dtype).class_name, "Tensor instead (while checking arguments for ",
          call.name(), ")");
}

PyObject* embedding(Call& call) {  // weight, indices, padding_idx, scale_grad_by_freq, sparse
    Tensor &weight = call.tensor(0), &indices = call.tensor(1);
    check(weight.ndim() == 2, "'weight' must be 2-D");
    check_index_dtype(call, indices);
    Dims sizes = indices.sizes;
    sizes.push_back(weight.sizes[1]);
    if (weight.is_meta() || indices.is_meta()) return empty(sizes, weight.dtype, DeviceType::Meta).release();
    TensorRef ids = own_indices(indices);
    check_indices(*ids, weight.sizes[0], 0, call.name(), false, ErrorKind::Index);
    TensorRef out = empty(sizes, weight.dtype);
    if (out->numel) {
        TensorRef table = contiguous(weight);
        const int64_t width = weight.sizes[1] * itemsize(weight.dtype);
        const char* from = data_of<char>(table);
        char* to = data_of<char>(out);
        const int64_t* at = data_of<int64_t>(ids);
        Unlocked unlocked(out->numel > kNnGrain);
        parallel_for(0, ids->numel, grain_for(weight.sizes[1]), [&](int64_t b, int64_t e) {
            for (int64_t i = b; i < e; ++i) std::memcpy(to + i * width, from + at[i] * width, size_t(width));
        });
    }
    return out.release();
}

// Every thread owns a range of the table's rows and adds to them in the order of the indices, so that the sums do not
// depend on the number of threads.
PyObject* embedding_dense_backward(
    Call& call) {  // grad, indices, num_weights, padding_idx, scale_grad_by_freq
    Tensor &grad = call.tensor(0), &indices = call.tensor(1);
    const int64_t rows = call.integer(2), padding = call.integer(3);
    const bool by_frequency = call.boolean(4);
    check_index_dtype(call, indices);
    call.check(rows >= 0, "num_weights must not be negative, got ", rows);
    Dims expected = indices.sizes;
    expected.push_back(grad.ndim() ? grad.sizes[grad.ndim() - 1] : 0);
    call.check(grad.sizes == expected, "grad of shape ", str(grad.sizes), " does not fit indices of shape ",
               str(indices.sizes));
    const int64_t width = expected.back();
    if (grad.is_meta() || indices.is_meta())
        return empty({rows, width}, grad.dtype, DeviceType::Meta).release();
    TensorRef ids = own_indices(indices);
    check_indices(*ids, rows, 0, call.name(), false, ErrorKind::Index);
    const DType dtype = compute_dtype(call, grad);
    TensorRef out = empty({rows, width}, dtype);
    fill(*out, Scalar(0.0));
    if (grad.numel) {
        TensorRef g = dense(grad, dtype);
        const int64_t* at = data_of<int64_t>(ids);
        const int64_t n = ids->numel;
        std::vector<int64_t> counts;
        if (by_frequency) {
            counts.resize(size_t(rows));
            for (int64_t i = 0; i < n; ++i) ++counts[size_t(at[i])];
        }
        const auto work = [&](auto zero) {
            using T = decltype(zero);
            const T* from = data_of<T>(g);
            T* to = data_of<T>(out);
            const int64_t threads = n * width < kNnGrain ? 1 : num_threads();
            Unlocked unlocked(n * width > kNnGrain);
            parallel_for(0, rows, (rows + threads - 1) / threads, [&](int64_t b, int64_t e) {
                for (int64_t i = 0; i < n; ++i) {
                    if (at[i] < b || at[i] >= e || at[i] == padding) continue;
                    const T share = by_frequency ? T(1) / T(counts[size_t(at[i])]) : T(1);
                    T* __restrict t = to + at[i] * width;
                    const T* __restrict s = from + i * width;
                    for (int64_t k = 0; k < width; ++k) t[k] += s[k] * share;
                }
            });
        };
        if (dtype == DType::Float32) work(float());
        else work(double());
    }
    return cast(*out, grad.dtype).release();
}

}  // namespace

FLB_OPS({"embedding", embedding}, {"embedding_dense_backward", embedding_dense_backward});

}  // namespace flb
