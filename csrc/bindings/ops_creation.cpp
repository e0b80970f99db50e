// Operators that make tensors, and those that write whole tensors.
#include "bindings/factory.h"

namespace flb {

static DeviceType default_device_value = DeviceType::Cpu;
DeviceType default_device() { return default_device_value; }
void set_default_device(DeviceType device) { default_device_value = device; }

FactoryOptions::FactoryOptions(const Call& call, int first, DType fallback)
    : dtype(call.dtype(first, fallback)),
      device(default_device_value),
      requires_grad(call.boolean(first + 4)) {
    if (!call.none(first + 1) && layout_from(call.args[first + 1]) != Layout::Strided) {
        ObjectRef layout = ObjectRef::steal(checked_object(PyObject_Repr(call.args[first + 1])));
        call.fail(ErrorKind::Runtime, "layout ", PyUnicode_AsUTF8(layout.get()),
                  " is not supported: call to_sparse() on the strided result");
    }
    if (!call.none(first + 2)) device = usable_device(call.device(first + 2));
    if (Tensor* out = call.out()) {
        check(call.none(first) || dtype == out->dtype, "dtype ", info(dtype).class_name,
              " does not match dtype of out parameter (", info(out->dtype).class_name, ")");
        check(call.none(first + 2) || device == out->device, "device ", str(Device{device}),
              " does not match device of out parameter (", str(Device{out->device}), ")");
        dtype = out->dtype;
        device = out->device;
    }
    check(!requires_grad || is_differentiable(dtype),
          "Only Tensors of floating point and complex dtype can require gradients, got ", name_of(dtype));
}

DType dtype_of_scalar(const Scalar& s) {
    switch (s.category()) {
        case DTypeKind::Bool: return DType::Bool;
        case DTypeKind::Integer: return DType::Int64;
        case DTypeKind::Float: return default_dtype();
        case DTypeKind::Complex: break;
    }
    return default_complex_dtype();
}

void check_fits(const Scalar& value, DType dtype) {
    check((!value.is_complex() || is_complex(dtype) || value.to_complex().im == 0) && value.fits(dtype),
          "value cannot be converted to type ", name_of(dtype), " without overflow");
}

TensorRef empty_like_options(const Call& call, const FactoryOptions& o, int first, int format_index) {
    Tensor& t = call.tensor(0);
    const MemoryFormat format = call.memory_format(format_index, MemoryFormat::Preserve);
    const DeviceType device = call.none(first + 2) ? t.device : o.device;
    if (format == MemoryFormat::Preserve && device == t.device) return empty_like(t, o.dtype);
    return empty_format(t.sizes, o.dtype, device, format);
}

namespace {

// zeros() and empty() of a sparse layout: nothing is specified. Null when the layout is not sparse.
PyObject* hollow(const Call& call) {  // size, out, dtype, layout, device, pin_memory, requires_grad
    if (call.none(3) || layout_from(call.args[3]) == Layout::Strided || call.out()) return nullptr;
    ObjectRef module =
        ObjectRef::steal(checked_object(PyImport_ImportModule("flambeau._ops.sparse.construct")));
    ObjectRef size = ObjectRef::steal(size_object(call.ints(0)));
    return checked_object(PyObject_CallMethod(module.get(), "hollow", "OOOOO", size.get(), call.args[2],
                                              call.args[3], call.args[4], call.args[6]));
}

PyObject* empty_(Call& call) {  // size, out, dtype, layout, device, pin_memory, requires_grad, memory_format
    if (PyObject* sparse = hollow(call)) return sparse;
    const FactoryOptions o(call, 2, default_dtype());
    const Dims size = call.ints(0);
    if (call.out()) {
        resize_output(*call.out(), size, call.name());
        return o.finish(TensorRef::borrow(call.out()));
    }
    return o.finish(empty_format(size, o.dtype, o.device, call.memory_format(7, MemoryFormat::Contiguous)));
}

PyObject* empty_strided_(Call& call) {  // size, stride, dtype ...
    const FactoryOptions o(call, 2, default_dtype());
    return o.finish(empty_strided(call.ints(0), call.ints(1), o.dtype, o.device));
}

// PyTorch writes a single element without that check where the dtype is a narrow float: it becomes what a conversion gives.
void check_fits_all(const Scalar& value, DType dtype, int64_t numel) {
    if (numel == 1 && is_floating(dtype) && itemsize(dtype) <= 2 && !value.is_complex()) return;
    check_fits(value, dtype);
}

PyObject* full(Call& call) {  // size, fill_value, out, dtype ...
    const Scalar value = call.scalar(1);
    const FactoryOptions o(call, 3, dtype_of_scalar(value));
    check_fits_all(value, o.dtype, checked_numel(call.ints(0)));
    TensorRef t = output(call, call.ints(0), o.dtype, o.device);
    fill(*t, value);
    return o.finish(t);
}

template <int value>
PyObject* constant(Call& call) {  // size, out, dtype ...
    if constexpr (value == 0)
        if (PyObject* sparse = hollow(call)) return sparse;
    const FactoryOptions o(call, 2, default_dtype());
    TensorRef t = output(call, call.ints(0), o.dtype, o.device);
    fill(*t, Scalar(int64_t(value)));
    return o.finish(t);
}

PyObject* empty_like_(Call& call) {  // input, dtype, layout, device, pin_memory, requires_grad, memory_format
    const FactoryOptions o(call, 1, call.tensor(0).dtype);
    return o.finish(empty_like_options(call, o, 1, 6));
}
template <int value>
PyObject* constant_like(Call& call) {
    const FactoryOptions o(call, 1, call.tensor(0).dtype);
    TensorRef t = empty_like_options(call, o, 1, 6);
    fill(*t, Scalar(int64_t(value)));
    return o.finish(t);
}
PyObject* full_like(Call& call) {  // input, fill_value, dtype ...
    const FactoryOptions o(call, 2, call.tensor(0).dtype);
    const Scalar value = call.scalar(1);
    check_fits_all(value, o.dtype, call.tensor(0).numel);
    TensorRef t = empty_like_options(call, o, 2, 7);
    fill(*t, value);
    return o.finish(t);
}

PyObject* fill_(Call& call) {  // one value everywhere: elements that overlap do no harm
    Tensor& t = call.tensor(0);
    const Scalar value = call.scalar(1);
    check_fits_all(value, t.dtype, t.numel);
    fill(t, value);
    return Py_NewRef(call.args[0]);
}
PyObject* zero_(Call& call) {
    fill(call.tensor(0), Scalar(int64_t(0)));
    return Py_NewRef(call.args[0]);
}

PyObject* copy_(Call& call) {
    Tensor &out = call.tensor(0), &in = call.tensor(1);
    call.check(broadcastable_to(in.sizes, out.sizes), "The size of tensor a ", str(out.sizes),
               " must match the size of tensor b ", str(in.sizes), ": output with shape ", str(out.sizes),
               " doesn't match the broadcast shape");
    call.check(!has_internal_overlap(out),
               "unsupported operation: more than one element of the written-to tensor refers to a "
               "single memory location. Please clone() the tensor before performing the operation.");
    copy_into(out, in);
    return Py_NewRef(call.args[0]);
}

PyObject* clone_(Call& call) {
    return clone(call.tensor(0), call.memory_format(1, MemoryFormat::Preserve)).release();
}

PyObject* contiguous_(Call& call) {
    const MemoryFormat format = call.memory_format(1, MemoryFormat::Contiguous);
    call.check(format != MemoryFormat::Preserve,
               "preserve memory format is unsupported by the contiguous operator");
    if (is_contiguous(call.tensor(0), format)) return Py_NewRef(call.args[0]);
    return clone(call.tensor(0), format).release();
}

}  // namespace

FLB_OPS({"empty", empty_}, {"empty_strided", empty_strided_}, {"full", full}, {"zeros", constant<0>},
        {"ones", constant<1>}, {"empty_like", empty_like_}, {"zeros_like", constant_like<0>},
        {"ones_like", constant_like<1>}, {"full_like", full_like}, {"fill_", fill_}, {"zero_", zero_},
        {"copy_", copy_}, {"clone", clone_}, {"contiguous", contiguous_});

}  // namespace flb
