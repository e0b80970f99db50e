// The small Python types beside Tensor: dtype, device, layout, memory_format, Size, Generator, UntypedStorage.
#pragma once
#include "core/generator.h"
#include "tensor/tensor.h"

namespace flb {

PyObject* dtype_object(DType t);    // borrowed, lives as long as the process
bool is_dtype_object(PyObject* o);  // torch.dtype, or Python's bool / int / float / complex
DType dtype_from(PyObject* o);
PyObject* device_object(Device d);   // new reference
bool is_device_like(PyObject* o);    // torch.device, str, int
Device device_from(PyObject* o);     // raises for a bad string; cuda etc. parse, and fail when used
DeviceType usable_device(Device d);  // cpu or meta; AssertionError-like error for others
bool is_layout_object(PyObject* o);
Layout layout_from(PyObject* o);
bool is_memory_format_object(PyObject* o);
MemoryFormat memory_format_from(PyObject* o);
PyObject* layout_object(Layout l);  // borrowed
PyObject* memory_format_object(MemoryFormat f);
PyObject* size_object(const Dims& sizes);  // torch.Size, new reference
extern PyTypeObject* SizeType;
PyObject* scalar_object(const Scalar& s);  // Python number, new reference

struct GeneratorObject {
    PyObject_HEAD PyObject* weakrefs;
    Generator* generator;
    Device device;
};
extern PyTypeObject* GeneratorType;
bool is_generator_object(PyObject* o);

PyObject* storage_object(Storage* storage);  // the UntypedStorage of a storage: one object per living storage
Storage* storage_from(PyObject* o);          // null if it isn't one
extern PyTypeObject* StorageType;

bool is_number(PyObject* o);  // bool, int, float, complex, NumPy scalars, objects with __index__/__float__
Scalar number_from(PyObject* o);

void init_types(PyObject* module);

}  // namespace flb
