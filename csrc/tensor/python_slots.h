// Parts of the Tensor type that live in files of their own.
#pragma once
#include <vector>

#include "tensor/tensor.h"

namespace flb {

Scalar number_of(Tensor& t);                                // item(), of sparse tensors too
void add_protocol_slots(std::vector<PyType_Slot>& slots);   // numbers, comparison, sequence: python_slots.cpp
PyObject* tensor_subscript(PyObject* self, PyObject* key);  // x[...]: indexing.cpp
int tensor_ass_subscript(PyObject* self, PyObject* key, PyObject* value);
PyObject* as_subclass(TensorRef plain, PyTypeObject* type);
PyObject* expose_node(Node* node);  // a new reference, ready to be seen by Python: autograd/node.cpp

}  // namespace flb
