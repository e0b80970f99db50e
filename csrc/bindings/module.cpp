// The extension module flambeau._C.
#include <cxxabi.h>
#include <unistd.h>

#include "autograd/recorder.h"
#include "bindings/autocast.h"
#include "bindings/op.h"
#include "bindings/types.h"
#include "core/allocator.h"
#include "core/dispatch.h"
#include "core/interpreter.h"
#include "core/parallel.h"
#include "tensor/sparse.h"
#include "transforms/level.h"

namespace flb {

void init_torch_function(PyObject* module);
void init_storage_type(PyObject* module);
void init_generator_type(PyObject* module);
void init_interop(PyObject* module);
void init_from_data(PyObject* module);
void init_shared_memory(PyObject* module);
void init_module_base(PyObject* module);

namespace {

PyObject* get_num_threads(PyObject*, PyObject*) { return PyLong_FromLong(num_threads()); }
PyObject* set_num_threads_(PyObject*, PyObject* value) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, PyLong_Check(value), "set_num_threads expects an int, but got ",
                 Py_TYPE(value)->tp_name);
        const long n = PyLong_AsLong(value);
        check(n > 0 && n <= 4096, "set_num_threads expects a positive integer, got ", n);
        set_num_threads(int(n));
        Py_RETURN_NONE;
    });
}
PyObject* cpu_capability(PyObject*, PyObject*) { return PyUnicode_FromString(cpu_level_name(cpu_level())); }
PyObject* memory(PyObject*, PyObject*) {
    const MemoryStats s = memory_stats();
    return Py_BuildValue("{sKsKsKsKsK}", "in_use", (unsigned long long)s.in_use, "cached",
                         (unsigned long long)s.cached, "peak", (unsigned long long)s.peak, "allocations",
                         (unsigned long long)s.allocations, "reuses", (unsigned long long)s.reuses);
}
PyObject* empty_cache_(PyObject*, PyObject*) {
    empty_cache();
    Py_RETURN_NONE;
}
PyObject* get_default_dtype(PyObject*, PyObject*) { return Py_NewRef(dtype_object(default_dtype())); }
PyObject* set_default_dtype_(PyObject*, PyObject* value) {
    return guarded([&]() -> PyObject* {
        check_as(ErrorKind::Type, is_dtype_object(value), "invalid dtype object: ", Py_TYPE(value)->tp_name);
        const DType t = dtype_from(value);
        check_as(ErrorKind::Type, is_floating(t),
                 "only floating-point types are supported as the default type, got ", name_of(t));
        check_as(ErrorKind::Type, !is_stored_only(t), "couldn't find storage object ", info(t).class_name,
                 "Storage");
        set_default_dtype(t);
        Py_RETURN_NONE;
    });
}

// When the interpreter is shutting down it ends a thread that asks for the lock by pthread_exit, whose unwinding would
// meet destructors here and abort the process. Such a thread sleeps instead until the process is gone.
void reacquire(void* token) {
    try {
        PyEval_RestoreThread(static_cast<PyThreadState*>(token));
    } catch (abi::__forced_unwind&) {
        for (;;) pause();
    }
}

PyMethodDef functions[] = {
    {"get_num_threads", get_num_threads, METH_NOARGS, "How many threads an operator may use."},
    {"set_num_threads", set_num_threads_, METH_O, "Sets how many threads an operator may use."},
    {"_get_cpu_capability", cpu_capability, METH_NOARGS,
     "The instruction set that the kernels were chosen for."},
    {"_memory_stats", memory, METH_NOARGS, "What the allocator holds, in bytes."},
    {"_empty_cache", empty_cache_, METH_NOARGS, "Gives cached memory back to the system."},
    {"get_default_dtype", get_default_dtype, METH_NOARGS, "The dtype of new floating-point tensors."},
    {"set_default_dtype", set_default_dtype_, METH_O, "Sets the dtype of new floating-point tensors."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "flambeau._C",
                          "flambeau's native core.",
                          -1,
                          functions,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace
}  // namespace flb

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__C() {
    using namespace flb;
    PyObject* module = PyModule_Create(&definition);
    if (!module) return nullptr;
    release_interpreter = []() -> void* { return PyEval_SaveThread(); };
    reacquire_interpreter = reacquire;
    PyObject* ok = guarded([&]() -> PyObject* {
        init_types(module);
        init_storage_type(module);
        init_generator_type(module);
        init_torch_function(module);
        init_tensor_type(module);
        init_sparse(module);
        init_autograd(module);
        init_ops(module);
        init_autocast(module);
        init_interception(module);
        init_transforms(module);
        init_interop(module);
        init_from_data(module);
        init_shared_memory(module);
        init_module_base(module);
        Py_RETURN_NONE;
    });
    if (!ok) {
        Py_DECREF(module);
        return nullptr;
    }
    Py_DECREF(ok);
    return module;
}
