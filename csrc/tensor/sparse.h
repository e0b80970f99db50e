// Sparse tensors: what a Tensor has instead of memory.
//
// Note [Sparse tensors]: a sparse tensor is a Tensor whose `sparse` points to its parts: the places (COO indices, or
// compressed and plain indices) and the values, each a dense tensor. Its own storage has no bytes, for ever: it only
// carries the version counter. So no window on it can be proved, `kernel_pointer` refuses it, and `invoke` hands every
// call that has such a tensor among its arguments to the operator's sparse form or raises. The parts are never shown to
// Python themselves, only copies that share their memory: nobody can give them another shape. What stands *in* the indices
// is the user's to change at any time: whoever uses them as places checks them.
#pragma once
#include "tensor/tensor.h"

namespace flb {

struct SparseParts {
    Layout layout = Layout::SparseCoo;
    bool coalesced = false;  // COO: the places are distinct and in order
    int sparse_dim = 0;      // COO
    TensorRef indices;       // COO: (sparse_dim, nnz); compressed layouts: the compressed indices
    TensorRef plain;         // compressed layouts only
    TensorRef values;
};

// How many sparse tensors live. While there are none, a call need not look for one among its arguments.
extern int64_t living_sparse_tensors;

void set_parts(Tensor& t, const SparseParts& parts);
void drop_parts(Tensor& t);
[[noreturn]] void fail_no_memory(const Tensor& t);
inline Layout layout_of(const Tensor& t) { return t.sparse ? t.sparse->layout : Layout::Strided; }
const char* layout_word(Layout layout);   // "Sparse", as PyTorch's messages say it
const char* backend_word(Layout layout);  // "SparseCPU"

TensorRef new_tensor();  // of no storage yet (tensor.cpp)
void init_sparse(PyObject* module);

}  // namespace flb
