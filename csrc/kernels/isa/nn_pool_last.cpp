// Pooling of channels-last data: vectors run over channels.
#include "kernels/isa/gather.h"
#include "kernels/isa/nn_sums.h"
#include "kernels/isa/vmath_core.h"
#include "kernels/pool_last_kernels.h"

namespace flb {
namespace FLB_ISA {

struct Pixel {
    int64_t batch, at[3];
    FLB_INLINE Pixel(const LastShape& s, int64_t p) {
        at[2] = p % s.out[2], p /= s.out[2];
        at[1] = p % s.out[1], p /= s.out[1];
        at[0] = p % s.out[0], batch = p / s.out[0];
    }
};
// Calls f(position in the plane) for the elements of a pixel's window, in order.
template <class F>
FLB_INLINE void over_window(const LastShape& s, const Pixel& o, F f) {
    for (int64_t a = 0; a < s.count[0][o.at[0]]; ++a)
        for (int64_t b = 0; b < s.count[1][o.at[1]]; ++b) {
            const int64_t row =
                (s.start[0][o.at[0]] + a * s.step[0]) * s.in[1] + s.start[1][o.at[1]] + b * s.step[1];
            const int64_t first = row * s.in[2] + s.start[2][o.at[2]];
            for (int64_t c = 0; c < s.count[2][o.at[2]]; ++c) f(first + c * s.step[2]);
        }
}
FLB_INLINE int64_t first_of(const LastShape& s, const Pixel& o) {
    return (s.start[0][o.at[0]] * s.in[1] + s.start[1][o.at[1]]) * s.in[2] + s.start[2][o.at[2]];
}

// M vectors of channels from c on.
template <class T, bool indexed, int M>
FLB_INLINE void max_channels(const LastShape& s, const Pixel& o, const T* in, int64_t c, T* out,
                             int64_t* index) {
    constexpr int L = kLanes<T>;
    using Places = decltype(Vector<T>() > Vector<T>());
    Vector<T> best[M];
    Places where[M];
    for (int m = 0; m < M; ++m) {
        best[m] = broadcast(Limits<T>::lowest);
        where[m] = Places{} + int32_t(first_of(s, o));
    }
    over_window(s, o, [&](int64_t at) __attribute__((always_inline)) {
        const T* x = in + at * s.channels + c;
        for (int m = 0; m < M; ++m) {
            const Vector<T> v = load(x + m * L);
            const auto take = (v > best[m]) | (v != v);
            best[m] = take ? v : best[m];
            if constexpr (indexed) where[m] = take ? Places{} + int32_t(at) : where[m];
        }
    });
    for (int m = 0; m < M; ++m) {
        store(out + m * L, best[m]);
        if constexpr (indexed)
            for (int i = 0; i < L; ++i) index[m * L + i] = where[m][i];
    }
}
template <class T, bool indexed>
void max_pixels(const LastShape& s, const T* in, T* out, int64_t* index, int64_t begin, int64_t end) {
    constexpr int L = kLanes<T>;
    for (int64_t p = begin; p < end; ++p) {
        const Pixel o(s, p);
        const T* x = in + o.batch * s.in_pixels() * s.channels;
        T* to = out + p * s.channels;
        int64_t* at = indexed ? index + p * s.channels : nullptr;
        int64_t c = 0;
        for (; c + 4 * L <= s.channels; c += 4 * L)
            max_channels<T, indexed, 4>(s, o, x, c, to + c, indexed ? at + c : nullptr);
        for (; c + L <= s.channels; c += L)
            max_channels<T, indexed, 1>(s, o, x, c, to + c, indexed ? at + c : nullptr);
        for (; c < s.channels; ++c) {
            T best = Limits<T>::lowest;
            int64_t where = first_of(s, o);
            over_window(s, o, [&](int64_t place) {
                const T v = x[place * s.channels + c];
                if (v > best || v != v) best = v, where = place;
            });
            to[c] = best;
            if constexpr (indexed) at[c] = where;
        }
    }
}
template <class T>
void max_of(const LastShape& s, const void* in, void* out, int64_t* index, int64_t begin, int64_t end) {
    if (index) max_pixels<T, true>(s, static_cast<const T*>(in), static_cast<T*>(out), index, begin, end);
    else max_pixels<T, false>(s, static_cast<const T*>(in), static_cast<T*>(out), index, begin, end);
}
void max_any(DType dtype, const LastShape& s, const void* in, void* out, int64_t* index, int64_t begin,
             int64_t end) {
    if (dtype == DType::Int64) max_of<int64_t>(s, in, out, index, begin, end);
    else FLB_FLOAT_OR_DOUBLE(dtype, max_of<T>(s, in, out, index, begin, end));
}

FLB_INLINE double divisor_of(const LastShape& s, const Pixel& o) {
    return s.divisor != 0 ? s.divisor : s.extent[0][o.at[0]] * s.extent[1][o.at[1]] * s.extent[2][o.at[2]];
}
template <class T, int M>
FLB_INLINE void mean_channels(const LastShape& s, const Pixel& o, const T* in, int64_t c, T divisor, T* out) {
    constexpr int L = kLanes<T>;
    Vector<T> sum[M] = {};
    over_window(s, o, [&](int64_t at) __attribute__((always_inline)) {
        const T* x = in + at * s.channels + c;
        for (int m = 0; m < M; ++m) sum[m] += load(x + m * L);
    });
    for (int m = 0; m < M; ++m) store(out + m * L, sum[m] / broadcast(divisor));
}
template <class T>
void mean_pixels(const LastShape& s, const T* in, T* out, int64_t begin, int64_t end) {
    constexpr int L = kLanes<T>;
    for (int64_t p = begin; p < end; ++p) {
        const Pixel o(s, p);
        const T* x = in + o.batch * s.in_pixels() * s.channels;
        T* to = out + p * s.channels;
        const T divisor = T(divisor_of(s, o));
        int64_t c = 0;
        for (; c + 4 * L <= s.channels; c += 4 * L) mean_channels<T, 4>(s, o, x, c, divisor, to + c);
        for (; c + L <= s.channels; c += L) mean_channels<T, 1>(s, o, x, c, divisor, to + c);
        for (; c < s.channels; ++c) {
            T sum = 0;
            over_window(s, o, [&](int64_t place) { sum += x[place * s.channels + c]; });
            to[c] = sum / divisor;
        }
    }
}
void mean_any(DType dtype, const LastShape& s, const void* in, void* out, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, mean_pixels(s, static_cast<const T*>(in), static_cast<T*>(out), begin, end));
}

template <class T>
void mean_back(const LastShape& s, const T* grad, T* grad_in, int64_t begin, int64_t end) {
    constexpr int L = kLanes<T>;
    for (int64_t b = begin; b < end; ++b) {
        T* plane = grad_in + b * s.in_pixels() * s.channels;
        __builtin_memset(plane, 0, size_t(s.in_pixels() * s.channels) * sizeof(T));
        for (int64_t p = b * s.out_pixels(); p < (b + 1) * s.out_pixels(); ++p) {
            const Pixel o(s, p);
            const T* g = grad + p * s.channels;
            const T divisor = T(divisor_of(s, o));
            int64_t c = 0;
            for (; c + L <= s.channels; c += L) {
                const Vector<T> share = load(g + c) / broadcast(divisor);
                over_window(s, o, [&](int64_t at) __attribute__((always_inline)) {
                    T* to = plane + at * s.channels + c;
                    store(to, load(to) + share);
                });
            }
            for (; c < s.channels; ++c) {
                const T share = g[c] / divisor;
                over_window(s, o, [&](int64_t at) { plane[at * s.channels + c] += share; });
            }
        }
    }
}
void mean_back_any(DType dtype, const LastShape& s, const void* grad, void* grad_in, int64_t begin,
                   int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype,
                        mean_back(s, static_cast<const T*>(grad), static_cast<T*>(grad_in), begin, end));
}

FLB_REGISTER_KERNEL(max_pool_last, &max_any);
FLB_REGISTER_KERNEL(avg_pool_last, &mean_any);
FLB_REGISTER_KERNEL(avg_pool_last_backward, &mean_back_any);

}  // namespace FLB_ISA
}  // namespace flb
