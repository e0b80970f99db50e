#include "kernels/blas.h"

#include <climits>
#include <cstring>
#include <vector>

#include "kernels/openblas.h"
#include "kernels/packed_gemm.h"

namespace flb {

FLB_DEFINE_KERNEL(dot_product);

namespace {

// Up to this many multiplications OpenBLAS' kernels without packing win over ours (measured, float32, AVX-512).
constexpr double kSmallProduct = 600e3;

bool transposed(Trans t) { return t == Trans::Yes || t == Trans::ConjYes; }
bool fits(int64_t x) { return x <= INT_MAX; }
double work(int64_t m, int64_t n, int64_t k) { return double(m) * double(n) * double(k); }

template <class T>
T real_of(const BlasScalar& s) {
    return T(s.value.re);
}

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

void own_product(DType type, int64_t m, int64_t n, int64_t k, const MatrixIn& a, const MatrixIn& b, void* c,
                 int64_t ldc, bool accumulate) {
    const PanelType panel = panel_type(type);
    const bool ta = transposed(a.trans), tb = transposed(b.trans);
    const int64_t a_stride = ta ? 1 : a.ld, a_k = ta ? a.ld : 1, b_stride = tb ? b.ld : 1,
                  b_k = tb ? 1 : b.ld;
    packed_gemm(
        panel, m, n, k,
        [&](int64_t row, int64_t rows, int64_t k0, int64_t kc, void* panels) {
            gemm_pack(panel, type, true, at(a.data, row * a_stride + k0 * a_k, type), a_stride, a_k, rows, kc,
                      panels);
        },
        [&](int64_t column, int64_t columns, int64_t k0, int64_t kc, void* panels) {
            gemm_pack(panel, type, false, at(b.data, column * b_stride + k0 * b_k, type), b_stride, b_k,
                      columns, kc, panels);
        },
        c, ldc, accumulate);
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
    // The product in the panels' type first, a band of rows at a time; then scaled, added and rounded once.
    constexpr int64_t kBandBytes = 8 << 20;
    const int64_t size = panel_itemsize(panel_type(type));
    const int64_t band = std::min(m, std::max(int64_t(240), kBandBytes / (n * size)));
    const GemmScale scale{{alpha.value.re, beta.value.re}, {alpha.integer, beta.integer}};
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
        case DType::Float32:
            blas.sgemm(kRowMajor, ta, tb, im, in, ik, real_of<float>(alpha), a.data, lda, b.data, ldb,
                       real_of<float>(beta), c, ld);
            break;
        case DType::Float64:
            blas.dgemm(kRowMajor, ta, tb, im, in, ik, real_of<double>(alpha), a.data, lda, b.data, ldb,
                       real_of<double>(beta), c, ld);
            break;
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

bool gemv_possible(DType type, int64_t m, int64_t k, int64_t ld, int64_t x_step, int64_t y_step) {
    return (type == DType::Float32 || type == DType::Float64) && openblas_known() && fits(m) && fits(k) &&
           fits(ld) && x_step > 0 && y_step > 0 && fits(x_step) && fits(y_step) && k > 0;
}

void blas_gemv(DType type, int64_t m, int64_t k, const BlasScalar& alpha, const MatrixIn& a, const void* x,
               int64_t x_step, const BlasScalar& beta, void* y, int64_t y_step) {
    const OpenBlas& blas = openblas();
    const bool t = transposed(a.trans);
    // Pieces of the result of a size fixed by the shape.
    const int64_t piece = round_up(std::max(int64_t(1), 65536 / k), 64);
    const int64_t pieces = ceil_div(m, piece);
    parallel_for(0, pieces, pieces < 4 ? pieces : 1, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
            const int64_t i = p * piece, rows = std::min(piece, m - i);
            const void* part = at(a.data, t ? i : i * a.ld, type);
            char* out = at(y, i * y_step, type);
            // Zeroed here: OpenBLAS would scale what lies there, and NaN would stay.
            const bool zero = beta.value.re == 0;
            if (zero)
                for (int64_t r = 0; r < rows; ++r) std::memset(at(out, r * y_step, type), 0, itemsize(type));
            const int stored_rows = int(t ? k : rows), stored_cols = int(t ? rows : k);
            if (type == DType::Float32)
                blas.sgemv(kRowMajor, t ? kTrans : kNoTrans, stored_rows, stored_cols, real_of<float>(alpha),
                           part, int(a.ld), x, int(x_step), zero ? 1.0f : real_of<float>(beta), out,
                           int(y_step));
            else
                blas.dgemv(kRowMajor, t ? kTrans : kNoTrans, stored_rows, stored_cols, alpha.value.re, part,
                           int(a.ld), x, int(x_step), zero ? 1.0 : beta.value.re, out, int(y_step));
        }
    });
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
    if (type == DType::Float32 || type == DType::Float64) {
        if (n == 1) {
            const int64_t step = transposed(b.trans) ? 1 : b.ld;
            if (gemv_possible(type, m, k, a.ld, step, ldc))
                return blas_gemv(type, m, k, alpha, a, b.data, step, beta, c, ldc);
        } else if (m == 1) {
            const int64_t step = transposed(a.trans) ? a.ld : 1;
            if (gemv_possible(type, n, k, b.ld, step, 1)) {
                const MatrixIn flipped{b.data, b.ld, transposed(b.trans) ? Trans::No : Trans::Yes};
                return blas_gemv(type, n, k, alpha, flipped, a.data, step, beta, c, 1);
            }
        }
        if (work(m, n, k) <= kSmallProduct && openblas_known() && fits(a.ld) && fits(b.ld) && fits(ldc))
            return blas_gemm(type, m, n, k, alpha, a, b, beta, c, ldc);
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

void gemv(DType type, int64_t m, int64_t k, BlasScalar alpha, MatrixIn a, const void* x, int64_t x_step,
          BlasScalar beta, void* y, int64_t y_step) {
    gemm(type, m, 1, k, alpha, a, {x, x_step, Trans::No}, beta, y, y_step);
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
