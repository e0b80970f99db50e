#include "kernels/blas.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/amx_float.h"
#include "kernels/bfloat16_gemm.h"
#include "kernels/openblas.h"
#include "kernels/packed_gemm.h"

namespace flb {

FLB_DEFINE_KERNEL(dot_product);

namespace {

bool transposed(Trans t) { return t == Trans::Yes || t == Trans::ConjYes; }
bool fits(int64_t x) { return x <= INT_MAX; }
double work(int64_t m, int64_t n, int64_t k) { return double(m) * double(n) * double(k); }

const char* at(const void* p, int64_t index, DType type) {
    return static_cast<const char*>(p) + index * itemsize(type);
}
char* at(void* p, int64_t index, DType type) { return static_cast<char*>(p) + index * itemsize(type); }

PanelType panel_type(DType type) {
    switch (type) {
        case DType::Float16:
        case DType::BFloat16:
        case DType::Float32: return PanelType::F32;
        case DType::Float64: return PanelType::F64;
        default: break;
    }
    switch (itemsize(type)) {
        case 1:
        case 2: return PanelType::I16;
        case 4: return PanelType::I32;
        default: return PanelType::I64;
    }
}

// ---- our own product ------------------------------------------------------------------------------------------------

GemmSide side_of_a(const MatrixIn& a) {
    return transposed(a.trans) ? GemmSide{a.data, 1, a.ld} : GemmSide{a.data, a.ld, 1};
}
GemmSide side_of_b(const MatrixIn& b) {
    return transposed(b.trans) ? GemmSide{b.data, b.ld, 1} : GemmSide{b.data, 1, b.ld};
}

// From this many multiplications on, packing for the instructions that multiply bfloat16 pays.
constexpr double kLeastNarrowWork = 32 * 32 * 32;

// Up to this many rows of A, products along the rows of both operands beat packing (measured).
int64_t most_dot_rows(int64_t k) { return k >= 256 ? 16 : 8; }

// c = a * b (+ c) where the operands' elements are neighbours along k: pieces of columns for the threads.
void dot_rows(DType type, int64_t m, int64_t n, int64_t k, const GemmSide& a, const GemmSide& b, void* c,
              int64_t ldc, bool accumulate) {
    const int64_t piece = round_up(std::max(int64_t(1), 32768 / k), 24), pieces = ceil_div(n, piece);
    const int64_t size = panel_itemsize(panel_type(type));
    const bool serial = work(m, n, k) < kParallelProduct / 8;
    parallel_for(0, pieces, serial ? pieces : 1, [&](int64_t begin, int64_t end) {
        const int64_t j = begin * piece;
        gemm_dots(type, {m, std::min(end * piece, n) - j, k, a.data, a.stride, at(b.data, j * b.stride, type),
                         b.stride, static_cast<char*>(c) + j * size, ldc, accumulate});
    });
}

// The product in the panels' type.
void own_product(DType type, int64_t m, int64_t n, int64_t k, const MatrixIn& a, const MatrixIn& b, void* c,
                 int64_t ldc, bool accumulate) {
    GemmSide x = side_of_a(a), y = side_of_b(b);
    if (is_floating(type)) {
        // A column is computed as a row: of the few rows, the elements are then neighbours in memory.
        if (n == 1 && (ldc == 1 || m == 1)) {
            std::swap(x, y);
            std::swap(m, n);
            ldc = n;
        }
        if (m == 1 && x.k_stride != 1 && k > 1) {
            char* row = static_cast<char*>(scratch(Scratch::Columns, size_t(k * itemsize(type))));
            for (int64_t i = 0; i < k; ++i)
                std::memcpy(at(row, i, type), at(x.data, i * x.k_stride, type), size_t(itemsize(type)));
            x = {row, k, 1};
        }
        if (m <= most_dot_rows(k) && x.k_stride == 1 && y.k_stride == 1)
            return dot_rows(type, m, n, k, x, y, c, ldc, accumulate);
        if (type == DType::Float32 && amx_float_pays(m, n, k, x, y))
            return amx_float_gemm(m, n, k, x, y, static_cast<float*>(c), ldc, accumulate);
    }
    packed_gemm(panel_type(type), type, m, n, k, x, y, c, ldc, accumulate);
}

void own_gemm(DType type, int64_t m, int64_t n, int64_t k, const BlasScalar& alpha, MatrixIn a, MatrixIn b,
              const BlasScalar& beta, void* c, int64_t ldc) {
    const bool integral = is_integral(type);
    const bool plain = integral ? alpha.integer == 1 && (beta.integer == 0 || beta.integer == 1)
                                : alpha.value.re == 1 && (beta.value.re == 0 || beta.value.re == 1);
    if (plain && itemsize(type) == panel_itemsize(panel_type(type))) {
        own_product(type, m, n, k, a, b, c, ldc, integral ? beta.integer == 1 : beta.value.re == 1);
        return;
    }
    const GemmScale scale{{alpha.value.re, beta.value.re}, {alpha.integer, beta.integer}};
    if (type == DType::BFloat16 && m > most_dot_rows(0) && n > 1 && work(m, n, k) > kLeastNarrowWork &&
        bfloat16_gemm_available())
        return bfloat16_gemm(m, n, k, scale, side_of_a(a), side_of_b(b), c, ldc);
    // The product in the panels' type first, a band of rows at a time; then scaled, added and rounded once.
    constexpr int64_t kBandBytes = 8 << 20;
    const int64_t size = panel_itemsize(panel_type(type));
    const int64_t band = std::min(m, std::max(int64_t(240), kBandBytes / (n * size)));
    char* product = static_cast<char*>(scratch(Scratch::Product, size_t(band * n * size)));
    for (int64_t i = 0; i < m; i += band) {
        const int64_t rows = std::min(band, m - i);
        MatrixIn part = a;
        part.data = at(a.data, transposed(a.trans) ? i : i * a.ld, type);
        own_product(type, rows, n, k, part, b, product, n, false);
        parallel_for(0, rows, std::max(int64_t(1), 65536 / n), [&](int64_t begin, int64_t end) {
            gemm_finish(type, end - begin, n, product + begin * n * size, n, scale,
                        at(c, (i + begin) * ldc, type), ldc);
        });
    }
}

// c = beta * c, for an empty sum.
void scale_only(DType type, int64_t m, int64_t n, const BlasScalar& beta, void* c, int64_t ldc) {
    const bool zero = is_integral(type) ? beta.integer == 0 : beta.value.re == 0 && beta.value.im == 0;
    for (int64_t i = 0; i < m; ++i) {
        char* row = at(c, i * ldc, type);
        if (zero) {
            std::memset(row, 0, size_t(n) * itemsize(type));
        } else {
            visit(type, [&](auto t) {
                using T = typename decltype(t)::type;
                T* x = reinterpret_cast<T*>(row);
                if constexpr (std::is_same_v<T, Complex<float>> || std::is_same_v<T, Complex<double>>) {
                    using R = decltype(T::re);
                    for (int64_t j = 0; j < n; ++j) x[j] = x[j] * T{R(beta.value.re), R(beta.value.im)};
                } else if constexpr (std::is_integral_v<T>) {
                    for (int64_t j = 0; j < n; ++j) x[j] = T(uint64_t(x[j]) * uint64_t(beta.integer));
                } else if constexpr (std::is_same_v<T, double>) {
                    for (int64_t j = 0; j < n; ++j) x[j] *= beta.value.re;
                } else if constexpr (!std::is_same_v<T, Complex<Half>>) {
                    for (int64_t j = 0; j < n; ++j) x[j] = T(float(x[j]) * float(beta.value.re));
                }
            });
        }
    }
}

// ---- through OpenBLAS -----------------------------------------------------------------------------------------------

int cblas_trans(Trans t) {
    switch (t) {
        case Trans::No: return kNoTrans;
        case Trans::Yes: return kTrans;
        case Trans::Conj: return kConjNoTrans;
        default: return kConjTrans;
    }
}

// One call; every size fits an int.
void blas_gemm(DType type, int64_t m, int64_t n, int64_t k, const BlasScalar& alpha, const MatrixIn& a,
               const MatrixIn& b, const BlasScalar& beta, void* c, int64_t ldc) {
    const OpenBlas& blas = openblas();
    const int ta = cblas_trans(a.trans), tb = cblas_trans(b.trans);
    const int im = int(m), in = int(n), ik = int(k), lda = int(a.ld), ldb = int(b.ld), ld = int(ldc);
    switch (type) {
        case DType::Complex64: {
            const float fa[2] = {float(alpha.value.re), float(alpha.value.im)};
            const float fb[2] = {float(beta.value.re), float(beta.value.im)};
            blas.cgemm(kRowMajor, ta, tb, im, in, ik, fa, a.data, lda, b.data, ldb, fb, c, ld);
            break;
        }
        default:
            blas.zgemm(kRowMajor, ta, tb, im, in, ik, &alpha.value, a.data, lda, b.data, ldb, &beta.value, c,
                       ld);
    }
}

// Tiles that depend on the shape alone, so that the bits do not depend on the number of threads.
void complex_gemm(DType type, int64_t m, int64_t n, int64_t k, const BlasScalar& alpha, MatrixIn a,
                  MatrixIn b, const BlasScalar& beta, void* c, int64_t ldc) {
    constexpr int64_t kTile = 256, kDepth = 1 << 20;
    const int64_t columns = ceil_div(n, kTile);
    const int64_t tiles = ceil_div(m, kTile) * columns;
    check(fits(a.ld) && fits(b.ld) && fits(ldc),
          "matrix products of complex numbers take rows at most 2^31 - 1 elements ", "apart, got ", a.ld,
          ", ", b.ld, " and ", ldc);
    const int64_t grain = work(m, n, k) < kParallelProduct / 4 ? tiles : 1;
    parallel_for(0, tiles, grain, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
            const int64_t i = t / columns * kTile, j = t % columns * kTile;
            for (int64_t p = 0; p < k; p += kDepth) {
                MatrixIn pa = a, pb = b;
                pa.data = at(a.data, transposed(a.trans) ? p * a.ld + i : i * a.ld + p, type);
                pb.data = at(b.data, transposed(b.trans) ? j * b.ld + p : p * b.ld + j, type);
                blas_gemm(type, std::min(kTile, m - i), std::min(kTile, n - j), std::min(kDepth, k - p),
                          alpha, pa, pb, p ? BlasScalar(1) : beta, at(c, i * ldc + j, type), ldc);
            }
        }
    });
}

// complex32 goes through complex64.
void half_complex_gemm(int64_t m, int64_t n, int64_t k, const BlasScalar& alpha, MatrixIn a, MatrixIn b,
                       const BlasScalar& beta, void* c, int64_t ldc) {
    using C32 = Complex<Half>;
    using C64 = Complex<float>;
    auto widen = [](const void* p, int64_t rows, int64_t cols, int64_t ld) {
        std::vector<C64> out(size_t(rows * cols));
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < cols; ++j) {
                const C32 x = static_cast<const C32*>(p)[i * ld + j];
                out[i * cols + j] = {float(x.re), float(x.im)};
            }
        return out;
    };
    const int64_t ra = transposed(a.trans) ? k : m, ca = transposed(a.trans) ? m : k;
    const int64_t rb = transposed(b.trans) ? n : k, cb = transposed(b.trans) ? k : n;
    const std::vector<C64> wa = widen(a.data, ra, ca, a.ld), wb = widen(b.data, rb, cb, b.ld);
    const bool zero = beta.value.re == 0 && beta.value.im == 0;
    std::vector<C64> wc = zero ? std::vector<C64>(size_t(m * n)) : widen(c, m, n, ldc);
    complex_gemm(DType::Complex64, m, n, k, alpha, {wa.data(), ca, a.trans}, {wb.data(), cb, b.trans}, beta,
                 wc.data(), n);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            const C64 x = wc[i * n + j];
            static_cast<C32*>(c)[i * ldc + j] = {Half(x.re), Half(x.im)};
        }
}

}  // namespace

void gemm(DType type, int64_t m, int64_t n, int64_t k, BlasScalar alpha, MatrixIn a, MatrixIn b,
          BlasScalar beta, void* c, int64_t ldc) {
    check_as(ErrorKind::NotImplemented, type != DType::Bool,
             "\"addmm_impl_cpu_\" not implemented for 'Bool'");
    if (m == 0 || n == 0) return;
    if (k == 0) return scale_only(type, m, n, beta, c, ldc);
    if (is_complex(type)) {
        if (type == DType::Complex32) return half_complex_gemm(m, n, k, alpha, a, b, beta, c, ldc);
        return complex_gemm(type, m, n, k, alpha, a, b, beta, c, ldc);
    }
    own_gemm(type, m, n, k, alpha, a, b, beta, c, ldc);
}

void gemm_batched(DType type, int64_t batch, int64_t m, int64_t n, int64_t k, BlasScalar alpha, MatrixIn a,
                  const int64_t* a_offsets, MatrixIn b, const int64_t* b_offsets, BlasScalar beta, void* c,
                  int64_t ldc, int64_t c_step) {
    auto one = [&](int64_t i) {
        gemm(type, m, n, k, alpha, {at(a.data, a_offsets[i], type), a.ld, a.trans},
             {at(b.data, b_offsets[i], type), b.ld, b.trans}, beta, at(c, i * c_step, type), ldc);
    };
    const double each = work(m, n, k);
    if (batch < 2 * num_threads() && each > 8 * kParallelProduct) {
        for (int64_t i = 0; i < batch; ++i) one(i);
        return;
    }
    const int64_t grain = each >= kParallelProduct / 2 ? 1 : int64_t(kParallelProduct / 2 / (each + 64));
    parallel_for(0, batch, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) one(i);
    });
}

void dot(DType type, int64_t n, const void* x, int64_t x_step, const void* y, int64_t y_step,
         bool conjugate_x, void* result) {
    check_as(ErrorKind::NotImplemented, type != DType::Bool, "\"dot\" not implemented for 'Bool'");
    // Pieces of a fixed length, summed in order: the same bits for any number of threads.
    constexpr int64_t kPiece = 1 << 16;
    const int64_t pieces = std::max(int64_t(1), ceil_div(n, kPiece));
    const DType sum_type = is_integral(type)           ? DType::Int64
                           : type == DType::Float64    ? DType::Float64
                           : type == DType::Complex128 ? DType::Complex128
                           : is_complex(type)          ? DType::Complex64
                                                       : DType::Float32;
    const int size = itemsize(sum_type);
    char* sums = static_cast<char*>(scratch(Scratch::Product, size_t(pieces * size)));
    parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
            const int64_t i = p * kPiece;
            dot_product(type, std::min(kPiece, n - i), at(x, i * x_step, type), x_step,
                        at(y, i * y_step, type), y_step, conjugate_x, sums + p * size);
        }
    });
    visit(sum_type, [&](auto t) {
        using T = typename decltype(t)::type;
        if constexpr (std::is_same_v<T, Complex<float>> || std::is_same_v<T, Complex<double>> ||
                      std::is_same_v<T, int64_t> || std::is_same_v<T, float> || std::is_same_v<T, double>) {
            T total = reinterpret_cast<T*>(sums)[0];
            for (int64_t p = 1; p < pieces; ++p) total = T(total + reinterpret_cast<T*>(sums)[p]);
            visit(type, [&](auto to) {
                using R = typename decltype(to)::type;
                R& out = *static_cast<R*>(result);
                if constexpr (std::is_same_v<R, T>) {
                    out = total;
                } else if constexpr (std::is_same_v<R, Complex<Half>> && std::is_same_v<T, Complex<float>>) {
                    out = {Half(total.re), Half(total.im)};
                } else if constexpr (std::is_convertible_v<T, float> &&
                                     (std::is_integral_v<R> || sizeof(R) == 2)) {
                    out = R(total);
                }
            });
        }
    });
}

}  // namespace flb
