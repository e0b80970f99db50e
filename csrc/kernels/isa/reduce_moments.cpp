// Mean and second moment about it. Within a block two passes over data in cache; blocks are joined by the exact
// formula for the moments of a union. All in double: a float32 result is then right to the last bits.
#include "kernels/isa/reduce_loops.h"

namespace flb {
namespace FLB_ISA {

// n accumulators are n counts, n means, n second moments.
struct Moments {
    FLB_INLINE Moments(const void* acc, int64_t n)
        : count(static_cast<double*>(const_cast<void*>(acc))), mean(count + n), m2(mean + n) {}
    double* __restrict count;
    double* __restrict mean;
    double* __restrict m2;
};

void moments_fold(const void* loaded, int64_t n, int64_t, void* acc) {
    using V = Vec<double>::type;
    constexpr int lanes = Vec<double>::lanes;
    const double* x = static_cast<const double*>(loaded);
    const double mean = fold_values<AddOp>(x, n) / double(n);
    V a = {}, b = {}, mean_v;
    for (int k = 0; k < lanes; ++k) mean_v[k] = mean;
    int64_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
        const V d = load_vec(x + i) - mean_v, e = load_vec(x + i + lanes) - mean_v;
        a += d * d;
        b += e * e;
    }
    double lane[lanes];
    a += b;
    __builtin_memcpy(lane, &a, 64);
    for (; i < n; ++i) lane[i % lanes] += (x[i] - mean) * (x[i] - mean);
    for (int w = lanes / 2; w; w /= 2)
        for (int k = 0; k < w; ++k) lane[k] += lane[k + w];
    const Moments out(acc, 1);
    *out.count = double(n);
    *out.mean = mean;
    *out.m2 = lane[0];
}

void moments_fold_rows(const void* loaded, int64_t stride, int64_t rows, int64_t n, int64_t, void* acc) {
    const Moments out(acc, n);
    Monoid<AddOp, double>::fold_rows(loaded, stride, rows, n, 0, out.mean);
    for (int64_t j = 0; j < n; ++j) {
        out.count[j] = double(rows);
        out.mean[j] /= double(rows);
        out.m2[j] = 0;
    }
    for (int64_t r = 0; r < rows; ++r) {
        const double* __restrict x = row_at<double>(loaded, stride, r);
        for (int64_t j = 0; j < n; ++j) {
            const double d = x[j] - out.mean[j];
            out.m2[j] += d * d;
        }
    }
}

void moments_merge(void* acc, const void* later, int64_t n) {
    const Moments a(acc, n), b(later, n);
    for (int64_t j = 0; j < n; ++j) {
        const double count = a.count[j] + b.count[j], share = b.count[j] / count,
                     delta = b.mean[j] - a.mean[j];
        a.m2[j] += b.m2[j] + delta * delta * (a.count[j] * share);
        a.mean[j] += delta * share;
        a.count[j] = count;
    }
}

void moments_identity(void* acc, int64_t n) {
    const Moments out(acc, n);
    for (int64_t j = 0; j < n; ++j) {
        out.count[j] = out.m2[j] = 0;
        out.mean[j] = __builtin_nan("");
    }
}

template <class T>
const ReduceLoops* moments_loops_for() {
    static const ReduceLoops loops = {int(sizeof(T)),
                                      8,
                                      24,
                                      16,
                                      same<T, double>::value,
                                      load_elements<AsIs, T, double>,
                                      moments_fold,
                                      moments_fold_rows,
                                      moments_merge,
                                      moments_identity};
    return &loops;
}

const ReduceLoops* moments_loops(ReduceOp, DType dtype) {
    switch (dtype) {
        case DType::Float16: return moments_loops_for<Half>();
        case DType::BFloat16: return moments_loops_for<BFloat16>();
        case DType::Float32: return moments_loops_for<float>();
        case DType::Float64: return moments_loops_for<double>();
        default: return nullptr;
    }
}

FLB_REGISTER_KERNEL(reduce_moments_loops, &moments_loops);

}  // namespace FLB_ISA
}  // namespace flb
