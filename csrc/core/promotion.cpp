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

DType promote_stored_only(DType a, DType b) {
    const char *x = info(a).class_name, *y = info(b).class_name;
    check(!is_bits(a) && !is_bits(b), "Promotion from ", x, " and ", y, " is unsupported.");
    check(!is_float8(a) && !is_float8(b),
          "Promotion for Float8 Types is not supported, attempted to promote ", x, " and ", y);
    const auto is_unsigned = [](DType t) { return info(t).kind == DTypeKind::Integer && !info(t).is_signed; };
    // Unsigned integers give way to floating dtypes, whatever their width.
    if (is_unsigned(a) && is_floating(b) && b >= DType::Float16) return b;
    if (is_unsigned(b) && is_floating(a) && a >= DType::Float16) return a;
    fail(ErrorKind::Runtime, "Promotion for narrow types is not supported, attempted to promote ", x, " and ",
         y);
}
}  // namespace

void refuse_stored_only(DType t) {
    fail(ErrorKind::NotImplemented, "the kernel is not implemented for '", info(t).class_name,
         is_float8(t) ? "': this dtype only stores; convert to float32 to compute"
                      : "': its elements are moved and nothing else");
}

DType complex_dtype(DType t) {
    check(!is_stored_only(t), "Unknown Complex ScalarType for ", info(t).class_name);
    return info(t).complex;
}

DType promote_types(DType a, DType b) {
    if (a == b) return a;
    if (is_stored_only(a) || is_stored_only(b)) return promote_stored_only(a, b);
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
