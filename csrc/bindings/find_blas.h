#pragma once

namespace flb {

// Asks Python, once, where OpenBLAS lies. With the interpreter lock, before the first kernel that needs it.
void find_blas();

}  // namespace flb
