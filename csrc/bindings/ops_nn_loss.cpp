// Losses of class indices: nll_loss, and cross entropy of rows without writing the log-probabilities.
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/nn_kernels.h"

namespace flb {
namespace {

enum Reduction : int64_t { kNone, kMean, kSum };

// Inputs (C), (N, C) or (N, C, ...) with targets that lack C, all checked.
struct Classes {
    Classes(const Call& call, Tensor& input, Tensor& target_tensor, Tensor* weight, int64_t reduction,
            int64_t ignore_index) {
        const int n = input.ndim();
        call.check(n >= 1, "input tensor should be 1D or more, got a scalar");
        call.check(reduction >= kNone && reduction <= kSum,
                   "reduction must be 0 (none), 1 (mean) or 2 (sum), got ", reduction);
        call.check(target_tensor.dtype == DType::Int64 || target_tensor.dtype == DType::UInt8,
                   "expected target dtype to be Long or Byte, but got ",
                   info(target_tensor.dtype).class_name);
        classes = input.sizes[n == 1 ? 0 : 1];
        Dims expected;
        if (n > 1) expected.push_back(input.sizes[0]);
        for (int i = 2; i < n; ++i) expected.push_back(input.sizes[i]);
        call.check(target_tensor.sizes == expected ||
                       (n == 1 && target_tensor.numel == 1 && target_tensor.ndim() <= 1),
                   "Expected target size ", str(expected), ", got ", str(target_tensor.sizes));
        check(!weight || weight->dtype == input.dtype, "expected scalar type ", info(input.dtype).class_name,
              " but found ", weight ? info(weight->dtype).class_name : "");
        check(!weight || (weight->ndim() == 1 && weight->numel == classes),
              "weight tensor should be defined either for all ", classes,
              " classes or no classes but got weight tensor of shape: ", weight ? str(weight->sizes) : "");
        batch = n == 1 ? 1 : input.sizes[0];
        for (int i = 2; i < n; ++i) length *= input.sizes[i];
        sizes = target_tensor.sizes;
        dtype = compute_dtype(call, input);
        meta = input.is_meta() || target_tensor.is_meta();
        if (meta) return;
        target = own_indices(target_tensor);
        weights = dense_or_null(weight, dtype);
        const int64_t* t = count() ? data_of<int64_t>(target) : nullptr;
        for (int64_t i = 0; i < count(); ++i)
            if (t[i] != ignore_index && (t[i] < 0 || t[i] >= classes))
                fail(ErrorKind::Index, "Target ", t[i], " is out of bounds.");
        shares.resize(size_t(count()));
        visit_weights([&](auto* w) {
            for (int64_t i = 0; i < count(); ++i)
                shares[size_t(i)] = t[i] == ignore_index ? 0.0 : w ? double(w[t[i]]) : 1.0;
        });
        for (int64_t i = 0; i < count(); ++i) counted.push_back(t[i] != ignore_index);
    }
    int64_t count() const { return batch * length; }
    template <class F>
    void visit_weights(F&& f) const {
        if (dtype == DType::Float32) f(data_of<float>(weights));
        else f(data_of<double>(weights));
    }
    double total() const {
        double sum = 0;
        for (double s : shares) sum += s;
        return sum;
    }
    // Position of target i in an input (batch, classes, length).
    int64_t at(int64_t i, const int64_t* t) const {
        return (i / length * classes + t[i]) * length + i % length;
    }

    int64_t classes, batch, length = 1;
    Dims sizes;
    DType dtype;
    bool meta;
    TensorRef target, weights;
    std::vector<double> shares;  // the weight of every target; 0 where it is ignored
    std::vector<bool> counted;
};

template <class F>
void float_or_double(DType dtype, F&& f) {
    if (dtype == DType::Float32) f(float());
    else f(double());
}

// The loss per element, given term(i): what its share is multiplied with; and the reduction of it.
template <class F>
PyObject* reduced_loss(Call& call, const Classes& c, DType result, int64_t reduction, F&& term,
                       const TensorRef& extra, bool has_extra) {
    const double total = c.total();
    TensorRef out = empty(reduction == kNone ? c.sizes : Dims(), c.dtype),
              weight_sum = scalar_tensor(Scalar(total), c.dtype);
    float_or_double(c.dtype, [&](auto zero) {
        using T = decltype(zero);
        T* o = out->numel ? data_of<T>(out) : nullptr;
        if (reduction == kNone) {
            for (int64_t i = 0; i < c.count(); ++i)
                o[i] = c.counted[size_t(i)] ? T(c.shares[size_t(i)] * term(i, zero)) : T(0);
            return;
        }
        double sum = 0;
        for (int64_t i = 0; i < c.count(); ++i)
            if (c.counted[size_t(i)]) sum += c.shares[size_t(i)] * term(i, zero);
        o[0] = T(reduction == kMean ? sum / total : sum);
    });
    out = cast(*out, result);
    return has_extra ? call.results({out, weight_sum, extra}) : call.results({out, weight_sum});
}

// What a target's share is multiplied with in backward.
std::vector<double> target_scales(const Call& call, const Classes& c, Tensor& grad, int64_t reduction) {
    TensorRef g = dense(grad, DType::Float64);
    const bool each = reduction == kNone;
    call.check(each ? grad.numel == c.count() : grad.numel == 1, "grad of shape ", str(grad.sizes),
               " does not fit targets of shape ", str(c.sizes));
    const double* p = g->numel ? data_of<double>(g) : nullptr;
    const double factor = reduction == kMean ? 1 / c.total() : 1;
    std::vector<double> scales(c.shares.size());
    for (size_t i = 0; i < scales.size(); ++i)
        scales[i] = c.counted[i] ? p[each ? i : 0] * c.shares[i] * factor : 0.0;
    return scales;
}

PyObject* nll_loss_forward(Call& call) {  // input, target, weight, reduction, ignore_index
    Tensor& input = call.tensor(0);
    const int64_t reduction = call.integer(3);
    const Classes c(call, input, call.tensor(1), call.tensor_or_null(2), reduction, call.integer(4));
    if (c.meta)
        return call.results({empty(reduction == kNone ? c.sizes : Dims(), input.dtype, DeviceType::Meta),
                             empty({}, input.dtype, DeviceType::Meta)});
    TensorRef x = dense(input, c.dtype);
    const void* data = input.numel ? data_of(x) : nullptr;
    const int64_t* t = c.count() ? data_of<int64_t>(c.target) : nullptr;
    return reduced_loss(
        call, c, input.dtype, reduction,
        [&](int64_t i, auto zero) { return -double(static_cast<const decltype(zero)*>(data)[c.at(i, t)]); },
        TensorRef(), false);
}

PyObject* nll_loss_backward(Call& call) {  // grad, input, target, weight, reduction, ignore_index
    Tensor& input = call.tensor(1);
    const int64_t reduction = call.integer(4);
    const Classes c(call, input, call.tensor(2), call.tensor_or_null(3), reduction, call.integer(5));
    if (c.meta) return empty(input.sizes, input.dtype, DeviceType::Meta).release();
    const std::vector<double> scales = target_scales(call, c, call.tensor(0), reduction);
    TensorRef out = empty(input.sizes, c.dtype);
    fill(*out, Scalar(0.0));
    const int64_t* t = c.count() ? data_of<int64_t>(c.target) : nullptr;
    float_or_double(c.dtype, [&](auto zero) {
        auto* o = out->numel ? data_of<decltype(zero)>(out) : nullptr;
        for (int64_t i = 0; i < c.count(); ++i)
            if (c.counted[size_t(i)]) o[c.at(i, t)] = decltype(zero)(-scales[size_t(i)]);
    });
    return cast(*out, input.dtype).release();
}

// ---- cross entropy of rows -----------------------------------------------------------------------------------------------

PyObject* cross_entropy(Call& call) {  // input (N, C), target, weight, reduction, ignore_index
    Tensor& input = call.tensor(0);
    const int64_t reduction = call.integer(3);
    call.check(input.ndim() == 2, "takes rows of classes, got shape ", str(input.sizes));
    const Classes c(call, input, call.tensor(1), call.tensor_or_null(2), reduction, call.integer(4));
    if (c.meta)
        return call.results({empty(reduction == kNone ? c.sizes : Dims(), input.dtype, DeviceType::Meta),
                             empty({}, c.dtype, DeviceType::Meta),
                             empty({c.batch}, c.dtype, DeviceType::Meta)});
    TensorRef x = dense(input, c.dtype), lse = empty({c.batch}, c.dtype);
    const void* data = input.numel ? data_of(x) : nullptr;
    void* sums = c.batch ? data_of(lse) : nullptr;
    if (input.numel) {
        Unlocked unlocked(input.numel > kNnGrain);
        parallel_for(0, c.batch, grain_for(c.classes),
                     [&](int64_t b, int64_t e) { log_sum_exp_rows(c.dtype, data, sums, c.classes, b, e); });
    }
    const int64_t* t = c.count() ? data_of<int64_t>(c.target) : nullptr;
    return reduced_loss(
        call, c, input.dtype, reduction,
        [&](int64_t i, auto zero) {
            using T = decltype(zero);
            return double(static_cast<const T*>(sums)[i]) - double(static_cast<const T*>(data)[c.at(i, t)]);
        },
        lse, true);
}

PyObject* cross_entropy_backward(Call& call) {  // grad, input, target, weight, lse, reduction, ignore_index
    Tensor &input = call.tensor(1), &lse = call.tensor(4);
    const int64_t reduction = call.integer(5);
    call.check(input.ndim() == 2, "takes rows of classes, got shape ", str(input.sizes));
    const Classes c(call, input, call.tensor(2), call.tensor_or_null(3), reduction, call.integer(6));
    call.check(lse.numel == c.batch, "expected ", c.batch, " log-sums, got ", lse.numel);
    if (c.meta) return empty(input.sizes, input.dtype, DeviceType::Meta).release();
    const std::vector<double> scales = target_scales(call, c, call.tensor(0), reduction);
    TensorRef x = dense(input, c.dtype), sums = dense(lse, c.dtype), scale = empty({c.batch}, c.dtype),
              out = empty(input.sizes, c.dtype);
    if (input.numel)
        float_or_double(c.dtype, [&](auto zero) {
            using T = decltype(zero);
            T *k = data_of<T>(scale), *o = data_of<T>(out);
            const T *in = data_of<T>(x), *s = data_of<T>(sums);
            const int64_t* t = data_of<int64_t>(c.target);
            for (int64_t i = 0; i < c.batch; ++i) k[i] = T(scales[size_t(i)]);
            Unlocked unlocked(input.numel > kNnGrain);
            parallel_for(0, c.batch, grain_for(c.classes), [&](int64_t b, int64_t e) {
                scaled_softmax_rows(c.dtype, in, s, k, o, c.classes, b, e);
                for (int64_t i = b; i < e; ++i)
                    if (c.counted[size_t(i)]) o[c.at(i, t)] -= k[i];
            });
        });
    return cast(*out, input.dtype).release();
}

}  // namespace

FLB_OPS({"nll_loss_forward", nll_loss_forward}, {"nll_loss_backward", nll_loss_backward},
        {"_cross_entropy", cross_entropy}, {"_cross_entropy_backward", cross_entropy_backward});

}  // namespace flb
