// Products without packing, along rows of both operands: few rows of A, and inner products.
#include "kernels/gemm_kernels.h"

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

// Rows x Columns sums at once: every load is used several times.
template <class S, class T, int Rows, int Columns>
[[gnu::noinline]] void dot_tile(const GemmDots& g, const S* a, const S* b, T* c) {
    using V = Vector<T>;
    constexpr int L = kLanes<T>;
    V sum[Rows][Columns] = {};
    const auto step = [&](auto read, int64_t k) {
        V x[Rows];
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i) x[i] = read(a + i * g.a_stride + k);
#pragma GCC unroll 8
        for (int j = 0; j < Columns; ++j) {
            const V y = read(b + j * g.b_stride + k);
#pragma GCC unroll 4
            for (int i = 0; i < Rows; ++i) sum[i][j] = multiply_add<T>(x[i], y, sum[i][j]);
        }
    };
    int64_t k = 0;
    for (; k + L <= g.k; k += L) step([](const S* p) { return load_as<T>(p); }, k);
    if (k < g.k) step([n = g.k - k](const S* p) { return load_first<T>(p, n); }, k);
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Columns; ++j) {
            T& to = c[i * g.ldc + j];
            const T total = lane_sum<T>(sum[i][j]);
            to = g.accumulate ? total + to : total;
        }
}

// As many columns as the registers hold sums for.
constexpr int dot_columns(int rows) {
#if defined(__AVX512F__) || defined(__aarch64__)
    return rows <= 3 ? 8 : 6;
#else
    return rows == 1 ? 8 : rows <= 3 ? 4 : 3;
#endif
}

template <class S, class T>
void dots(const GemmDots& g) {
    constexpr int kRows = 4;
    for (int64_t i = 0; i < g.m;) {
        // Nearly equal parts: five rows are three and two.
        const int64_t parts = (g.m - i + kRows - 1) / kRows, rows = (g.m - i + parts - 1) / parts;
        with_constant<kRows>(rows, [&](auto r) {
            constexpr int kCount = decltype(r)::value, kColumns = dot_columns(kCount);
            const S* a = static_cast<const S*>(g.a) + i * g.a_stride;
            T* c = static_cast<T*>(g.c) + i * g.ldc;
            for (int64_t j = 0; j < g.n; j += kColumns)
                with_constant<kColumns>(g.n - j < kColumns ? g.n - j : kColumns, [&](auto columns) {
                    dot_tile<S, T, kCount, decltype(columns)::value>(
                        g, a, static_cast<const S*>(g.b) + j * g.b_stride, c + j);
                });
        });
        i += rows;
    }
}

void gemm_dots_impl(DType type, const GemmDots& g) {
    switch (type) {
        case DType::Float16: return dots<Half, float>(g);
        case DType::BFloat16: return dots<BFloat16, float>(g);
        case DType::Float64: return dots<double, double>(g);
        default: return dots<float, float>(g);
    }
}

template <class S, class T>
struct Widen {
    static FLB_INLINE T of(S x) { return T(x); }
};
template <>
struct Widen<Half, float> {
    static FLB_INLINE float of(Half x) { return half_to_float(x.bits); }
};

// Sixteen running sums, added pairwise at the end.
template <class T, class A>
void dot_real(int64_t n, const void* x_data, int64_t x_step, const void* y_data, int64_t y_step, void* sum) {
    constexpr int kSums = kVectorBytes / int(sizeof(A)) * 4;
    const T* x = static_cast<const T*>(x_data);
    const T* y = static_cast<const T*>(y_data);
    A partial[kSums] = {};
    int64_t i = 0;
    if (x_step == 1 && y_step == 1) {
        for (; i + kSums <= n; i += kSums)
            for (int j = 0; j < kSums; ++j)
                partial[j] += A(Widen<T, A>::of(x[i + j]) * Widen<T, A>::of(y[i + j]));
    }
    for (; i < n; ++i)
        partial[i % kSums] += A(Widen<T, A>::of(x[i * x_step]) * Widen<T, A>::of(y[i * y_step]));
    for (int width = kSums / 2; width; width /= 2)
        for (int j = 0; j < width; ++j) partial[j] += partial[j + width];
    std::memcpy(sum, &partial[0], sizeof(A));
}

template <class T, class R>
void dot_complex(int64_t n, const void* x_data, int64_t x_step, const void* y_data, int64_t y_step,
                 bool conjugate_x, void* sum) {
    constexpr int kSums = 16;
    const R sign = conjugate_x ? R(-1) : R(1);
    const Complex<T>* x = static_cast<const Complex<T>*>(x_data);
    const Complex<T>* y = static_cast<const Complex<T>*>(y_data);
    R re[kSums] = {}, im[kSums] = {};
    for (int64_t i = 0; i < n; i += kSums) {
        const int count = n - i < kSums ? int(n - i) : kSums;
        for (int j = 0; j < count; ++j) {
            const Complex<T> p = x[(i + j) * x_step], q = y[(i + j) * y_step];
            const R a = R(p.re), b = sign * R(p.im), c = R(q.re), d = R(q.im);
            re[j] += a * c - b * d;
            im[j] += a * d + b * c;
        }
    }
    for (int width = kSums / 2; width; width /= 2)
        for (int j = 0; j < width; ++j) {
            re[j] += re[j + width];
            im[j] += im[j + width];
        }
    *static_cast<Complex<R>*>(sum) = {re[0], im[0]};
}

void dot_product_impl(DType type, int64_t n, const void* x, int64_t xs, const void* y, int64_t ys,
                      bool conjugate_x, void* sum) {
    switch (type) {
        case DType::Float32: return dot_real<float, float>(n, x, xs, y, ys, sum);
        case DType::Float64: return dot_real<double, double>(n, x, xs, y, ys, sum);
        case DType::Float16: return dot_real<Half, float>(n, x, xs, y, ys, sum);
        case DType::BFloat16: return dot_real<BFloat16, float>(n, x, xs, y, ys, sum);
        case DType::Complex32: return dot_complex<Half, float>(n, x, xs, y, ys, conjugate_x, sum);
        case DType::Complex64: return dot_complex<float, float>(n, x, xs, y, ys, conjugate_x, sum);
        case DType::Complex128: return dot_complex<double, double>(n, x, xs, y, ys, conjugate_x, sum);
        default: break;
    }
    // Signs do not matter: the sum is right modulo 2^64, and so in any narrower type.
    switch (itemsize(type)) {
        case 1: return dot_real<uint8_t, uint64_t>(n, x, xs, y, ys, sum);
        case 2: return dot_real<uint16_t, uint64_t>(n, x, xs, y, ys, sum);
        case 4: return dot_real<uint32_t, uint64_t>(n, x, xs, y, ys, sum);
        default: return dot_real<uint64_t, uint64_t>(n, x, xs, y, ys, sum);
    }
}

FLB_REGISTER_KERNEL(gemm_dots, &gemm_dots_impl);
FLB_REGISTER_KERNEL(dot_product, &dot_product_impl);

}  // namespace FLB_ISA
}  // namespace flb
