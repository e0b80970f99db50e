// Distances of all pairs of points, of two sets or of one.
#include "bindings/nn_common.h"
#include "kernels/distance_kernels.h"

namespace flb {
namespace {

struct Problem : PointPairs {
    int64_t batch = 1;
    Dims result;
    int64_t points() const { return batch * rows_a; }
    int64_t work() const { return rows_b * width * (p == 1 || p == 2 ? 1 : 8); }

    // Sets (..., P, M) and (..., R, M) with the same leading dimensions.
    Problem(const Call& call, const Tensor& x1, const Tensor& x2, double order) : PointPairs{} {
        const int n = x1.ndim();
        bool fits = n >= 2 && x2.ndim() == n && x1.sizes[n - 1] == x2.sizes[n - 1];
        for (int i = 0; fits && i < n - 2; ++i) fits = x1.sizes[i] == x2.sizes[i];
        call.check(fits, "points of shapes ", str(x1.sizes), " and ", str(x2.sizes),
                   " do not fit each other");
        call.check(order >= 0, "only supports non-negative p values, got ", order);
        check(x1.dtype == x2.dtype, call.name(), ": expected both inputs to have one dtype, but found torch.",
              name_of(x1.dtype), " and torch.", name_of(x2.dtype));
        for (int i = 0; i < n - 2; ++i) batch *= x1.sizes[i];
        rows_a = x1.sizes[n - 2], rows_b = x2.sizes[n - 2], width = x1.sizes[n - 1];
        p = order;
        result = x1.sizes;
        result[n - 1] = rows_b;
    }
    // One set (N, M).
    Problem(const Call& call, const Tensor& x, double order) : Problem(call, x, x, order) {
        call.check(x.ndim() == 2, "only supports 2D tensors, got: ", x.ndim(), "D");
        triangle = true;
        result = {rows_a > 0 ? rows_a * (rows_a - 1) / 2 : 0};
    }
};

PyObject* forward(const Call& call, Problem s, Tensor& x1, Tensor& x2) {
    const DType dtype = compute_dtype(call, x1);
    checked_numel(s.result);
    if (x1.is_meta() || x2.is_meta()) return empty(s.result, x1.dtype, DeviceType::Meta).release();
    TensorRef out = empty(s.result, dtype);
    if (out->numel) {
        TensorRef a = dense(x1, dtype), b = &x1 == &x2 ? a : dense(x2, dtype);
        s.a = data_of(a), s.b = data_of(b);
        void* to = data_of(out);
        Unlocked unlocked(s.points() * s.work() > kNnGrain);
        parallel_for(0, s.points(), grain_for(s.work()),
                     [&](int64_t begin, int64_t end) { distances(dtype, s, to, begin, end); });
    }
    return cast(*out, x1.dtype).release();
}
PyObject* backward(const Call& call, Problem s, Tensor& grad, Tensor& x1, Tensor& x2, Tensor& found) {
    const DType dtype = compute_dtype(call, x1);
    call.check(grad.sizes == s.result && found.sizes == s.result, "grad of shape ", str(grad.sizes),
               " does not fit distances of shape ", str(s.result));
    if (grad.is_meta() || x1.is_meta()) return empty(x1.sizes, x1.dtype, DeviceType::Meta).release();
    TensorRef out = empty(x1.sizes, dtype);
    fill(*out, Scalar(0.0));
    if (out->numel && grad.numel) {
        TensorRef a = dense(x1, dtype), b = &x1 == &x2 ? a : dense(x2, dtype), g = dense(grad, dtype),
                  d = dense(found, dtype);
        s.a = data_of(a), s.b = data_of(b);
        const void *from = data_of(g), *lengths = data_of(d);
        void* to = data_of(out);
        Unlocked unlocked(s.points() * s.work() > kNnGrain);
        parallel_for(0, s.points(), grain_for(s.work()), [&](int64_t begin, int64_t end) {
            distances_backward(dtype, s, from, lengths, to, begin, end);
        });
    }
    return cast(*out, x1.dtype).release();
}

PyObject* cdist(Call& call) {  // x1, x2, p
    return forward(call, Problem(call, call.tensor(0), call.tensor(1), call.real(2)), call.tensor(0),
                   call.tensor(1));
}
PyObject* pdist(Call& call) {  // input, p
    return forward(call, Problem(call, call.tensor(0), call.real(1)), call.tensor(0), call.tensor(0));
}
PyObject* cdist_backward(Call& call) {  // grad_output, x1, x2, p, result_
    return backward(call, Problem(call, call.tensor(1), call.tensor(2), call.real(3)), call.tensor(0),
                    call.tensor(1), call.tensor(2), call.tensor(4));
}
PyObject* pdist_backward(Call& call) {  // grad_output, input, p, result_
    return backward(call, Problem(call, call.tensor(1), call.real(2)), call.tensor(0), call.tensor(1),
                    call.tensor(1), call.tensor(3));
}

}  // namespace

FLB_OPS({"_cdist", cdist}, {"_pdist", pdist}, {"_cdist_backward", cdist_backward},
        {"_pdist_backward", pdist_backward});

}  // namespace flb
