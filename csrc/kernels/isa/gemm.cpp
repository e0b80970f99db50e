// Packing and the innermost loops of the matrix product.
#include "kernels/gemm_kernels.h"

#include "kernels/isa/gemm_tile.h"

namespace flb {
namespace FLB_ISA {

// A panel of B (kc x nr) stays in the first cache level, a block of A (mc x kc) in the second.
constexpr int kPanelBytes = 256 * kNv * kVectorBytes;
template <class T>
constexpr int kKc = 256;
constexpr int kMc = 16 * kMr;

template <class T>
GemmShape shape_of() {
    return {kMr, kNr<T>, kKc<T>, kMc, int(4096 / kNr<T> * kNr<T>)};
}

GemmShape gemm_shape_impl(PanelType type) {
    switch (type) {
        case PanelType::F32: return shape_of<float>();
        case PanelType::F64: return shape_of<double>();
        case PanelType::I16: return shape_of<uint16_t>();
        case PanelType::I32: return shape_of<uint32_t>();
        case PanelType::I64: return shape_of<uint64_t>();
    }
    return {};
}

template <class S, class T>
struct Widen {
    static FLB_INLINE T of(S x) { return T(x); }
};
template <>
struct Widen<Half, float> {
    static FLB_INLINE float of(Half x) { return half_to_float(x.bits); }
};

// One panel of `width` lanes, of which `used` exist.
template <class S, class T, int Width>
void pack_panel(const S* source, int64_t stride, int64_t k_stride, int64_t used, int64_t kc, T* panel) {
    if (used < Width) {
        for (int64_t k = 0; k < kc; ++k) {
            for (int64_t i = 0; i < used; ++i)
                panel[k * Width + i] = Widen<S, T>::of(source[i * stride + k * k_stride]);
            for (int64_t i = used; i < Width; ++i) panel[k * Width + i] = T(0);
        }
    } else if (stride == 1) {
        for (int64_t k = 0; k < kc; ++k) {
            const S* row = source + k * k_stride;
            for (int i = 0; i < Width; ++i) panel[k * Width + i] = Widen<S, T>::of(row[i]);
        }
    } else {
        // Eight steps of k at once: whole cache lines of the source are used while they are near.
        int64_t k = 0;
        for (; k + 8 <= kc; k += 8)
            for (int i = 0; i < Width; ++i) {
                const S* from = source + i * stride + k * k_stride;
                T* to = panel + k * Width + i;
                for (int j = 0; j < 8; ++j) to[j * Width] = Widen<S, T>::of(from[j * k_stride]);
            }
        for (; k < kc; ++k)
            for (int i = 0; i < Width; ++i)
                panel[k * Width + i] = Widen<S, T>::of(source[i * stride + k * k_stride]);
    }
}

template <class S, class T, int Width>
void pack(const void* source, int64_t stride, int64_t k_stride, int64_t count, int64_t kc, void* panels) {
    for (int64_t i = 0; i < count; i += Width)
        pack_panel<S, T, Width>(static_cast<const S*>(source) + i * stride, stride, k_stride,
                                count - i < Width ? count - i : Width, kc, static_cast<T*>(panels) + i * kc);
}

template <class S, class T>
void pack_either(bool is_a, const void* source, int64_t stride, int64_t k_stride, int64_t count, int64_t kc,
                 void* panels) {
    if (is_a) pack<S, T, kMr>(source, stride, k_stride, count, kc, panels);
    else pack<S, T, kNr<T>>(source, stride, k_stride, count, kc, panels);
}

void gemm_pack_impl(PanelType type, DType source_type, bool is_a, const void* source, int64_t stride,
                    int64_t k_stride, int64_t count, int64_t kc, void* panels) {
    switch (type) {
        case PanelType::F32:
            if (source_type == DType::Float16)
                pack_either<Half, float>(is_a, source, stride, k_stride, count, kc, panels);
            else if (source_type == DType::BFloat16)
                pack_either<BFloat16, float>(is_a, source, stride, k_stride, count, kc, panels);
            else pack_either<float, float>(is_a, source, stride, k_stride, count, kc, panels);
            break;
        case PanelType::F64:
            pack_either<double, double>(is_a, source, stride, k_stride, count, kc, panels);
            break;
        case PanelType::I16:
            if (itemsize(source_type) == 1)
                pack_either<uint8_t, uint16_t>(is_a, source, stride, k_stride, count, kc, panels);
            else pack_either<uint16_t, uint16_t>(is_a, source, stride, k_stride, count, kc, panels);
            break;
        case PanelType::I32:
            pack_either<uint32_t, uint32_t>(is_a, source, stride, k_stride, count, kc, panels);
            break;
        case PanelType::I64:
            pack_either<uint64_t, uint64_t>(is_a, source, stride, k_stride, count, kc, panels);
            break;
    }
}

// Rows x (kNv vectors) of C from one panel of A and one of B.
template <class T, int Rows>
FLB_INLINE void tile(int64_t kc, const T* __restrict a, const T* __restrict b, T* __restrict c, int64_t ldc,
                     int64_t cols, bool accumulate) {
    using V = Vector<T>;
    constexpr int L = kLanes<T>;
    V sum[Rows][kNv] = {};
    for (int64_t k = 0; k < kc; ++k) {
        const V b0 = load(b), b1 = load(b + L);
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i) {
            const V x = broadcast(a[i]);
            sum[i][0] = multiply_add<T>(x, b0, sum[i][0]);
            sum[i][1] = multiply_add<T>(x, b1, sum[i][1]);
        }
        a += kMr;
        b += kNv * L;
    }
    if (cols == kNv * L) {
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i)
            for (int j = 0; j < kNv; ++j) {
                T* to = c + i * ldc + j * L;
                store(to, accumulate ? sum[i][j] + load(to) : sum[i][j]);
            }
        return;
    }
    alignas(64) T edge[Rows][kNv * L];
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i)
        for (int j = 0; j < kNv; ++j) store(&edge[i][j * L], sum[i][j]);
    for (int i = 0; i < Rows; ++i)
        for (int64_t j = 0; j < cols; ++j)
            c[i * ldc + j] = accumulate ? T(edge[i][j] + c[i * ldc + j]) : edge[i][j];
}

template <class T, int Rows>
[[gnu::noinline]] void tile_of(int64_t kc, const T* a, const T* b, T* c, int64_t ldc, int64_t cols,
                               bool accumulate) {
    tile<T, Rows>(kc, a, b, c, ldc, cols, accumulate);
}

template <class T>
using TileFn = void (*)(int64_t, const T*, const T*, T*, int64_t, int64_t, bool);

template <class T, int... Rows>
struct TileTable {
    static constexpr TileFn<T> fn[] = {nullptr, tile_of<T, Rows>...};
};
#if defined(__AVX512F__) || defined(__aarch64__)
template <class T>
using Tiles = TileTable<T, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>;
#elif defined(__AVX2__)
template <class T>
using Tiles = TileTable<T, 1, 2, 3, 4, 5, 6>;
#else
template <class T>
using Tiles = TileTable<T, 1, 2, 3, 4>;
#endif

template <class T>
void block(int64_t m, int64_t n, int64_t kc, const void* a_panels, const void* b_panels, void* c, int64_t ldc,
           bool accumulate) {
    const T* a = static_cast<const T*>(a_panels);
    const T* b = static_cast<const T*>(b_panels);
    for (int64_t j = 0; j < n; j += kNr<T>) {
        const int64_t cols = n - j < kNr<T> ? n - j : kNr<T>;
        for (int64_t i = 0; i < m; i += kMr) {
            const int64_t rows = m - i < kMr ? m - i : kMr;
            Tiles<T>::fn[rows](kc, a + i * kc, b + j * kc, static_cast<T*>(c) + i * ldc + j, ldc, cols,
                               accumulate);
        }
    }
}

void gemm_block_impl(PanelType type, int64_t m, int64_t n, int64_t kc, const void* a, const void* b, void* c,
                     int64_t ldc, bool accumulate) {
    switch (type) {
        case PanelType::F32: return block<float>(m, n, kc, a, b, c, ldc, accumulate);
        case PanelType::F64: return block<double>(m, n, kc, a, b, c, ldc, accumulate);
        case PanelType::I16: return block<uint16_t>(m, n, kc, a, b, c, ldc, accumulate);
        case PanelType::I32: return block<uint32_t>(m, n, kc, a, b, c, ldc, accumulate);
        case PanelType::I64: return block<uint64_t>(m, n, kc, a, b, c, ldc, accumulate);
    }
}

// P: the type of the product, C: of the result, A: that of the arithmetic.
template <class P, class C, class A>
void finish(int64_t rows, int64_t cols, const void* product, int64_t ld_product, A alpha, A beta,
            void* c_data, int64_t ldc) {
    for (int64_t i = 0; i < rows; ++i) {
        const P* p = static_cast<const P*>(product) + i * ld_product;
        C* c = static_cast<C*>(c_data) + i * ldc;
        if (beta == A(0)) {
            for (int64_t j = 0; j < cols; ++j) c[j] = C(A(alpha * A(p[j])));
        } else {
            for (int64_t j = 0; j < cols; ++j) c[j] = C(A(A(alpha * A(p[j])) + A(beta * A(c[j]))));
        }
    }
}

void gemm_finish_impl(DType type, int64_t rows, int64_t cols, const void* p, int64_t ldp, GemmScale s,
                      void* c, int64_t ldc) {
    const float fa = float(s.real[0]), fb = float(s.real[1]);
    const uint64_t ia = uint64_t(s.integer[0]), ib = uint64_t(s.integer[1]);
    switch (type) {
        case DType::Float32: return finish<float, float, float>(rows, cols, p, ldp, fa, fb, c, ldc);
        case DType::Float16: return finish<float, Half, float>(rows, cols, p, ldp, fa, fb, c, ldc);
        case DType::BFloat16: return finish<float, BFloat16, float>(rows, cols, p, ldp, fa, fb, c, ldc);
        case DType::Float64:
            return finish<double, double, double>(rows, cols, p, ldp, s.real[0], s.real[1], c, ldc);
        default: break;
    }
    switch (itemsize(type)) {
        case 1:
            return finish<uint16_t, uint8_t, uint32_t>(rows, cols, p, ldp, uint32_t(ia), uint32_t(ib), c,
                                                       ldc);
        case 2:
            return finish<uint16_t, uint16_t, uint32_t>(rows, cols, p, ldp, uint32_t(ia), uint32_t(ib), c,
                                                        ldc);
        case 4:
            return finish<uint32_t, uint32_t, uint32_t>(rows, cols, p, ldp, uint32_t(ia), uint32_t(ib), c,
                                                        ldc);
        default: return finish<uint64_t, uint64_t, uint64_t>(rows, cols, p, ldp, ia, ib, c, ldc);
    }
}

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

FLB_REGISTER_KERNEL(dot_product, &dot_product_impl);
FLB_REGISTER_KERNEL(gemm_shape, &gemm_shape_impl);
FLB_REGISTER_KERNEL(gemm_pack, &gemm_pack_impl);
FLB_REGISTER_KERNEL(gemm_block, &gemm_block_impl);
FLB_REGISTER_KERNEL(gemm_finish, &gemm_finish_impl);

}  // namespace FLB_ISA
}  // namespace flb
