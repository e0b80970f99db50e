// OpenBLAS, loaded when the first product needs it, and always called on one thread: our pool shares out the parts.
#pragma once
#include <cstdint>

namespace flb {

// cblas's enumerations, as numbers.
enum CblasOrder : int { kRowMajor = 101 };
enum CblasTrans : int { kNoTrans = 111, kTrans = 112, kConjTrans = 113, kConjNoTrans = 114 };

struct OpenBlas {
    void (*cgemm)(int order, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int lda,
                  const void* b, int ldb, const void* beta, void* c, int ldc);
    void (*zgemm)(int order, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int lda,
                  const void* b, int ldb, const void* beta, void* c, int ldc);
};

// Raises if the library cannot be loaded.
const OpenBlas& openblas();
bool openblas_known();  // a path was set
// A function of the library that is not in the table (LAPACK's); raises if it has none of that name.
void* openblas_symbol(const char* name);

}  // namespace flb
