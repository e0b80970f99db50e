// Windows of a single channel over a plane: vectors of neighbouring outputs.
#include "kernels/conv_kernels.h"

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

// Rows outputs below one another share nothing but the weights; their sums are independent.
template <class T, int Rows>
FLB_INLINE void plane_vectors(const ConvPlane& p, const T* frame, T* out, int64_t n, T bias) {
    using V = Vector<T>;
    const T* weights = static_cast<const T*>(p.weights);
    V sum[Rows];
    for (int i = 0; i < Rows; ++i) sum[i] = broadcast(bias);
    for (int64_t t = 0; t < p.taps; ++t) {
        const V w = broadcast(weights[t]);
        const T* x = frame + p.offsets[t];
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i) {
            const T* row = x + i * p.frame_row;
            sum[i] = multiply_add<T>(n == kLanes<T> ? load(row) : load_first<T>(row, n), w, sum[i]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) {
        if (n == kLanes<T>) store(out + i * p.out_row, sum[i]);
        else store_first(out + i * p.out_row, sum[i], n);
    }
}

template <class T>
void plane(const ConvPlane& p, T bias) {
    constexpr int64_t L = kLanes<T>;
    const T* frame = static_cast<const T*>(p.frame);
    T* out = static_cast<T*>(p.out);
    for (int64_t r = 0; r < p.rows;) {
        const int rows = p.rows - r >= 4 ? 4 : 1;
        for (int64_t c = 0; c < p.columns; c += L) {
            const int64_t n = p.columns - c < L ? p.columns - c : L;
            const T* from = frame + r * p.frame_row + c;
            T* to = out + r * p.out_row + c;
            if (rows == 4) {
                if (n == L) plane_vectors<T, 4>(p, from, to, L, bias);
                else plane_vectors<T, 4>(p, from, to, n, bias);
            } else {
                plane_vectors<T, 1>(p, from, to, n, bias);
            }
        }
        r += rows;
    }
}

void conv_plane_impl(DType type, const ConvPlane& p, double bias) {
    if (type == DType::Float64) plane<double>(p, bias);
    else plane<float>(p, float(bias));
}

// Taps [first, first + Taps) of the gradient of the weights.
template <class T, int Taps>
void plane_weight_taps(const ConvPlane& p, int64_t first, T* sums) {
    using V = Vector<T>;
    constexpr int64_t L = kLanes<T>;
    V sum[Taps] = {};
    for (int64_t r = 0; r < p.rows; ++r) {
        const T* g = static_cast<const T*>(p.out) + r * p.out_row;
        const T* x = static_cast<const T*>(p.frame) + r * p.frame_row;
        int64_t c = 0;
        for (; c + L <= p.columns; c += L) {
            const V y = load(g + c);
#pragma GCC unroll 9
            for (int t = 0; t < Taps; ++t)
                sum[t] = multiply_add<T>(load(x + c + p.offsets[first + t]), y, sum[t]);
        }
        if (c == p.columns) continue;
        const V y = load_first<T>(g + c, p.columns - c);
#pragma GCC unroll 9
        for (int t = 0; t < Taps; ++t)
            sum[t] = multiply_add<T>(load_first<T>(x + c + p.offsets[first + t], p.columns - c), y, sum[t]);
    }
    for (int t = 0; t < Taps; ++t) sums[first + t] += lane_sum<T>(sum[t]);
}

template <class T>
void plane_weight(const ConvPlane& p, T* sums) {
    for (int64_t t = 0; t < p.taps; t += 9)
        with_constant<9>(p.taps - t < 9 ? p.taps - t : 9,
                         [&](auto n) { plane_weight_taps<T, decltype(n)::value>(p, t, sums); });
}

void conv_plane_weight_impl(DType type, const ConvPlane& p, void* sums) {
    if (type == DType::Float64) plane_weight(p, static_cast<double*>(sums));
    else plane_weight(p, static_cast<float*>(sums));
}

FLB_REGISTER_KERNEL(conv_plane, &conv_plane_impl);
FLB_REGISTER_KERNEL(conv_plane_weight, &conv_plane_weight_impl);

}  // namespace FLB_ISA
}  // namespace flb
