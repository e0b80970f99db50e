// What the operators of neural networks share: they compute in float or double on dense data.
#pragma once
#include "bindings/op.h"
#include "core/interpreter.h"
#include "core/parallel.h"

namespace flb {

constexpr int64_t kNnGrain = 32768;  // elements that are worth a thread

// Tasks of `work` elements each that make a grain.
inline int64_t grain_for(int64_t work) { return work >= kNnGrain ? 1 : 1 + kNnGrain / (work + 1); }

// float16 and bfloat16 compute in float32.
inline DType compute_dtype(const Call& call, const Tensor& t) {
    if (!is_floating(t.dtype) || is_stored_only(t.dtype))
        fail(ErrorKind::NotImplemented, "\"", call.name(), "\" not implemented for '",
             info(t.dtype).class_name, "': it takes floating point tensors; convert with .float()");
    return t.dtype == DType::Float64 ? DType::Float64 : DType::Float32;
}

// Row-major and of this dtype, for a kernel to read; `t` itself where it is so already.
inline TensorRef dense(Tensor& t, DType dtype) {
    TensorRef same = cast(t, dtype);
    return contiguous(*same);
}
// Dense in a layout of its own choice.
inline TensorRef dense_in(Tensor& t, DType dtype, MemoryFormat format) {
    TensorRef same = cast(t, dtype);
    return is_contiguous(*same, format) ? same : clone(*same, format);
}
inline TensorRef dense_or_null(Tensor* t, DType dtype) { return t ? dense(*t, dtype) : TensorRef(); }

// The indices as int64 in memory of their own: once checked, no other thread of the program changes them.
inline TensorRef own_indices(Tensor& t) {
    TensorRef wide = dense(t, DType::Int64);
    return wide->storage == t.storage ? clone(*wide, MemoryFormat::Contiguous) : wide;
}

template <class T = void>
T* data_of(const TensorRef& t) {
    return t ? reinterpret_cast<T*>(kernel_pointer(*t)) : nullptr;
}

}  // namespace flb
