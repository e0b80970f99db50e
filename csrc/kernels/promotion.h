// The dtype of a result: PyTorch's promotion over tensors, zero-dimensional tensors and numbers.
#pragma once
#include "core/scalar.h"
#include "tensor/tensor.h"

namespace flb {

// Feed operands, then ask. Tensors with dimensions decide before zero-dimensional ones, these before numbers; a later
// class counts only where its kind (bool < integer < float < complex) is higher.
class Promotion {
  public:
    void tensor(const Tensor& t) { merge(t.zero_dim_number ? number_ : t.ndim() ? dims_ : zero_, t.dtype); }
    void dtype(DType t) { merge(dims_, t); }
    void scalar(const Scalar& s) {
        switch (s.category()) {
            case DTypeKind::Bool: merge(number_, DType::Bool); break;
            case DTypeKind::Integer: merge(number_, DType::Int64); break;
            case DTypeKind::Float: merge(number_, default_dtype()); break;
            case DTypeKind::Complex: merge(number_, default_complex_dtype()); break;
        }
    }
    DType result() const { return combine(dims_, combine(zero_, number_)); }

  private:
    static constexpr DType kNone = DType(kDTypeCount);
    static void merge(DType& slot, DType t) { slot = slot == kNone ? t : promote_types(slot, t); }
    static DType combine(DType higher, DType lower) {
        if (higher == kNone) return lower;
        if (lower == kNone || is_complex(higher)) return higher;
        if (is_floating(higher)) return is_complex(lower) ? complex_dtype(higher) : higher;
        if (higher == DType::Bool || info(lower).kind >= DTypeKind::Float)
            return promote_types(higher, lower);
        return higher;
    }
    DType dims_ = kNone, zero_ = kNone, number_ = kNone;
};

}  // namespace flb
