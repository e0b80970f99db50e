// Operators that make tensors, and those that write whole tensors.
#include "bindings/op.h"
#include "bindings/types.h"

namespace flb {

namespace {

// The common tail of factory signatures: "*, Tensor? out=None, dtype? dtype=None, layout? layout=None, device? device=None,
// bool pin_memory=False, bool requires_grad=False" beginning at parameter `first` (out, or dtype where there is no out).
struct Options {
    Options(Call& call, int first, DType fallback) : dtype(call.dtype(first, fallback)) {
        if (!call.none(first + 1)) {
            const Layout layout = layout_from(call.args[first + 1]);
            call.check(layout == Layout::Strided, "layout ", PyUnicode_AsUTF8(ObjectRef::steal(PyObject_Repr(call.args[first + 1])).get()),
                       " is not supported: only torch.strided tensors exist here");
        }
        device = usable_device(call.device(first + 2));
        requires_grad = call.boolean(first + 4);
        if (requires_grad && !is_differentiable(dtype))
            flb::fail(ErrorKind::Runtime, "Only Tensors of floating point and complex dtype can require gradients, got ", name_of(dtype));
    }
    PyObject* finish(TensorRef t) const {
        if (requires_grad) t->requires_grad_flag = true;
        return t.release();
    }
    DType dtype;
    DeviceType device;
    bool requires_grad;
};

DType dtype_of_scalar(const Scalar& s) {
    switch (s.category()) {
        case DTypeKind::Bool: return DType::Bool;
        case DTypeKind::Integer: return DType::Int64;
        case DTypeKind::Float: return default_dtype();
        case DTypeKind::Complex: break;
    }
    return default_complex_dtype();
}

PyObject* empty_(Call& call) {  // size, out, dtype, layout, device, pin_memory, requires_grad, memory_format
    const Options o(call, 2, call.out() ? call.out()->dtype : default_dtype());
    const Dims size = call.ints(0);
    if (call.out()) {
        resize_output(*call.out(), size, call.name());
        return o.finish(TensorRef::borrow(call.out()));
    }
    return o.finish(empty_format(size, o.dtype, o.device, call.memory_format(7, MemoryFormat::Contiguous)));
}

PyObject* empty_strided_(Call& call) {  // size, stride, dtype ...
    const Options o(call, 2, default_dtype());
    return o.finish(empty_strided(call.ints(0), call.ints(1), o.dtype, o.device));
}

PyObject* full(Call& call) {  // size, fill_value, out, dtype ...
    const Scalar value = call.scalar(1);
    const Options o(call, 3, call.out() ? call.out()->dtype : dtype_of_scalar(value));
    TensorRef t = output(call, call.ints(0), o.dtype, call.out() ? call.out()->device : o.device);
    fill(*t, value);
    return o.finish(t);
}

template <int value>
PyObject* constant(Call& call) {  // size, out, dtype ...
    const Options o(call, 2, call.out() ? call.out()->dtype : default_dtype());
    TensorRef t = output(call, call.ints(0), o.dtype, call.out() ? call.out()->device : o.device);
    fill(*t, Scalar(int64_t(value)));
    return o.finish(t);
}

TensorRef like(Call& call, int first, const Options& o, int format_index) {
    Tensor& t = call.tensor(0);
    const MemoryFormat format = call.memory_format(format_index, MemoryFormat::Preserve);
    const DeviceType device = call.none(first + 2) ? t.device : o.device;
    if (format == MemoryFormat::Preserve && device == t.device) return empty_like(t, o.dtype);
    return empty_format(t.sizes, o.dtype, device, format);
}
PyObject* empty_like_(Call& call) {  // input, dtype, layout, device, pin_memory, requires_grad, memory_format
    const Options o(call, 1, call.tensor(0).dtype);
    return o.finish(like(call, 1, o, 6));
}
template <int value>
PyObject* constant_like(Call& call) {
    const Options o(call, 1, call.tensor(0).dtype);
    TensorRef t = like(call, 1, o, 6);
    fill(*t, Scalar(int64_t(value)));
    return o.finish(t);
}
PyObject* full_like(Call& call) {  // input, fill_value, dtype ...
    const Options o(call, 2, call.tensor(0).dtype);
    TensorRef t = like(call, 2, o, 7);
    fill(*t, call.scalar(1));
    return o.finish(t);
}

PyObject* fill_(Call& call) {
    Tensor& t = call.tensor(0);
    call.check(!has_internal_overlap(t), "unsupported operation: more than one element of the written-to tensor refers to a "
               "single memory location. Please clone() the tensor before performing the operation.");
    const Scalar value = call.scalar(1);
    call.check(!value.is_complex() || is_complex(t.dtype), "value cannot be converted to type ", name_of(t.dtype), " without overflow");
    fill(t, value);
    return Py_NewRef(call.args[0]);
}
PyObject* zero_(Call& call) {
    fill(call.tensor(0), Scalar(int64_t(0)));
    return Py_NewRef(call.args[0]);
}

PyObject* copy_(Call& call) {
    Tensor &out = call.tensor(0), &in = call.tensor(1);
    call.check(broadcastable_to(in.sizes, out.sizes), "The size of tensor a ", str(out.sizes), " must match the size of tensor b ",
               str(in.sizes), ": output with shape ", str(out.sizes), " doesn't match the broadcast shape");
    call.check(!has_internal_overlap(out), "unsupported operation: more than one element of the written-to tensor refers to a "
               "single memory location. Please clone() the tensor before performing the operation.");
    copy_into(out, in);
    return Py_NewRef(call.args[0]);
}

PyObject* clone_(Call& call) { return clone(call.tensor(0), call.memory_format(1, MemoryFormat::Preserve)).release(); }

PyObject* contiguous_(Call& call) {
    const MemoryFormat format = call.memory_format(1, MemoryFormat::Contiguous);
    call.check(format != MemoryFormat::Preserve, "preserve memory format is unsupported by the contiguous operator");
    if (is_contiguous(call.tensor(0), format)) return Py_NewRef(call.args[0]);
    return clone(call.tensor(0), format).release();
}

// _to(input, dtype, device, copy, memory_format): the one conversion that `to`, `float`, `type` and friends use.
PyObject* to(Call& call) {
    Tensor& t = call.tensor(0);
    const DType dtype = call.dtype(1, t.dtype);
    const DeviceType device = call.none(2) ? t.device : usable_device(call.device(2));
    const MemoryFormat format = call.memory_format(4, MemoryFormat::Preserve);
    if (dtype == t.dtype && device == t.device && !call.boolean(3) && (format == MemoryFormat::Preserve || is_contiguous(t, format)))
        return Py_NewRef(call.args[0]);
    check_as(ErrorKind::NotImplemented, !t.is_meta() || device == DeviceType::Meta, "Cannot copy out of meta tensor; no data!");
    TensorRef out = device == t.device && format == MemoryFormat::Preserve ? empty_like(t, dtype) : empty_format(t.sizes, dtype, device, format);
    if (device != DeviceType::Meta) copy_into(*out, t);
    return out.release();
}

}  // namespace

FLB_OPS({"empty", empty_}, {"empty_strided", empty_strided_}, {"full", full}, {"zeros", constant<0>}, {"ones", constant<1>},
        {"empty_like", empty_like_}, {"zeros_like", constant_like<0>}, {"ones_like", constant_like<1>}, {"full_like", full_like},
        {"fill_", fill_}, {"zero_", zero_}, {"copy_", copy_}, {"clone", clone_}, {"contiguous", contiguous_}, {"_to", to});

}  // namespace flb
