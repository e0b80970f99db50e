#include "core/dtype.h"

namespace flb {

namespace {
DType promote_integers(DType a, DType b) {
    if (a == b) return a;
    const bool signed_a = info(a).is_signed, signed_b = info(b).is_signed;
    if (signed_a == signed_b) return itemsize(a) >= itemsize(b) ? a : b;
    // uint8 with a signed type gives the next signed type that holds both. PyTorch defines no common type for the
    // wider unsigned ones and a signed type; here they follow the same rule, up to int64.
    const DType u = signed_a ? b : a, s = signed_a ? a : b;
    if (itemsize(s) > itemsize(u)) return s;
    switch (itemsize(u)) {
        case 1: return DType::Int16;
        case 2: return DType::Int32;
        default: return DType::Int64;
    }
}
}  // namespace

DType promote_types(DType a, DType b) {
    if (a == b) return a;
    const DTypeKind ka = info(a).kind, kb = info(b).kind;
    if (ka == DTypeKind::Bool) return b;
    if (kb == DTypeKind::Bool) return a;
    if (ka == DTypeKind::Integer && kb == DTypeKind::Integer) return promote_integers(a, b);
    if (ka < DTypeKind::Float) return b;
    if (kb < DTypeKind::Float) return a;
    if (ka == DTypeKind::Float && kb == DTypeKind::Float) {
        if (itemsize(a) == itemsize(b)) return DType::Float32;  // float16 with bfloat16
        return itemsize(a) > itemsize(b) ? a : b;
    }
    // At least one is complex: the complex dtype whose part holds both parts.
    const DType part = promote_types(info(a).real, info(b).real);
    return info(part).complex;
}

}  // namespace flb
