// Layer and batch normalisation.
#include <cmath>
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/nn_kernels.h"

namespace flb {
namespace {

// Which gradients a backward operator is asked for, as bits.
enum GradMask : int64_t { kGradInput = 1, kGradWeight = 2, kGradBias = 4 };

// Rows are cut into at most this many blocks whose partial sums are added in order.
constexpr int64_t kMaxBlocks = 64;
struct Blocks {
    Blocks(int64_t rows, int64_t least) : size((rows + kMaxBlocks - 1) / kMaxBlocks) {
        if (size < least) size = least;
        count = (rows + size - 1) / size;
    }
    int64_t size, count;
};

// ---- layer_norm and rms_norm ------------------------------------------------------------------------------------------------------

// Number of rows, checked: the shape ends in `shape`, weight and bias have it.
int64_t rows_of(const Call& call, const Tensor& t, const Dims& shape, const Tensor* weight,
                const Tensor* bias) {
    check(shape.size() > 0,
          "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
          "but got normalized_shape = ",
          str(shape));
    const int lead = t.ndim() - shape.size();
    bool fits = lead >= 0;
    for (int i = 0; fits && i < shape.size(); ++i) fits = t.sizes[lead + i] == shape[i];
    if (!fits) {
        std::string wanted;
        for (int64_t s : shape) wanted += ", " + std::to_string(s);
        check(false, "Given normalized_shape=", str(shape), ", expected input with shape [*", wanted,
              "], but got input of size", str(t.sizes));
    }
    check(!weight || weight->sizes == shape,
          "Expected weight to be of same shape as normalized_shape, but got weight of shape ",
          weight ? str(weight->sizes) : "", " and normalized_shape = ", str(shape));
    check(!bias || bias->sizes == shape,
          "Expected bias to be of same shape as normalized_shape, but got bias of shape ",
          bias ? str(bias->sizes) : "", " and normalized_shape = ", str(shape));
    int64_t rows = 1;
    for (int i = 0; i < lead; ++i) rows *= t.sizes[i];
    return rows;
}

// layer_norm, and rms_norm, which leaves out the mean: input, normalized_shape, weight, bias (layer_norm only), eps
template <bool centred>
PyObject* row_norm(Call& call) {
    Tensor& t = call.tensor(0);
    const Dims shape = call.ints(1);
    Tensor *weight = call.tensor_or_null(2), *bias = centred ? call.tensor_or_null(3) : nullptr;
    const int64_t rows = rows_of(call, t, shape, weight, bias);
    const DType dtype = compute_dtype(call, t);
    Dims stats(t.ndim(), 1);
    for (int i = 0; i < t.ndim() - shape.size(); ++i) stats[i] = t.sizes[i];
    TensorRef out = empty(t.sizes, t.is_meta() ? t.dtype : dtype, t.device);
    TensorRef mean, rstd = empty(stats, dtype, t.device);
    if (centred) mean = empty(stats, dtype, t.device);
    const auto results = [&] {
        return centred ? call.results({out, mean, rstd}) : call.results({out, rstd});
    };
    if (t.is_meta()) return results();
    if (t.numel) {
        TensorRef x = dense(t, dtype), w = dense_or_null(weight, dtype), b = dense_or_null(bias, dtype);
        const RowNorm a{data_of(x),    data_of(w),    data_of(b),     data_of(out),
                        data_of(mean), data_of(rstd), t.numel / rows, call.real(centred ? 4 : 3),
                        centred};
        Unlocked unlocked(t.numel > kNnGrain);
        parallel_for(0, rows, grain_for(a.n),
                     [&](int64_t from, int64_t to) { layer_norm_forward(dtype, a, from, to); });
    } else {  // rows of nothing
        if (centred) fill(*mean, Scalar(0.0));
        fill(*rstd, Scalar(NAN));
    }
    out = cast(*out, t.dtype);
    return results();
}

// Adds `count` partial sums of n elements, in order: a few columns at a time, whose sums stay in registers.
template <class T>
void join_blocks(T* sums, const T* parts, int64_t count, int64_t n) {
    typedef T Columns __attribute__((vector_size(64), aligned(alignof(T)), may_alias));
    constexpr int64_t kColumns = 64 / int64_t(sizeof(T));
    int64_t i = 0;
    for (; i + kColumns <= n; i += kColumns) {
        Columns sum = *reinterpret_cast<const Columns*>(parts + i);
        for (int64_t k = 1; k < count; ++k) sum += *reinterpret_cast<const Columns*>(parts + k * n + i);
        *reinterpret_cast<Columns*>(sums + i) = sum;
    }
    for (; i < n; ++i) {
        sums[i] = parts[i];
        for (int64_t k = 1; k < count; ++k) sums[i] += parts[k * n + i];
    }
}
void join_blocks(Tensor& sums, Tensor& parts) {
    const int64_t n = sums.numel, count = n ? parts.numel / n : 0;
    if (!n) return;
    if (sums.dtype == DType::Float32)
        join_blocks(reinterpret_cast<float*>(kernel_pointer(sums)),
                    reinterpret_cast<float*>(kernel_pointer(parts)), count, n);
    else
        join_blocks(reinterpret_cast<double*>(kernel_pointer(sums)),
                    reinterpret_cast<double*>(kernel_pointer(parts)), count, n);
}

// grad, input, normalized_shape, mean (layer_norm only), rstd, weight, eps, mask
template <bool centred>
PyObject* row_norm_backward(Call& call) {
    constexpr int at = centred ? 4 : 3;
    Tensor &grad = call.tensor(0), &t = call.tensor(1), &rstd = call.tensor(at);
    Tensor *mean = centred ? &call.tensor(3) : nullptr, *weight = call.tensor_or_null(at + 1);
    const Dims shape = call.ints(2);
    const int64_t mask = call.integer(at + 3), rows = rows_of(call, t, shape, weight, nullptr);
    const DType dtype = compute_dtype(call, t);
    call.check(grad.sizes == t.sizes, "grad of shape ", str(grad.sizes), " for an input of shape ",
               str(t.sizes));
    call.check((!mean || mean->numel == rows) && rstd.numel == rows,
               "expected one mean and one deviation for each of ", rows, " rows");
    const DType result = t.is_meta() ? t.dtype : dtype;
    TensorRef dx, dw, db;
    if (mask & kGradInput) dx = empty(t.sizes, result, t.device);
    if (mask & kGradWeight) dw = empty(shape, result, t.device);
    if (centred && (mask & kGradBias)) db = empty(shape, result, t.device);
    const auto results = [&] { return centred ? call.results({dx, dw, db}) : call.results({dx, dw}); };
    if (t.is_meta()) return results();
    if (t.numel) {
        const int64_t n = t.numel / rows;
        TensorRef g = dense(grad, dtype), x = dense(t, dtype), m = dense_or_null(mean, dtype),
                  r = dense(rstd, dtype), w = dense_or_null(weight, dtype);
        const Blocks blocks(rows, 32);
        TensorRef dw_parts, db_parts;
        if (dw) dw_parts = empty({blocks.count, n}, dtype);
        if (db) db_parts = empty({blocks.count, n}, dtype);
        const RowNormBackward all{data_of(g),  data_of(x),        data_of(m),        data_of(r), data_of(w),
                                  data_of(dx), data_of(dw_parts), data_of(db_parts), n,          centred};
        {
            Unlocked unlocked(t.numel > kNnGrain);
            parallel_for(0, blocks.count, grain_for(blocks.size * n), [&](int64_t from, int64_t to) {
                for (int64_t k = from; k < to; ++k) {
                    RowNormBackward a = all;
                    const int64_t offset = k * n * itemsize(dtype);
                    if (a.grad_weight) a.grad_weight = static_cast<char*>(a.grad_weight) + offset;
                    if (a.grad_bias) a.grad_bias = static_cast<char*>(a.grad_bias) + offset;
                    layer_norm_backward(dtype, a, k * blocks.size, std::min(rows, (k + 1) * blocks.size));
                }
            });
        }
        if (dw) join_blocks(*dw, *dw_parts);
        if (db) join_blocks(*db, *db_parts);
    } else {
        for (TensorRef* sums : {&dw, &db})
            if (*sums) fill(**sums, Scalar(0.0));
    }
    for (TensorRef* r : {&dx, &dw, &db})
        if (*r) *r = cast(**r, t.dtype);
    return results();
}

// ---- batch_norm ------------------------------------------------------------------------------------------------------

using Doubles = std::vector<double>;

// (batch, channels, ...) as planes, or as the rows of a matrix: for channels_last, and where planes have one element.
struct Channels {
    Channels(Tensor& t, DType dtype) {
        const bool last = !t.contiguous && (is_contiguous(t, MemoryFormat::ChannelsLast) ||
                                            is_contiguous(t, MemoryFormat::ChannelsLast3d));
        format = !last           ? MemoryFormat::Contiguous
                 : t.ndim() == 5 ? MemoryFormat::ChannelsLast3d
                                 : MemoryFormat::ChannelsLast;
        shape = {t.sizes[0], t.sizes[1], 1};
        for (int i = 2; i < t.ndim(); ++i) shape.length *= t.sizes[i];
        if (last) shape = {shape.batch * shape.length, shape.channels, 1};
        data = in_format(t, dtype);
    }
    TensorRef in_format(Tensor& t, DType dtype) const {
        TensorRef same = cast(t, dtype);
        return is_contiguous(*same, format) ? same : clone(*same, format);
    }
    int64_t count() const { return shape.batch * shape.length; }
    bool planes() const { return shape.length > 1; }
    // fn(begin, end) over planes or rows.
    template <class F>
    void map(F&& f) const {
        const int64_t work = planes() ? shape.length : shape.channels;
        parallel_for(0, planes() ? shape.batch * shape.channels : shape.batch, grain_for(work), f);
    }
    // fn(begin, end) over channels whose planes it takes one channel at a time, all passes after each other: the data of a
    // channel is often small enough to stay in the cache between them.
    template <class F>
    void each_channel(F&& f) const {
        parallel_for(0, shape.channels, grain_for(count()), [&](int64_t b, int64_t e) {
            for (int64_t c = b; c < e; ++c) f(c);
        });
    }
    // kernel(begin, end) for every plane of channel c.
    template <class F>
    void planes_of(int64_t c, F&& kernel) const {
        for (int64_t p = c; p < shape.batch * shape.channels; p += shape.channels) kernel(p, p + 1);
    }
    // Sums per channel, each of `results` a vector of them, of what is no planes: by blocks of rows, joined in order.
    template <class ByRow>
    void sum(std::initializer_list<Doubles*> results, ByRow by_row) const {
        for (Doubles* r : results) r->assign(size_t(shape.channels), 0.0);
        const Blocks blocks(shape.batch, 64);
        const int64_t width = shape.channels, each = width * int64_t(results.size());
        Doubles parts(size_t(blocks.count * each), 0.0);
        parallel_for(0, blocks.count, grain_for(blocks.size * width), [&](int64_t b, int64_t e) {
            for (int64_t k = b; k < e; ++k)
                by_row(parts.data() + k * each, parts.data() + k * each + width, k * blocks.size,
                       std::min(shape.batch, (k + 1) * blocks.size));
        });
        for (int64_t k = 0; k < blocks.count; ++k)
            for (size_t r = 0; r < results.size(); ++r)
                for (int64_t c = 0; c < width; ++c)
                    (*results.begin()[r])[size_t(c)] += parts[size_t(k * each + int64_t(r) * width + c)];
    }
    ChannelShape shape;
    MemoryFormat format;
    TensorRef data;
};

Doubles load(Tensor* t, int64_t n, double fallback) {
    if (!t) return Doubles(size_t(n), fallback);
    TensorRef d = dense(*t, DType::Float64);
    const double* p = n ? data_of<double>(d) : nullptr;
    return Doubles(p, p + n);
}
TensorRef as_tensor(const Doubles& values, DType dtype) {
    TensorRef t = empty({int64_t(values.size())}, DType::Float64);
    double* p = values.empty() ? nullptr : data_of<double>(t);
    for (size_t i = 0; i < values.size(); ++i) p[i] = values[i];
    return cast(*t, dtype);
}

void check_channels(const char* name, const Tensor* t, int64_t channels) {
    check(!t || (t->numel == channels && t->ndim() == 1), name, " should contain ", channels,
          " elements not ", t ? t->numel : 0);
}

PyObject* batch_norm(Call& call) {  // input, weight, bias, running_mean, running_var, training, momentum, eps
    Tensor& t = call.tensor(0);
    call.check(t.ndim() >= 2, "expected input with a batch and a channel dimension, got shape ",
               str(t.sizes));
    Tensor *weight = call.tensor_or_null(1), *bias = call.tensor_or_null(2),
           *running_mean = call.tensor_or_null(3), *running_var = call.tensor_or_null(4);
    const bool training = call.boolean(5);
    const double momentum = call.real(6), eps = call.real(7);
    const int64_t channels = t.sizes[1];
    check_channels("running_mean", running_mean, channels);
    check_channels("running_var", running_var, channels);
    check_channels("weight", weight, channels);
    check_channels("bias", bias, channels);
    check(training || (running_mean && running_var),
          "Expected running_mean and running_var to be defined in evaluation mode: running_mean must be "
          "defined in evaluation mode");
    const DType dtype = compute_dtype(call, t);
    if (t.is_meta()) {
        TensorRef out = empty_like(t, t.dtype);
        return call.results({out, empty({channels}, dtype, t.device), empty({channels}, dtype, t.device)});
    }
    const Channels in(t, dtype);
    const ChannelShape& s = in.shape;
    const void* x = t.numel ? data_of(in.data) : nullptr;
    TensorRef out = empty_format(t.sizes, dtype, t.device, in.format);
    void* y = t.numel ? data_of(out) : nullptr;
    Doubles mean(static_cast<size_t>(channels)), rstd(mean), var(mean), scale = load(weight, channels, 1),
                                                                        shift = load(bias, channels, 0);
    const double n = double(in.count());
    const auto set_scale = [&](size_t c, double variance) {
        rstd[c] = 1 / std::sqrt(variance + eps);
        scale[c] *= rstd[c];
    };
    const auto write = [&](int64_t b, int64_t e) {
        channel_affine(dtype, s, x, mean.data(), scale.data(), shift.data(), y, b, e);
    };
    const bool by_channel = training && in.planes() && t.numel;
    if (by_channel) {
        Unlocked unlocked(t.numel > kNnGrain);
        in.each_channel([&](int64_t c) {
            const size_t k = size_t(c);
            channel_sums(dtype, s, x, nullptr, mean.data(), c, c + 1);
            mean[k] /= n;
            channel_sums(dtype, s, x, mean.data(), var.data(), c, c + 1);
            set_scale(k, var[k] / n);
            in.planes_of(c, write);
        });
    } else if (training && !t.numel) {
        std::fill(mean.begin(), mean.end(), NAN);
        std::fill(rstd.begin(), rstd.end(), NAN);
    } else if (training) {
        const auto moments = [&](const double* center, Doubles& sums) {
            Unlocked unlocked(t.numel > kNnGrain);
            in.sum({&sums}, [&](double* to, double*, int64_t b, int64_t e) {
                column_sums(dtype, s, x, center, to, b, e);
            });
        };
        moments(nullptr, mean);
        for (double& m : mean) m /= n;
        moments(mean.data(), var);
        for (size_t c = 0; c < rstd.size(); ++c) set_scale(c, var[c] / n);
    } else {
        mean = load(running_mean, channels, 0);
        var = load(running_var, channels, 1);
        for (size_t c = 0; c < rstd.size(); ++c) set_scale(c, var[c]);
    }
    if (training && t.numel) {
        const auto update = [&](Tensor* running, const Doubles& fresh, double factor) {
            if (!running) return;
            Doubles old = load(running, channels, 0);
            for (size_t c = 0; c < old.size(); ++c)
                old[c] = (1 - momentum) * old[c] + momentum * fresh[c] * factor;
            copy_into(*running, *as_tensor(old, running->dtype));
            bump_version(*running, "batch_norm");
        };
        update(running_mean, mean, 1);
        update(running_var, var, 1 / (n - 1));
    }
    if (t.numel && !by_channel) {
        Unlocked unlocked(t.numel > kNnGrain);
        in.map(write);
    }
    return call.results({cast(*out, t.dtype), as_tensor(mean, dtype), as_tensor(rstd, dtype)});
}

PyObject* native_batch_norm_backward(Call& call) {  // grad, input, weight, mean, invstd, training, eps, mask
    Tensor &grad = call.tensor(0), &t = call.tensor(1), &save_mean = call.tensor(3),
           &save_rstd = call.tensor(4);
    Tensor* weight = call.tensor_or_null(2);
    const bool training = call.boolean(5);
    const int64_t mask = call.integer(7);
    call.check(t.ndim() >= 2, "expected input with a batch and a channel dimension, got shape ",
               str(t.sizes));
    call.check(grad.sizes == t.sizes, "grad of shape ", str(grad.sizes), " for an input of shape ",
               str(t.sizes));
    const int64_t channels = t.sizes[1];
    check_channels("weight", weight, channels);
    check_channels("save_mean", &save_mean, channels);
    check_channels("save_invstd", &save_rstd, channels);
    const DType dtype = compute_dtype(call, t);
    TensorRef dx, dw, db;
    if (t.is_meta()) {
        if (mask & kGradInput) dx = empty_like(t, t.dtype);
        if (mask & kGradWeight) dw = empty({channels}, t.dtype, t.device);
        if (mask & kGradBias) db = empty({channels}, t.dtype, t.device);
        return call.results({dx, dw, db});
    }
    const Channels in(t, dtype);
    const ChannelShape& s = in.shape;
    TensorRef dense_grad = in.in_format(grad, dtype);
    const void *x = t.numel ? data_of(in.data) : nullptr, *g = t.numel ? data_of(dense_grad) : nullptr;
    const Doubles mean = load(&save_mean, channels, 0), rstd = load(&save_rstd, channels, 1);
    Doubles scale = load(weight, channels, 1), sums(scale.size(), 0.0), products(sums), slope(sums),
            offset(sums);
    if (mask & kGradInput) dx = empty_format(t.sizes, dtype, t.device, in.format);
    void* out = t.numel && dx ? data_of(dx) : nullptr;
    const double n = double(in.count());
    const auto set_slope = [&](size_t c) {
        scale[c] *= rstd[c];
        if (!training) return;
        slope[c] = products[c] * rstd[c] * rstd[c] / n;
        offset[c] = sums[c] / n;
    };
    const auto write = [&](int64_t b, int64_t e) {
        channel_gradient(dtype, s, g, x, mean.data(), slope.data(), offset.data(), scale.data(), out, b, e);
    };
    if (t.numel) {
        Unlocked unlocked(t.numel > kNnGrain);
        if (in.planes()) {
            in.each_channel([&](int64_t c) {
                channel_products(dtype, s, g, x, mean.data(), sums.data(), products.data(), c, c + 1);
                set_slope(size_t(c));
                if (out) in.planes_of(c, write);
            });
        } else {
            in.sum({&sums, &products}, [&](double* a, double* p, int64_t b, int64_t e) {
                column_products(dtype, s, g, x, mean.data(), a, p, b, e);
            });
            for (size_t c = 0; c < scale.size(); ++c) set_slope(c);
            if (out) in.map(write);
        }
    }
    if (dx) dx = cast(*dx, t.dtype);
    const DType param_dtype = weight ? weight->dtype : t.dtype;
    if (mask & kGradWeight) {
        if (t.numel)  // the deviation of nothing is NaN, a sum over nothing 0
            for (size_t c = 0; c < products.size(); ++c) products[c] *= rstd[c];
        dw = as_tensor(products, param_dtype);
    }
    if (mask & kGradBias) db = as_tensor(sums, param_dtype);
    return call.results({dx, dw, db});
}

}  // namespace

FLB_OPS({"native_layer_norm", row_norm<true>}, {"native_layer_norm_backward", row_norm_backward<true>},
        {"_rms_norm", row_norm<false>}, {"_rms_norm_backward", row_norm_backward<false>},
        {"_batch_norm", batch_norm}, {"native_batch_norm_backward", native_batch_norm_backward});

}  // namespace flb
