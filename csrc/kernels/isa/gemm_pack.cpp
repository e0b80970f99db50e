// Packing operands of the matrix product into panels, and what comes after it.
#include "kernels/gemm_kernels.h"

#include "kernels/isa/block_cast.h"
#include "kernels/isa/gemm_tile.h"
#include "kernels/isa/transpose.h"

namespace flb {
namespace FLB_ISA {

template <class S, class T>
struct Widen {
    static FLB_INLINE T of(S x) { return T(x); }
};
template <>
struct Widen<Half, float> {
    static FLB_INLINE float of(Half x) { return half_to_float(x.bits); }
};

// The same from rows whose elements are neighbours: blocks are turned in registers.
template <class S, class T, int Width>
void turn_panel(const S* source, int64_t stride, int64_t used, int64_t kc, T* panel) {
    constexpr int L = kLanes<T>;
    for (int64_t first = 0; first < Width; first += L) {
        const int64_t count = used - first < L ? used - first : L;
        const S* from = source + first * stride;
        int64_t k = 0;
        for (; k + L <= kc; k += L) {
            Vector<T> rows[L];
#pragma GCC unroll 16
            for (int i = 0; i < L; ++i) rows[i] = i < count ? load_as<T>(from + i * stride + k) : Vector<T>{};
            transpose(rows);
#pragma GCC unroll 16
            for (int i = 0; i < L; ++i) {
                T* to = panel + (k + i) * Width + first;
                if (Width - first >= L) store(to, rows[i]);
                else store_first(to, rows[i], Width - first);
            }
        }
        for (; k < kc; ++k)
            for (int i = 0; i < L && first + i < Width; ++i)
                panel[k * Width + first + i] = i < count ? Widen<S, T>::of(from[i * stride + k]) : T(0);
    }
}

// From neighbouring rows or columns. Panels are filled several at once: together they take whole cache lines of the source.
template <class T, int Width>
void copy_panels(const T* source, int64_t k_stride, int64_t count, int64_t kc, T* panels) {
    constexpr int L = kLanes<T>;
    constexpr int64_t kTogether = 8 * Width;
    for (int64_t first = 0; first < count; first += kTogether) {
        const int64_t end = count - first < kTogether ? count : first + kTogether;
        for (int64_t k = 0; k < kc; ++k)
            for (int64_t i = first; i < end; i += Width)
#pragma GCC unroll 2
                for (int v = 0; v < Width; v += L) {
                    const int64_t n = count - i - v;
                    const T* from = source + k * k_stride + i + v;
                    T* to = panels + i * kc + k * Width + v;
                    const Vector<T> x = n >= L ? load(from) : n > 0 ? load_first<T>(from, n) : Vector<T>{};
                    if (Width - v >= L) store(to, x);
                    else store_first(to, x, Width - v);
                }
    }
}

// One panel of `width` lanes, of which `used` exist.
template <class S, class T, int Width>
void pack_panel(const S* source, int64_t stride, int64_t k_stride, int64_t used, int64_t kc, T* panel) {
    if constexpr (kTurnsInRegisters<T>) {
        if (k_stride == 1) return turn_panel<S, T, Width>(source, stride, used, kc, panel);
    }
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
    if constexpr (std::is_same_v<S, T> && kTurnsInRegisters<T>) {
        if (stride == 1)
            return copy_panels<T, Width>(static_cast<const T*>(source), k_stride, count, kc,
                                         static_cast<T*>(panels));
    }
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

// Converted in blocks, by whole vectors.
template <class C>
void finish_narrow(const float* p, int64_t cols, float alpha, float beta, C* c) {
    constexpr int64_t kBlock = 256;
    float sums[kBlock], before[kBlock];
    for (int64_t j = 0; j < cols; j += kBlock) {
        const int64_t n = cols - j < kBlock ? cols - j : kBlock;
        for (int64_t i = 0; i < n; ++i) sums[i] = alpha * p[j + i];
        if (beta != 0) {
            cast_block(before, c + j, n);
            for (int64_t i = 0; i < n; ++i) sums[i] += beta * before[i];
        }
        cast_block(c + j, sums, n);
    }
}

// P: the type of the product, C: of the result, A: that of the arithmetic.
template <class P, class C, class A>
void finish(int64_t rows, int64_t cols, const void* product, int64_t ld_product, A alpha, A beta,
            void* c_data, int64_t ldc) {
    for (int64_t i = 0; i < rows; ++i) {
        const P* p = static_cast<const P*>(product) + i * ld_product;
        C* c = static_cast<C*>(c_data) + i * ldc;
        if constexpr (std::is_same_v<P, float> && sizeof(C) == 2) {
            finish_narrow(p, cols, alpha, beta, c);
        } else if (beta == A(0)) {
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

FLB_REGISTER_KERNEL(gemm_pack, &gemm_pack_impl);
FLB_REGISTER_KERNEL(gemm_finish, &gemm_finish_impl);

}  // namespace FLB_ISA
}  // namespace flb
