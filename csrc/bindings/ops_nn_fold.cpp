// What has windows but is neither mean nor maximum: columns added back into images, and maxima of windows at random places.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "bindings/nn_common.h"

namespace flb {
namespace {

// ---- fold and unfold -------------------------------------------------------------------------------------------------------

// Windows of planes: `area` elements of each of counts[0] * counts[1] windows make the rows of a matrix of columns.
struct Columns {
    Dims size, kernel, dilation, padding, stride;
    int64_t counts[2], area, windows;

    // The settings from parameter `first` on: kernel_size, dilation, padding, stride.
    Columns(const Call& call, const Dims& size, int first)
        : size(size),
          kernel(call.ints(first)),
          dilation(call.ints(first + 1)),
          padding(call.ints(first + 2)),
          stride(call.ints(first + 3)) {
        constexpr int64_t kLargest = int64_t(1) << 30;  // keeps all arithmetic on positions in range
        for (const Dims* d : {&this->size, &kernel, &dilation, &padding, &stride})
            call.check(d->size() == 2, "takes two numbers per setting, got ", str(*d));
        for (int i = 0; i < 2; ++i) {
            for (const Dims* d : {&this->size, &kernel, &dilation, &stride})
                call.check((*d)[i] > 0 && (*d)[i] < kLargest, "sizes must be positive and below 2^30, got ",
                           str(*d));
            call.check(padding[i] >= 0 && padding[i] < kLargest, "padding must not be negative, got ",
                       str(padding));
            const int64_t room = size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1;
            counts[i] = room < 0 ? 0 : room / stride[i] + 1;
        }
        area = kernel[0] * kernel[1];
        call.check(counts[0] > 0 && counts[1] > 0 && counts[0] < kLargest && counts[1] < kLargest,
                   "windows of ", str(kernel), " do not fit an image of size ", str(size));
        windows = counts[0] * counts[1];
    }
    // Calls f(columns, pixels, n, step) for the runs of a plane: columns[j] belongs to pixels[j * step].
    template <class T, class F>
    void over_plane(T* columns, F f) const {
        for (int64_t k = 0; k < area; ++k) {
            const int64_t down = k / kernel[1] * dilation[0] - padding[0],
                          right = k % kernel[1] * dilation[1] - padding[1];
            // Columns of windows whose element k lies inside.
            int64_t first = right < 0 ? (-right + stride[1] - 1) / stride[1] : 0;
            const int64_t last =
                right >= size[1] ? 0 : std::min(counts[1], (size[1] - 1 - right) / stride[1] + 1);
            first = std::min(first, last);
            for (int64_t i = 0; i < counts[0]; ++i) {
                const int64_t y = i * stride[0] + down;
                T* row = columns + (k * counts[0] + i) * counts[1];
                const bool inside = y >= 0 && y < size[0];
                f(row, inside ? first : 0, inside ? last : 0, y * size[1] + right);
            }
        }
    }
};

PyObject* fold(
    Call& call) {  // input (N, C * k0 * k1, L), output_size, kernel_size, dilation, padding, stride
    Tensor& t = call.tensor(0);
    const Columns c(call, call.ints(1), 2);
    call.check(t.ndim() == 3 && t.sizes[1] % c.area == 0 && t.sizes[2] == c.windows, "columns of shape ",
               str(t.sizes), " do not fit an output of size ", str(c.size), " with ", c.counts[0], " x ",
               c.counts[1], " windows of ", str(c.kernel));
    const Dims sizes{t.sizes[0], t.sizes[1] / c.area, c.size[0], c.size[1]};
    checked_numel(sizes);
    if (t.is_meta()) return empty(sizes, t.dtype, t.device).release();
    const auto add = [&](auto tag, DType dtype) {
        using T = typename decltype(tag)::type;
        TensorRef out = empty(sizes, dtype);
        fill(*out, Scalar(0.0));
        if (!out->numel) return out;
        TensorRef x = dense(t, dtype);
        const T* in = data_of<T>(x);
        T* to = data_of<T>(out);
        const int64_t step = c.stride[1];
        Unlocked unlocked(t.numel > kNnGrain);
        parallel_for(0, sizes[0] * sizes[1], grain_for(c.area * c.windows), [&](int64_t begin, int64_t end) {
            for (int64_t p = begin; p < end; ++p) {
                T* plane = to + p * c.size[0] * c.size[1];
                c.over_plane(in + p * c.area * c.windows,
                             [&](const T* from, int64_t first, int64_t last, int64_t at) {
                                 if (step == 1)
                                     for (int64_t j = first; j < last; ++j)
                                         plane[at + j] = plane[at + j] + from[j];
                                 else
                                     for (int64_t j = first; j < last; ++j)
                                         plane[at + j * step] = plane[at + j * step] + from[j];
                             });
            }
        });
        return out;
    };
    if (t.dtype == DType::Complex128) return add(Type<Complex<double>>{}, t.dtype).release();
    if (is_complex(t.dtype)) return cast(*add(Type<Complex<float>>{}, DType::Complex64), t.dtype).release();
    if (t.dtype == DType::Bool) return cast(*add(Type<float>{}, DType::Float32), t.dtype).release();
    const DType dtype = compute_dtype(call, t);
    TensorRef out = dtype == DType::Float32 ? add(Type<float>{}, dtype) : add(Type<double>{}, dtype);
    return cast(*out, t.dtype).release();
}

PyObject* unfold(Call& call) {  // input (N, C, H, W), kernel_size, dilation, padding, stride
    Tensor& t = call.tensor(0);
    call.check(t.ndim() == 4, "takes (N, C, H, W), got ", str(t.sizes));
    const Columns c(call, {t.sizes[2], t.sizes[3]}, 1);
    int64_t rows;
    call.check(!__builtin_mul_overflow(t.sizes[1], c.area, &rows), "windows of ", str(c.kernel),
               " are too large");
    const Dims sizes{t.sizes[0], rows, c.windows};
    checked_numel(sizes);
    if (t.is_meta()) return empty(sizes, t.dtype, t.device).release();
    TensorRef out = empty(sizes, t.dtype);
    if (!out->numel) return out.release();
    TensorRef x = contiguous(t);
    visit_width(t.dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        const T* in = reinterpret_cast<const T*>(kernel_pointer(*x));
        T* to = reinterpret_cast<T*>(kernel_pointer(*out));
        const int64_t step = c.stride[1];
        Unlocked unlocked(out->numel > kNnGrain);
        parallel_for(
            0, sizes[0] * t.sizes[1], grain_for(c.area * c.windows), [&](int64_t begin, int64_t end) {
                for (int64_t p = begin; p < end; ++p) {
                    const T* plane = in + p * c.size[0] * c.size[1];
                    c.over_plane(to + p * c.area * c.windows, [&](T* row, int64_t first, int64_t last,
                                                                  int64_t at) {
                        for (int64_t j = 0; j < first; ++j) row[j] = T{};
                        if (step == 1 && last > first)
                            std::memcpy(row + first, plane + at + first, size_t(last - first) * sizeof(T));
                        else
                            for (int64_t j = first; j < last; ++j) row[j] = plane[at + j * step];
                        for (int64_t j = last; j < c.counts[1]; ++j) row[j] = T{};
                    });
                }
            });
    });
    return out.release();
}

// ---- windows at random places ------------------------------------------------------------------------------------------------

int64_t whole(double x) { return x > -1e15 && x < 1e15 ? int64_t(x) : 0; }

// Where `out` windows of `kernel` elements start, from one draw; arithmetic in the dtype of the draws, as in PyTorch.
template <class S>
void random_starts(S draw, int64_t in, int64_t out, int64_t kernel, int64_t* start) {
    if (out > 1) {
        const auto number = [&](int64_t n) {
            if constexpr (std::is_same_v<S, double>) return double(n);
            else return S(float(n));
        };
        S alpha, shift;
        if constexpr (std::is_same_v<S, double>) {
            alpha = double(in - kernel) / double(out - 1), shift = draw * alpha;
        } else {
            alpha = S(float(number(in - kernel)) / float(number(out - 1)));
            shift = S(float(draw) * float(alpha));
        }
        for (int64_t i = 0; i < out - 1; ++i) {
            S at;
            if constexpr (std::is_same_v<S, double>) at = (number(i) + draw) * alpha;
            else at = S(float(S(float(number(i)) + float(draw))) * float(alpha));
            start[i] = whole(double(at)) - whole(double(shift));
        }
    }
    start[out - 1] = in - kernel;
}

// input, kernel_size, output_size, samples (batch, channels, dimensions): one draw per plane and dimension
PyObject* fractional_max_pool(Call& call) {
    Tensor &t = call.tensor(0), &samples = call.tensor(3);
    const Dims kernel = call.ints(1), output = call.ints(2);
    const int n = kernel.size();
    call.check((n == 2 || n == 3) && output.size() == n, "takes two or three sizes, got kernel_size ",
               str(kernel), " and output_size ", str(output));
    bool fits = t.ndim() == n + 1 || t.ndim() == n + 2;
    for (int i = t.ndim() - n - 1; fits && i < t.ndim(); ++i) fits = t.sizes[i] > 0;
    call.check(fits, "Expected non-empty ", n + 1, "D or ", n + 2,
               "D tensor for input, but got: ", str(t.sizes));
    int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, window[3] = {1, 1, 1};
    int64_t plane = 1;
    for (int i = 0; i < n; ++i) {
        const int k = 3 - n + i;
        in[k] = t.sizes[t.ndim() - n + i], out[k] = output[i], window[k] = kernel[i];
        call.check(window[k] > 0 && out[k] > 0, "kernel_size and output_size must be greater than zero, got ",
                   str(kernel), " and ", str(output));
        call.check(window[k] <= in[k] && out[k] <= in[k] - window[k] + 1, "kernel_size ", str(kernel),
                   " and output_size ", str(output), " are too large for an input of size ", str(t.sizes));
        plane *= in[k];
    }
    const int64_t batch = t.ndim() == n + 2 ? t.sizes[0] : 1, channels = t.sizes[t.ndim() - n - 1];
    check(samples.dtype == t.dtype, "Expect _random_samples to have the same dtype as input");
    // Of an input without batch the first draws count.
    call.check(samples.ndim() == 3 && samples.sizes[1] == channels && samples.sizes[2] == n &&
                   (t.ndim() == n + 2 ? samples.sizes[0] == batch : samples.sizes[0] >= 1),
               "Expect _random_samples of shape ", str(Dims({batch, channels, n})), ", but got ",
               str(samples.sizes));
    Dims sizes = t.sizes;
    for (int i = 0; i < n; ++i) sizes[t.ndim() - n + i] = output[i];
    if (t.is_meta())
        return call.results({empty(sizes, t.dtype, t.device), empty(sizes, DType::Int64, t.device)});
    const DType dtype = compute_dtype(call, t);
    TensorRef result = empty(sizes, dtype), index = empty(sizes, DType::Int64);
    if (!result->numel) return call.results({cast(*result, t.dtype), index});
    TensorRef x = dense(t, dtype), draws = contiguous(samples);
    const int64_t planes = batch * channels;
    std::vector<int64_t> starts[3];
    for (int k = 0; k < 3; ++k) starts[k].assign(size_t(planes * out[k]), 0);
    visit(t.dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        if constexpr (std::is_same_v<S, float> || std::is_same_v<S, double> || std::is_same_v<S, Half> ||
                      std::is_same_v<S, BFloat16>)
            for (int64_t p = 0; p < planes; ++p)
                for (int i = 0; i < n; ++i) {
                    // Planes have the draw of the width first, volumes that of the depth.
                    const int k = n == 2 ? 2 - i : i;
                    random_starts<S>(data_of<S>(draws)[p * n + i], in[k], out[k], window[k],
                                     starts[k].data() + p * out[k]);
                }
    });
    for (int k = 0; k < 3; ++k)  // a draw outside of [0, 1) might lead anywhere
        for (int64_t& start : starts[k]) start = std::clamp(start, int64_t(0), in[k] - window[k]);
    const auto find = [&](auto tag) {
        using T = typename decltype(tag)::type;
        const T* from = data_of<T>(x);
        T* to = data_of<T>(result);
        int64_t* at = data_of<int64_t>(index);
        Unlocked unlocked(t.numel > kNnGrain);
        parallel_for(0, planes, grain_for(plane), [&](int64_t begin, int64_t end) {
            for (int64_t p = begin; p < end; ++p) {
                const T* values = from + p * plane;
                int64_t o = p * out[0] * out[1] * out[2];
                for (int64_t a = 0; a < out[0]; ++a)
                    for (int64_t b = 0; b < out[1]; ++b)
                        for (int64_t c = 0; c < out[2]; ++c, ++o) {
                            const int64_t first[3] = {starts[0][p * out[0] + a], starts[1][p * out[1] + b],
                                                      starts[2][p * out[2] + c]};
                            int64_t where = (first[0] * in[1] + first[1]) * in[2] + first[2];
                            T best = -INFINITY;
                            for (int64_t i = 0; i < window[0]; ++i)
                                for (int64_t j = 0; j < window[1]; ++j)
                                    for (int64_t k = 0; k < window[2]; ++k) {
                                        const int64_t place =
                                            ((first[0] + i) * in[1] + first[1] + j) * in[2] + first[2] + k;
                                        const T v = values[place];
                                        if (v > best || v != v) best = v, where = place;
                                    }
                            to[o] = best;
                            at[o] = where;
                        }
            }
        });
    };
    if (dtype == DType::Float32) find(Type<float>{});
    else find(Type<double>{});
    return call.results({cast(*result, t.dtype), index});
}

}  // namespace

FLB_OPS({"_fold", fold}, {"_unfold", unfold}, {"_fractional_max_pool", fractional_max_pool});

}  // namespace flb
