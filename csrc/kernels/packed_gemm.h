// The driver of our own matrix product: cuts, packs, shares out over threads. See gemm_kernels.h for the scheme.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/gemm_kernels.h"

namespace flb {

// Memory for one product at a time, kept by the thread for the next one. Slots keep nested uses apart.
enum class Scratch : int { PackedA, PackedB, Product, Columns, Partial, PartsOfA, PartsOfB };
void* scratch(Scratch slot, size_t nbytes);

int panel_itemsize(PanelType type);

constexpr int64_t round_up(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }
constexpr int64_t ceil_div(int64_t x, int64_t y) { return (x + y - 1) / y; }

// Products below this many multiplications stay on the caller's thread (about 10 us).
constexpr int64_t kParallelProduct = 1 << 20;

// An operand: element (i, k) is at data[i * stride + k * k_stride], i counting rows of A or columns of B.
struct GemmSide {
    const void* data;
    int64_t stride, k_stride;
};

// C[m, n] (+)= A[m, k] * B[k, n]; m, n, k >= 1. The operands hold elements of `source`, C those of the panel type.
void packed_gemm(PanelType type, DType source, int64_t m, int64_t n, int64_t k, const GemmSide& a,
                 const GemmSide& b, void* c, int64_t ldc, bool accumulate);

}  // namespace flb
