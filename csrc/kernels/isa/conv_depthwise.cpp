// Depthwise convolutions with vectors of channels: see conv_depthwise.cpp.
#include "kernels/conv_kernels.h"

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

template <class T>
FLB_INLINE Vector<T> load_upto(const T* p, int64_t n) {
    return n >= kLanes<T> ? load(p) : load_first<T>(p, n);
}

// N neighbouring outputs, a vector of channels of each, of which n exist. In threes, an input is read once for three
// taps, and those outside [low, high) are left out.
template <class T, int N, bool kThrees>
FLB_INLINE void depthwise_vectors(const DepthwiseRow& row, int64_t low, int64_t high, const T* in,
                                  const T* weights, const T* bias, T* out, int64_t n) {
    using V = Vector<T>;
    V sum[N];
    const V start = bias ? load_upto(bias, n) : V{};
#pragma GCC unroll 14
    for (int i = 0; i < N; ++i) sum[i] = start;
    constexpr int kTaps = kThrees ? 3 : 1;
    for (int64_t t = 0; t < row.tap_count; t += kTaps) {
        V w[kTaps];
#pragma GCC unroll 3
        for (int k = 0; k < kTaps; ++k) w[k] = load_upto(weights + row.taps[t + k] * row.channels, n);
        const T* x = in + row.offsets[t];
#pragma GCC unroll 16
        for (int i = 0; i < N + kTaps - 1; ++i) {
            if (!kThrees || (i >= low && i < high)) {
                const V v = load_upto(x, n);
#pragma GCC unroll 3
                for (int k = 0; k < kTaps; ++k)
                    if (i - k >= 0 && i - k < N) add_product<T>(sum[i - k], v, w[k]);
            }
            x += row.input_step;
        }
    }
#pragma GCC unroll 14
    for (int i = 0; i < N; ++i) {
        T* to = out + i * row.output_step;
        if (n >= kLanes<T>) store(to, sum[i]);
        else store_first(to, sum[i], n);
    }
}

template <class T, int N, bool kThrees>
void depthwise_positions(const DepthwiseRow& row, int64_t first, const T* weights, const T* bias) {
    constexpr int L = kLanes<T>;
    const T* in = static_cast<const T*>(row.input) + first * row.input_step;
    T* out = static_cast<T*>(row.output) + first * row.output_step;
    const int64_t low = row.low - first, high = row.high - first;
    int64_t c = 0;
    for (; c + L <= row.channels; c += L)
        depthwise_vectors<T, N, kThrees>(row, low, high, in + c, weights + c, bias ? bias + c : nullptr,
                                         out + c, L);
    if (c < row.channels)
        depthwise_vectors<T, N, kThrees>(row, low, high, in + c, weights + c, bias ? bias + c : nullptr,
                                         out + c, row.channels - c);
}

template <class T>
void depthwise_row(const DepthwiseRow& row, const T* weights, const T* bias) {
    constexpr int64_t kMost = 14;
    const int64_t tiles = (row.positions + kMost - 1) / kMost;
    int64_t p = 0;
    for (int64_t t = 0; t < tiles; ++t) {
        const int64_t count = (row.positions - p + tiles - t - 1) / (tiles - t);
        with_constant<kMost>(count, [&](auto n) {
            if (row.threes) depthwise_positions<T, decltype(n)::value, true>(row, p, weights, bias);
            else depthwise_positions<T, decltype(n)::value, false>(row, p, weights, bias);
        });
        p += count;
    }
}

void conv_depthwise_row_impl(DType type, const DepthwiseRow& row, const void* weights, const void* bias) {
    if (type == DType::Float64)
        depthwise_row(row, static_cast<const double*>(weights), static_cast<const double*>(bias));
    else depthwise_row(row, static_cast<const float*>(weights), static_cast<const float*>(bias));
}

// Taps [first, first + Taps) of a vector of channels, of which n exist.
template <class T, int Taps>
FLB_INLINE void depthwise_weight_taps(const DepthwiseRow& row, int64_t first, const T* in, const T* grad,
                                      int64_t positions, T* sums, int64_t n) {
    using V = Vector<T>;
    V sum[Taps];
    int64_t offset[Taps];
#pragma GCC unroll 9
    for (int t = 0; t < Taps; ++t) {
        sum[t] = load_upto(sums + row.taps[first + t] * row.channels, n);
        offset[t] = row.offsets[first + t];
    }
    for (int64_t p = 0; p < positions; ++p) {
        const V y = load_upto(grad, n);
#pragma GCC unroll 9
        for (int t = 0; t < Taps; ++t) sum[t] = multiply_add<T>(load_upto(in + offset[t], n), y, sum[t]);
        in += row.input_step;
        grad += row.output_step;
    }
#pragma GCC unroll 9
    for (int t = 0; t < Taps; ++t) {
        T* to = sums + row.taps[first + t] * row.channels;
        if (n >= kLanes<T>) store(to, sum[t]);
        else store_first(to, sum[t], n);
    }
}

template <class T>
void depthwise_weight(const DepthwiseRow& row, T* sums) {
    constexpr int64_t kTaps = 9;
    constexpr int64_t kPositions = 16;  // whose channels stay in the first cache level
    constexpr int L = kLanes<T>;
    for (int64_t p = 0; p < row.positions; p += kPositions) {
        const int64_t positions = row.positions - p < kPositions ? row.positions - p : kPositions;
        const T* in = static_cast<const T*>(row.input) + p * row.input_step;
        const T* grad = static_cast<const T*>(row.output) + p * row.output_step;
        for (int64_t c = 0; c < row.channels; c += L)
            for (int64_t t = 0; t < row.tap_count; t += kTaps)
                with_constant<kTaps>(row.tap_count - t < kTaps ? row.tap_count - t : kTaps, [&](auto taps) {
                    constexpr int kCount = decltype(taps)::value;
                    if (row.channels - c >= L)
                        depthwise_weight_taps<T, kCount>(row, t, in + c, grad + c, positions, sums + c, L);
                    else
                        depthwise_weight_taps<T, kCount>(row, t, in + c, grad + c, positions, sums + c,
                                                         row.channels - c);
                });
    }
}

void conv_depthwise_weight_impl(DType type, const DepthwiseRow& row, void* sums) {
    if (type == DType::Float64) depthwise_weight(row, static_cast<double*>(sums));
    else depthwise_weight(row, static_cast<float*>(sums));
}

FLB_REGISTER_KERNEL(conv_depthwise_row, &conv_depthwise_row_impl);
FLB_REGISTER_KERNEL(conv_depthwise_weight, &conv_depthwise_weight_impl);

}  // namespace FLB_ISA
}  // namespace flb
