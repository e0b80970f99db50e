// Exchange of memory with other libraries: NumPy's arrays and the buffer protocol (interop.cpp), DLPack (dlpack.cpp).
#pragma once
#include "bindings/op.h"
#include "bindings/types.h"

namespace flb {

// Recognised without importing NumPy.
bool is_numpy_array(PyObject* o);
// The dtype of a NumPy scalar such as np.float32(1); false for anything else.
bool numpy_scalar_dtype(PyObject* o, DType* dtype);

// A tensor on the array's memory, which it keeps alive. will_copy: the caller copies it at once, so that neither a
// read-only array needs a warning nor an unaligned one a refusal.
TensorRef from_numpy_array(PyObject* array, bool will_copy);

// A tensor from numbers, nested sequences, an array or a tensor; `copy` always gives it memory of its own.
TensorRef tensor_from(PyObject* data, const DType* dtype, DeviceType device, bool copy);

// The buffer protocol of Tensor.
int get_tensor_buffer(PyObject* self, Py_buffer* view, int flags);
void release_tensor_buffer(PyObject* self, Py_buffer* view);

extern PyMethodDef dlpack_functions[];

}  // namespace flb
