// Group normalisation of (batch, channels, length).
#include <cmath>
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/group_norm.h"

namespace flb {
namespace {

enum GradMask : int64_t { kGradInput = 1, kGradWeight = 2, kGradBias = 4 };

struct GroupShape {
    GroupShape(const Call& call, const Tensor& t, const Tensor* weight, const Tensor* bias, int64_t batch_,
               int64_t channels_, int64_t length_, int64_t groups_)
        : batch(batch_), channels(channels_), length(length_), groups(groups_) {
        call.check(groups > 0, "Expected num groups to be greater than 0, got ", groups);
        call.check(
            batch >= 0 && channels >= 0 && length >= 0 && checked_numel({batch, channels, length}) == t.numel,
            "Expected X.numel() == N * C * HxW to be true, but got false: input of shape ", str(t.sizes),
            ", N=", batch, ", C=", channels, ", HxW=", length);
        call.check(
            channels % groups == 0,
            "Expected number of channels in input to be divisible by num_groups, but got input of shape ",
            str(t.sizes), " and num_groups=", groups);
        for (const auto& [name, p] : {std::pair{"weight", weight}, std::pair{"bias", bias}})
            call.check(!p || (p->ndim() == 1 && p->numel == channels), "Expected ", name,
                       " to be a vector of size equal to the number of channels in input, but got ", name,
                       " of shape ", p ? str(p->sizes) : "", " and input of shape ", str(t.sizes));
    }
    int64_t rows() const { return batch * groups; }
    int64_t width() const { return channels / groups * length; }
    int64_t batch, channels, length, groups;
};

// The result in the layout that the input has.
TensorRef in_layout_of(const Tensor& like, const TensorRef& result) {
    const MemoryFormat format = suggested_format(like);
    TensorRef same = cast(*result, like.dtype);
    return is_contiguous(*same, format) ? same : clone(*same, format);
}

PyObject* group_norm(Call& call) {  // input, weight, bias, N, C, HxW, group, eps
    Tensor& t = call.tensor(0);
    Tensor *weight = call.tensor_or_null(1), *bias = call.tensor_or_null(2);
    const GroupShape s(call, t, weight, bias, call.integer(3), call.integer(4), call.integer(5),
                       call.integer(6));
    const DType dtype = compute_dtype(call, t);
    const Dims stats{s.batch, s.groups};
    if (t.is_meta())
        return call.results(
            {empty_like(t, t.dtype), empty(stats, dtype, t.device), empty(stats, dtype, t.device)});
    TensorRef out = empty(t.sizes, dtype), mean = empty(stats, dtype), rstd = empty(stats, dtype);
    if (t.numel) {
        TensorRef x = dense(t, dtype), w = dense_or_null(weight, dtype), b = dense_or_null(bias, dtype);
        const GroupNorm a{data_of(x),    data_of(w), data_of(b), data_of(out), data_of(mean),
                          data_of(rstd), s.channels, s.groups,   s.length,     call.real(7)};
        Unlocked unlocked(t.numel > kNnGrain);
        parallel_for(0, s.rows(), grain_for(s.width()),
                     [&](int64_t from, int64_t to) { group_norm_forward(dtype, a, from, to); });
    } else {  // groups of nothing
        fill(*mean, Scalar(0.0));
        fill(*rstd, Scalar(NAN));
    }
    return call.results({in_layout_of(t, out), mean, rstd});
}

// Sums over the batch of (batch, channels), in order.
TensorRef over_batch(const std::vector<double>& parts, const GroupShape& s, DType dtype) {
    TensorRef sums = empty({s.channels}, DType::Float64);
    double* p = s.channels ? data_of<double>(sums) : nullptr;
    for (int64_t c = 0; c < s.channels; ++c) p[c] = 0;
    for (int64_t b = 0; b < s.batch && !parts.empty(); ++b)
        for (int64_t c = 0; c < s.channels; ++c) p[c] += parts[size_t(b * s.channels + c)];
    return cast(*sums, dtype);
}

// grad, input, mean, rstd, weight, N, C, HxW, group, eps, mask
PyObject* group_norm_gradient(Call& call) {
    Tensor &grad = call.tensor(0), &t = call.tensor(1), &mean = call.tensor(2), &rstd = call.tensor(3);
    Tensor* weight = call.tensor_or_null(4);
    const GroupShape s(call, t, weight, nullptr, call.integer(5), call.integer(6), call.integer(7),
                       call.integer(8));
    const int64_t mask = call.integer(10);
    const DType dtype = compute_dtype(call, t), param = weight ? weight->dtype : t.dtype;
    call.check(grad.sizes == t.sizes, "grad of shape ", str(grad.sizes), " for an input of shape ",
               str(t.sizes));
    call.check(mean.numel == s.rows() && rstd.numel == s.rows(),
               "expected one mean and one deviation for each of ", s.rows(), " groups");
    TensorRef dx, dw, db;
    if (t.is_meta()) {
        if (mask & kGradInput) dx = empty_like(t, t.dtype);
        if (mask & kGradWeight) dw = empty({s.channels}, param, t.device);
        if (mask & kGradBias) db = empty({s.channels}, param, t.device);
        return call.results({dx, dw, db});
    }
    if (mask & kGradInput) dx = empty(t.sizes, dtype);
    std::vector<double> sums, products;
    if (t.numel) {
        sums.resize(size_t(s.batch * s.channels));
        products.resize(sums.size());
        TensorRef g = dense(grad, dtype), x = dense(t, dtype), m = dense(mean, dtype), r = dense(rstd, dtype),
                  w = dense_or_null(weight, dtype);
        const GroupNormBackward a{data_of(g), data_of(x),  data_of(m),  data_of(r),
                                  data_of(w), data_of(dx), sums.data(), products.data(),
                                  s.channels, s.groups,    s.length};
        Unlocked unlocked(t.numel > kNnGrain);
        parallel_for(0, s.rows(), grain_for(s.width()),
                     [&](int64_t from, int64_t to) { group_norm_backward(dtype, a, from, to); });
    }
    if (dx) dx = in_layout_of(t, dx);
    if (mask & kGradWeight) dw = over_batch(products, s, param);
    if (mask & kGradBias) db = over_batch(sums, s, param);
    return call.results({dx, dw, db});
}

}  // namespace

FLB_OPS({"native_group_norm", group_norm}, {"native_group_norm_backward", group_norm_gradient});

}  // namespace flb
