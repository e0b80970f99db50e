// Products of float32 matrices on the tiles of AMX, which multiply bfloat16 and add up in float32.
//
// Note [Products of parts]: a float32 is the sum of three bfloat16, exactly: its leading eight bits, the next eight and
// what is left (h, m and l, each rounded to nearest). Of the nine products of parts six are computed, l h, m h, m m, h m,
// h h and h l, in this order, for every 32 steps of k; those left out are together below 2^-24 of the product, as one
// rounding is. The instruction adds up 16 products at a time, so that there are fewer roundings than in a loop over k: on
// sums of many terms the error is about half that of an ordinary float32 product, on a sum of one term up to 2.6 half units
// in the last place instead of one. Integers are exact as long as float32 holds the sums of their magnitudes. The order
// lets neighbours share the tiles they load.
//
// AMX takes subnormal numbers for zeros. It gets blocks in which no part is subnormal, no product is below 2^-96 (what is
// taken for zero then is lost in a float32's rounding) and no sum overflows; others, and those with infinities or NaN, are
// multiplied by the ordinary kernel. Blocks depend on the shape alone, so that the bits do not depend on the number of
// threads.
//
// A product by its own transpose comes out symmetric from the ordinary kernel, but not from this one.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "kernels/packed_gemm.h"

namespace flb {

constexpr int64_t kPartsWidth = 32, kPartsDepth = 32;  // a panel's rows or columns; a step's k
constexpr int64_t kPartsTileBytes = 1024, kPartsStepBytes = 6 * kPartsTileBytes;

// Whether this product gains, on this machine.
bool amx_float_pays(int64_t m, int64_t n, int64_t k, const GemmSide& a, const GemmSide& b);

// C[m, n] (+)= A[m, k] * B[k, n], all float32; of each operand one of the strides is 1.
void amx_float_gemm(int64_t m, int64_t n, int64_t k, const GemmSide& a, const GemmSide& b, float* c,
                    int64_t ldc, bool accumulate);

// ---- isa/amx_float.cpp ------------------------------------------------------------------------------------------------

// The exponents of the smallest magnitude but zero and of the largest; 128 for infinities and NaN.
struct ExponentRange {
    int least = 1000, most = -1000;
};

// Packs `count` rows of A or columns of B into panels: for every step of k two tiles (16 rows or columns each) of each
// part, h, m and l. Returns the range of what it packed.
FLB_KERNEL(amx_parts_pack, ExponentRange(bool is_a, const float* source, int64_t stride, int64_t k_stride,
                                         int64_t count, int64_t k, void* panels));

struct AmxPartsBlock {
    int64_t rows, columns, steps;
    const char *a, *b;  // panels
    float* c;
    int64_t ldc;
    bool accumulate;
};
FLB_KERNEL(amx_parts_block, void(const AmxPartsBlock&));

}  // namespace flb
