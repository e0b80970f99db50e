// softmax, log_softmax, and cross entropy of rows in one pass.
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/index_kernels.h"
#include "kernels/nn_kernels.h"

namespace flb {
namespace {

SoftmaxShape softmax_shape(const Tensor& t, int dim, bool log) {
    SoftmaxShape s{1, t.size(dim), 1, log};
    for (int i = 0; i < dim; ++i) s.outer *= t.sizes[i];
    for (int i = dim + 1; i < t.ndim(); ++i) s.inner *= t.sizes[i];
    return s;
}

template <class F>
void over_units(const SoftmaxShape& s, int64_t numel, F&& f) {
    Unlocked unlocked(numel > kNnGrain);
    const int64_t units = s.units();
    parallel_for(0, units, grain_for(numel / (units ? units : 1)), f);
}

template <bool log>
PyObject* softmax(Call& call) {  // input, dim, dtype, out
    Tensor& t = call.tensor(0);
    const int dim = wrap_dim(call.integer(1), t.ndim());
    const DType wanted = call.dtype(2, t.dtype);
    TensorRef in = cast(t, wanted);
    const DType dtype = compute_dtype(call, *in);
    if (t.is_meta()) return deliver(call, empty(t.sizes, wanted, t.device));
    in = dense(*in, dtype);
    TensorRef out = empty(t.sizes, dtype);
    if (out->numel) {
        const SoftmaxShape s = softmax_shape(t, dim, log);
        const void* x = data_of(in);
        void* y = data_of(out);
        over_units(s, t.numel, [&](int64_t b, int64_t e) { softmax_forward(dtype, s, x, y, b, e); });
    }
    return deliver(call, cast(*out, wanted));
}

template <bool log>
PyObject* softmax_gradient(Call& call) {  // grad, output, dim
    Tensor &grad = call.tensor(0), &output = call.tensor(1);
    call.check(grad.sizes == output.sizes, "grad of shape ", str(grad.sizes), " for an output of shape ",
               str(output.sizes));
    const int dim = wrap_dim(call.integer(2), output.ndim());
    const DType dtype = compute_dtype(call, output);
    if (output.is_meta() || grad.is_meta())
        return empty(output.sizes, output.dtype, DeviceType::Meta).release();
    TensorRef g = dense(grad, dtype), y = dense(output, dtype), result = empty(output.sizes, dtype);
    if (result->numel) {
        const SoftmaxShape s = softmax_shape(output, dim, log);
        const void *pg = data_of(g), *py = data_of(y);
        void* p = data_of(result);
        over_units(s, output.numel,
                   [&](int64_t b, int64_t e) { softmax_backward(dtype, s, pg, py, p, b, e); });
    }
    return cast(*result, output.dtype).release();
}

}  // namespace

FLB_OPS({"softmax", softmax<false>}, {"log_softmax", softmax<true>},
        {"_softmax_backward", softmax_gradient<false>}, {"_log_softmax_backward", softmax_gradient<true>});

}  // namespace flb
