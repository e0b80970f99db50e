// Matrix products on raw memory, for every dtype. Matrices are row-major with a leading dimension (the distance
// between rows, in elements); an operand may be read transposed or, if complex, conjugated.
//
// The result of a product has the same bits for any number of threads. beta == 0 means that c is not read (what
// lies there, NaN included, does not matter). Integers wrap around; float16 and bfloat16 are summed in float32 and
// rounded once. Sizes and memory must have been checked by the caller. bool is refused, as in PyTorch.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace flb {

// Where OpenBLAS lies (the wheel scipy-openblas32); loaded at the first product that needs it.
void set_blas_library(const char* path);

enum class Trans : uint8_t { No, Yes, Conj, ConjYes };  // as stored, transposed, conjugated, both

// A factor: floats and complex numbers read `value`, integers `integer`.
struct BlasScalar {
    Complex<double> value;
    int64_t integer;
    BlasScalar(double x) : value{x, 0}, integer(int64_t(x)) {}
    BlasScalar(int64_t x) : value{double(x), 0}, integer(x) {}
    BlasScalar(int x) : BlasScalar(int64_t(x)) {}
    BlasScalar(Complex<double> z) : value(z), integer(int64_t(z.re)) {}
};

struct MatrixIn {
    const void* data;
    int64_t ld;
    Trans trans = Trans::No;
};

// c[m, n] = alpha * op(a)[m, k] * op(b)[k, n] + beta * c
void gemm(DType type, int64_t m, int64_t n, int64_t k, BlasScalar alpha, MatrixIn a, MatrixIn b,
          BlasScalar beta, void* c, int64_t ldc);

// The same for `batch` matrices; matrix i of an input lies offsets[i] elements after its data, of c i * c_step.
void gemm_batched(DType type, int64_t batch, int64_t m, int64_t n, int64_t k, BlasScalar alpha, MatrixIn a,
                  const int64_t* a_offsets, MatrixIn b, const int64_t* b_offsets, BlasScalar beta, void* c,
                  int64_t ldc, int64_t c_step);

// *result = sum over i of x[i] * y[i]; conjugates x if asked.
void dot(DType type, int64_t n, const void* x, int64_t x_step, const void* y, int64_t y_step,
         bool conjugate_x, void* result);

}  // namespace flb
