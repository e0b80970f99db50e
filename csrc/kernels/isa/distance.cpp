// Distances of pairs of points.
#include "kernels/distance_kernels.h"
#include "kernels/isa/nn_sums.h"
#include "kernels/isa/vmath_log.h"

namespace flb {
namespace FLB_ISA {

constexpr int64_t kPart = 256;

template <class T>
FLB_INLINE T distance(const T* a, const T* b, int64_t n, double p) {
    if (p == 2)
        return T(__builtin_sqrt(sum_mapped<T>(
            n, [](auto x, auto y) __attribute__((always_inline)) { return (x - y) * (x - y); }, a, b)));
    if (p == 1)
        return T(sum_mapped<T>(
            n,
            [](auto x, auto y) __attribute__((always_inline)) {
                const auto d = x - y;
                return d < 0 ? -d : d;
            },
            a, b));
    if (p == 0)
        return T(sum_mapped<T>(
            n,
            [](auto x, auto y) __attribute__((always_inline)) {
                const auto d = x - y;
                return d != 0 ? d * 0 + 1 : d * 0;
            },
            a, b));
    if (__builtin_isinf(p)) {
        T most = 0;
        for (int64_t i = 0; i < n; ++i) {
            const T d = __builtin_fabs(a[i] - b[i]);
            most = d > most || d != d ? d : most;
        }
        return most;
    }
    T powers[kPart];
    double total = 0;
    for (int64_t from = 0; from < n; from += kPart) {
        const int64_t count = n - from < kPart ? n - from : kPart;
        for (int64_t i = 0; i < count; ++i)
            powers[i] = vpow(T(__builtin_fabs(a[from + i] - b[from + i])), T(p));
        total += double(sum_block<T>(count, [](auto x) __attribute__((always_inline)) { return x; }, powers));
    }
    return vpow(T(total), T(1 / p));
}
// out[k] = the sum of f over the coordinates of a and of point k behind b, for as many points as a vector has lanes at most:
// the lanes of all sums are joined together.
template <class T, class F>
FLB_INLINE void sums_to_points(const T* a, const T* b, int64_t n, int64_t count, F f, T* out) {
    using V = typename Vec<T>::type;
    constexpr int lanes = Vec<T>::lanes, together = 4;
    V sums[lanes];
    for (int64_t k = 0; k < lanes; k += together) {
        if (k >= count) {
            for (int j = 0; j < together; ++j) sums[k + j] = V{};
            continue;
        }
        const T* p[together];
        V s[together] = {};
        for (int j = 0; j < together; ++j) p[j] = b + (k + j < count ? k + j : count - 1) * n;
        int64_t i = 0;
        for (; i + lanes <= n; i += lanes) {
            const V x = load_vec(a + i);
            for (int j = 0; j < together; ++j) s[j] += f(x, load_vec(p[j] + i));
        }
        if (i < n) {
            const V x = load_some(a + i, n - i, V{});
            for (int j = 0; j < together; ++j) s[j] += f(x, load_some(p[j] + i, n - i, V{}));
        }
        for (int j = 0; j < together; ++j) sums[k + j] = s[j];
    }
    JoinLanes<AddOp, T>::run(sums);
    if (count == lanes) __builtin_memcpy(out, sums, sizeof(V));
    else
        for (int64_t k = 0; k < count; ++k) out[k] = sums[0][k];
}
// Distances of a to `count` points behind b.
template <class T>
FLB_INLINE void distances_to(const T* a, const T* b, int64_t n, int64_t count, double p, T* out) {
    if ((p != 1 && p != 2) || n > kSumBlock) {
        for (int64_t j = 0; j < count; ++j) out[j] = distance(a, b + j * n, n, p);
        return;
    }
    constexpr int64_t lanes = Vec<T>::lanes;
    for (int64_t j = 0; j < count; j += lanes) {
        const int64_t some = count - j < lanes ? count - j : lanes;
        if (p == 2)
            sums_to_points(
                a, b + j * n, n, some,
                [](auto x, auto y) __attribute__((always_inline)) { return (x - y) * (x - y); }, out + j);
        else
            sums_to_points(
                a, b + j * n, n, some,
                [](auto x, auto y) __attribute__((always_inline)) {
                    const auto d = x - y;
                    return d < 0 ? -d : d;
                },
                out + j);
    }
    if (p == 2)
        for (int64_t j = 0; j < count; ++j) out[j] = vsqrt(out[j]);
}
template <class T>
void all_distances(const PointPairs& s, T* out, int64_t begin, int64_t end) {
    const T *a = static_cast<const T*>(s.a), *b = static_cast<const T*>(s.b);
    for (int64_t r = begin; r < end; ++r) {
        const int64_t batch = r / s.rows_a, i = r % s.rows_a;
        const int64_t first = s.first(i);
        distances_to(a + r * s.width, b + (batch * s.rows_b + first) * s.width, s.width, s.rows_b - first,
                     s.p, out + (s.triangle ? s.start(i) : r * s.rows_b));
    }
}
void distances_any(DType dtype, const PointPairs& s, void* out, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, all_distances(s, static_cast<T*>(out), begin, end));
}

// to += grad * (the slope of the distance in a).
template <class T>
FLB_INLINE void add_slope(const T* a, const T* b, int64_t n, double p, T grad, T found, T* __restrict to) {
    if (grad == 0 || p == 0 || (found == 0 && p != 1)) return;
    if (p == 2) {
        const T factor = grad / found;
        for (int64_t i = 0; i < n; ++i) to[i] += factor * (a[i] - b[i]);
    } else if (p == 1) {
        for (int64_t i = 0; i < n; ++i) {
            const T d = a[i] - b[i];
            to[i] += d > 0 ? grad : d < 0 ? -grad : T(0);
        }
    } else if (__builtin_isinf(p)) {
        for (int64_t i = 0; i < n; ++i) {
            const T d = a[i] - b[i];
            to[i] += d == found ? grad : d == -found ? -grad : T(0);
        }
    } else {
        const T factor = grad / vpow(found, T(p - 1));
        for (int64_t i = 0; i < n; ++i) {
            const T d = a[i] - b[i], power = vpow(T(__builtin_fabs(d)), T(p - 1));
            to[i] += d > 0 ? factor * power : d < 0 ? -factor * power : T(0);
        }
    }
}
template <class T>
void all_slopes(const PointPairs& s, const T* grad, const T* found, T* grad_a, int64_t begin, int64_t end) {
    const T *a = static_cast<const T*>(s.a), *b = static_cast<const T*>(s.b);
    for (int64_t r = begin; r < end; ++r) {
        const int64_t batch = r / s.rows_a, i = r % s.rows_a;
        for (int64_t j = 0; j < s.rows_b; ++j) {
            if (s.triangle && i == j) continue;
            const int64_t low = i < j ? i : j, high = i < j ? j : i;
            const int64_t at = s.triangle ? s.start(low) + high - low - 1 : r * s.rows_b + j;
            add_slope(a + r * s.width, b + (batch * s.rows_b + j) * s.width, s.width, s.p, grad[at],
                      found[at], grad_a + r * s.width);
        }
    }
}
void slopes_any(DType dtype, const PointPairs& s, const void* grad, const void* found, void* grad_a,
                int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, all_slopes(s, static_cast<const T*>(grad), static_cast<const T*>(found),
                                          static_cast<T*>(grad_a), begin, end));
}

FLB_REGISTER_KERNEL(distances, &distances_any);
FLB_REGISTER_KERNEL(distances_backward, &slopes_any);

}  // namespace FLB_ISA
}  // namespace flb
