// Decompositions of batches of matrices by the LAPACK inside OpenBLAS. Matrices are dense and column-major, one after
// another; every routine works in place. `info` has one entry per matrix, as LAPACK returns it.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace flb {

struct Matrices {
    void* data;
    int64_t count, rows, cols;
};

// What eigenvalues, singular values and least squares say in `info` of a matrix with infinities or NaN (note [Not finite]).
constexpr int32_t kNotFinite = -1;

// float32, float64, complex64 or complex128, here and below.
void lapack_cholesky(DType type, Matrices a, bool upper, int32_t* info);
// pivots: min(rows, cols) per matrix, counted from 1.
void lapack_lu(DType type, Matrices a, int32_t* pivots, int32_t* info);
// Solves op(A) X = B with A's LU; op is 'N', 'T' or 'C'.
void lapack_lu_solve(DType type, Matrices lu, const int32_t* pivots, Matrices b, char op);
void lapack_ldl(DType type, Matrices a, bool hermitian, int32_t* pivots, int32_t* info);
void lapack_ldl_solve(DType type, Matrices ld, const int32_t* pivots, Matrices b, bool hermitian);
struct Triangle {
    bool left, upper, unit;
    char op;
};
// Solves op(A) X = B, or X op(A) = B, for a triangular A; nothing but its triangle is read.
void lapack_triangular_solve(DType type, Matrices a, Matrices b, Triangle triangle);
// The Householder vectors below R's diagonal, and min(rows, cols) factors per matrix.
void lapack_qr(DType type, Matrices a, void* tau);
// The first a.cols columns of the product of `reflections` Householder matrices, whose vectors `a` holds.
void lapack_householder(DType type, Matrices a, const void* tau, int64_t reflections);
// op(Q) C or C op(Q), with Q in the form of `lapack_qr`; op is 'N' or 'C'.
void lapack_apply_householder(DType type, Matrices a, const void* tau, Matrices c, bool left, char op,
                              int64_t reflections);
// Eigenvalues (real) in ascending order; with `vectors` A is overwritten by the eigenvectors.
void lapack_eigh(DType type, Matrices a, void* values, bool upper, bool vectors, int32_t* info);
// Eigenvalues and (unless null) right eigenvectors, both complex.
void lapack_eig(DType type, Matrices a, void* values, void* vectors, int32_t* info);
// job: 'A' all columns of U and rows of Vh, 'S' the first min(rows, cols), 'N' none. Singular values are real.
void lapack_svd(DType type, Matrices a, void* u, void* s, void* vh, char job, int32_t* info);
enum class LeastSquares { Gels, Gelsy, Gelsd, Gelss };
// Minimises |A X - B|: B has max(rows, cols) rows, of which X fills the first `cols`. rank: of every matrix, except with
// Gels; s: singular values, with Gelsd and Gelss.
void lapack_lstsq(DType type, Matrices a, Matrices b, LeastSquares driver, double rcond, int64_t* rank,
                  void* s, int32_t* info);

}  // namespace flb
