// The blocks of our own matrix product: packing panels and multiplying blocks (isa/gemm*.cpp).
//
// A product is cut, as in the usual scheme of Goto and van de Geijn, into blocks of kc x nc of B and mc x kc of A.
// B is packed into panels of nr columns (k runs slowest) so that the innermost kernel reads memory in order; for few
// rows, which would not pay for the packing, it is read in place. A's rows are read in place if their elements are
// neighbours, else packed into panels of mr rows. An element of C depends on its row, its column and the fixed cuts of k
// alone, never on how rows and columns were divided over threads: the bits are the same for any number of threads.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

// The types that panels hold. Narrow floats are widened while packing; 8-bit integers too, since arithmetic modulo
// 2^16 is right modulo 2^8. Signedness does not matter for products that wrap around.
enum class PanelType : uint8_t { F32, F64, I16, I32, I64 };

struct GemmShape {
    int mr, nr;      // a panel of A has mr rows, one of B nr columns
    int kc, mc, nc;  // block sizes, multiples of the above
    int in_place;    // columns of B that are read in place have to be a multiple of this
};
// The shape that the chosen instruction set wants for this type.
FLB_KERNEL(gemm_shape, GemmShape(PanelType));

// Packs `count` rows of A (or columns of B) by `kc` into panels, zero-filled to whole panels.
// Element (i, k) is at source[i * stride + k * k_stride], in elements of `source_type`.
FLB_KERNEL(gemm_pack, void(PanelType, DType source_type, bool is_a, const void* source, int64_t stride,
                           int64_t k_stride, int64_t count, int64_t kc, void* panels));

// C[0:m, 0:n] = A * B, or += if accumulate; C holds panel-type elements with row stride ldc.
struct GemmBlock {
    int64_t m, n, kc;
    const void* a;
    int64_t a_stride;  // of the rows; 0: a is panels. Floats only
    const void* b;
    int64_t b_stride;  // of the steps of k; 0: b is panels. Floats only, n a multiple of in_place
    void* c;
    int64_t ldc;
    bool accumulate;
};
FLB_KERNEL(gemm_blocks, void(PanelType, const GemmBlock&));
// The same of panels.
inline void gemm_block(PanelType type, int64_t m, int64_t n, int64_t kc, const void* a_panels,
                       const void* b_panels, void* c, int64_t ldc, bool accumulate) {
    gemm_blocks(type, {m, n, kc, a_panels, 0, b_panels, 0, c, ldc, accumulate});
}

// The same for few rows of A, read in place, and several panels of B, b_panel elements apart; what belongs to the next
// panel in C is c_panel elements further.
constexpr int64_t kFewRows = 6;
struct GemmFewRows {
    int64_t m, k, panels, columns, last_columns;  // columns of all panels but the last
    const void* a;
    int64_t a_stride;
    const void* b;
    int64_t b_panel;
    void* c;
    int64_t ldc, c_panel;
    bool accumulate;
};
FLB_KERNEL(gemm_few_rows, void(PanelType, const GemmFewRows&));

// C[i, j] = the sum over k of a[i * a_stride + k] * b[j * b_stride + k], or += if accumulate: for few rows of A where
// the elements of B's columns are neighbours. C is float32 for narrow floats, else of the type itself.
struct GemmDots {
    int64_t m, n, k;
    const void* a;
    int64_t a_stride;
    const void* b;
    int64_t b_stride;
    void* c;
    int64_t ldc;
    bool accumulate;
};
FLB_KERNEL(gemm_dots, void(DType type, const GemmDots&));

// c = alpha * product + beta * c over rows x cols; c is of type `type`; beta == 0 does not read c.
struct GemmScale {
    double real[2];  // alpha, beta for floats
    int64_t integer[2];
};
FLB_KERNEL(gemm_finish, void(DType type, int64_t rows, int64_t cols, const void* product, int64_t ld_product,
                             GemmScale scale, void* c, int64_t ldc));

// *sum = the sum of x[i] * y[i] (conjugating x if asked): int64 for integers, float32 for narrow floats,
// complex64 for complex32, else the type itself.
FLB_KERNEL(dot_product, void(DType type, int64_t n, const void* x, int64_t x_step, const void* y,
                             int64_t y_step, bool conjugate_x, void* sum));

}  // namespace flb
