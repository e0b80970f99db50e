// Conversion of dtype, device and memory format, and tensors made in the likeness of another.
#include "bindings/factory.h"
#include "kernels/promotion.h"

namespace flb {

namespace {

PyObject* converted(PyObject* self, DType dtype, DeviceType device, bool copy, MemoryFormat format) {
    Tensor& t = *reinterpret_cast<Tensor*>(self);
    if (dtype == t.dtype && device == t.device && !copy &&
        (format == MemoryFormat::Preserve || is_contiguous(t, format)))
        return Py_NewRef(self);
    check_as(ErrorKind::NotImplemented, !t.is_meta() || device == DeviceType::Meta,
             "Cannot copy out of meta tensor; no data!");
    TensorRef out = device == t.device && format == MemoryFormat::Preserve
                        ? empty_like(t, dtype)
                        : empty_format(t.sizes, dtype, device, format);
    if (device != DeviceType::Meta) copy_into(*out, t);
    return out.release();
}
DeviceType device_or(const Call& call, int i, DeviceType fallback) {
    return call.none(i) ? fallback : usable_device(call.device(i));
}

PyObject* _to(Call& call) {  // input, dtype, device, copy, memory_format
    Tensor& t = call.tensor(0);
    return converted(call.args[0], call.dtype(1, t.dtype), device_or(call, 2, t.device), call.boolean(3),
                     call.memory_format(4, MemoryFormat::Preserve));
}
PyObject* to_dtype(Call& call) {  // input, dtype, non_blocking, copy, memory_format
    return converted(call.args[0], call.dtype(1), call.tensor(0).device, call.boolean(3),
                     call.memory_format(4, MemoryFormat::Preserve));
}
PyObject* to_device(Call& call) {  // input, device, dtype, non_blocking, copy, memory_format
    Tensor& t = call.tensor(0);
    return converted(call.args[0], call.dtype(2, t.dtype), device_or(call, 1, t.device), call.boolean(4),
                     call.memory_format(5, MemoryFormat::Preserve));
}
PyObject* to_other(Call& call) {  // input, other, non_blocking, copy, memory_format
    const Tensor& other = call.tensor(1);
    return converted(call.args[0], other.dtype, other.device, call.boolean(3),
                     call.memory_format(4, MemoryFormat::Preserve));
}
template <DType dtype>
PyObject* to_fixed(Call& call) {  // input, memory_format
    return converted(call.args[0], dtype, call.tensor(0).device, false,
                     call.memory_format(1, MemoryFormat::Preserve));
}
PyObject* cpu(Call& call) {  // input, memory_format
    return converted(call.args[0], call.tensor(0).dtype, DeviceType::Cpu, false,
                     call.memory_format(1, MemoryFormat::Preserve));
}
PyObject* type_as(Call& call) {  // input, other
    const Tensor& other = call.tensor(1);
    return converted(call.args[0], other.dtype, other.device, false, MemoryFormat::Preserve);
}

// ---- new_*: input's dtype and device unless others are named --------------------------------------------------------------

DeviceType new_device(const Call& call, int i) { return device_or(call, i, call.tensor(0).device); }

PyObject* new_empty(Call& call) {  // input, size, dtype, layout, device ...
    const FactoryOptions o(call, 2, call.tensor(0).dtype);
    return o.finish(empty(call.ints(1), o.dtype, new_device(call, 4)));
}
PyObject* new_empty_strided(Call& call) {  // input, size, stride, dtype ...
    const FactoryOptions o(call, 3, call.tensor(0).dtype);
    return o.finish(empty_strided(call.ints(1), call.ints(2), o.dtype, new_device(call, 5)));
}
template <int value>
PyObject* new_constant(Call& call) {
    const FactoryOptions o(call, 2, call.tensor(0).dtype);
    TensorRef t = empty(call.ints(1), o.dtype, new_device(call, 4));
    fill(*t, Scalar(int64_t(value)));
    return o.finish(t);
}
PyObject* new_full(Call& call) {  // input, size, fill_value, dtype ...
    const FactoryOptions o(call, 3, call.tensor(0).dtype);
    const Scalar value = call.scalar(2);
    check_fits(value, o.dtype);
    TensorRef t = empty(call.ints(1), o.dtype, new_device(call, 5));
    fill(*t, value);
    return o.finish(t);
}

// ---- questions ----------------------------------------------------------------------------------------------------------------

PyObject* result_type(Call& call) {  // tensor1, tensor2
    Promotion promotion;
    for (int i = 0; i < 2; ++i) {
        if (call.is_tensor(i)) promotion.tensor(call.tensor(i));
        else promotion.scalar(call.scalar(i));
    }
    return Py_NewRef(dtype_object(promotion.result()));
}
PyObject* promote_types_(Call& call) {
    return Py_NewRef(dtype_object(promote_types(call.dtype(0), call.dtype(1))));
}
PyObject* can_cast_(Call& call) { return PyBool_FromLong(can_cast(call.dtype(0), call.dtype(1))); }
PyObject* is_floating_point(Call& call) { return PyBool_FromLong(is_floating(call.tensor(0).dtype)); }
PyObject* is_complex_(Call& call) { return PyBool_FromLong(is_complex(call.tensor(0).dtype)); }
PyObject* is_signed(Call& call) { return PyBool_FromLong(info(call.tensor(0).dtype).is_signed); }
PyObject* is_inference(Call& call) { return PyBool_FromLong(call.tensor(0).inference); }
PyObject* numel(Call& call) { return PyLong_FromLongLong(call.tensor(0).numel); }
PyObject* get_device(Call&) { return PyLong_FromLong(-1); }
PyObject* is_same_size(Call& call) { return PyBool_FromLong(call.tensor(0).sizes == call.tensor(1).sizes); }
PyObject* is_nonzero(Call& call) {
    Tensor& t = call.tensor(0);
    check(t.numel != 0, "Boolean value of Tensor with no values is ambiguous");
    check(t.numel == 1, "Boolean value of Tensor with more than one value is ambiguous");
    return PyBool_FromLong(item(t).to_bool());
}

// ---- another window, in place ----------------------------------------------------------------------------------------------

PyObject* resize_(Call& call) {  // input, size, memory_format
    Tensor& t = call.tensor(0);
    check(!t.requires_grad(), "cannot resize variables that require grad");
    const MemoryFormat format = call.memory_format(2, MemoryFormat::Contiguous);
    call.check(format != MemoryFormat::Preserve, "Unsupported memory format: preserve_format");
    const Dims sizes = call.ints(1);
    if (format == MemoryFormat::ChannelsLast || format == MemoryFormat::ChannelsLast3d) {
        const int n = format == MemoryFormat::ChannelsLast ? 4 : 5;
        check(sizes.size() == n, "required rank ", n, " tensor to use channels_last", n == 5 ? "_3d" : "",
              " format");
    }
    resize(t, sizes, format);
    return Py_NewRef(call.args[0]);
}
PyObject* resize_as_(Call& call) {  // input, the_template, memory_format
    Tensor &t = call.tensor(0), &like = call.tensor(1);
    check(!t.requires_grad(), "cannot resize variables that require grad");
    MemoryFormat format = call.memory_format(2, MemoryFormat::Contiguous);
    if (format == MemoryFormat::Preserve) format = suggested_format(like);
    resize(t, like.sizes, format);
    return Py_NewRef(call.args[0]);
}

// set_: the tensor becomes a window on the storage, which grows if it must.
PyObject* set_(Call& call) {  // input, storage, offset, size, stride
    Tensor& t = call.tensor(0);
    Storage* storage = storage_from(call.args[1]);
    check_as(ErrorKind::Type, storage, "set_(): expected a storage, got ", Py_TYPE(call.args[1])->tp_name);
    const int64_t offset = call.integer(2);
    const Dims sizes = call.ints(3), strides = call.none(4) ? contiguous_strides(sizes) : call.ints(4);
    call.check(offset >= 0, "Tensor: invalid storage offset ", offset);
    call.check(strides.size() == sizes.size(), "unequal size length (", sizes.size(), ") and stride length (",
               strides.size(), ")");
    for (int64_t s : strides)
        call.check(s >= 0, "Negative strides are not supported at the moment, got strides: ", str(strides));
    call.check(sizes.size() <= kMaxDims, "a tensor has at most ", kMaxDims, " dimensions, got ",
               sizes.size());
    checked_numel(sizes);
    const int64_t needed = checked_extent_bytes(sizes, strides, offset, itemsize(t.dtype));
    if (uint64_t(needed) > storage->nbytes) resize_storage(storage, size_t(needed));
    set_storage(t, storage);
    set_window(t, sizes, strides, offset);
    return Py_NewRef(call.args[0]);
}

}  // namespace

FLB_OPS({"_to", _to}, {"to.dtype", to_dtype}, {"to", to_device}, {"to.other", to_other}, {"cpu", cpu},
        {"type_as", type_as}, {"float", to_fixed<DType::Float32>}, {"double", to_fixed<DType::Float64>},
        {"half", to_fixed<DType::Float16>}, {"bfloat16", to_fixed<DType::BFloat16>},
        {"bool", to_fixed<DType::Bool>}, {"byte", to_fixed<DType::UInt8>}, {"char", to_fixed<DType::Int8>},
        {"short", to_fixed<DType::Int16>}, {"int", to_fixed<DType::Int32>}, {"long", to_fixed<DType::Int64>},
        {"chalf", to_fixed<DType::Complex32>}, {"cfloat", to_fixed<DType::Complex64>},
        {"cdouble", to_fixed<DType::Complex128>}, {"new_empty", new_empty},
        {"new_empty_strided", new_empty_strided}, {"new_zeros", new_constant<0>},
        {"new_ones", new_constant<1>}, {"new_full", new_full}, {"resize_", resize_},
        {"resize_as_", resize_as_}, {"_set_storage", set_}, {"result_type", result_type},
        {"promote_types", promote_types_}, {"can_cast", can_cast_}, {"is_floating_point", is_floating_point},
        {"is_complex", is_complex_}, {"is_signed", is_signed}, {"is_inference", is_inference},
        {"numel", numel}, {"get_device", get_device}, {"is_same_size", is_same_size},
        {"is_nonzero", is_nonzero});

}  // namespace flb
