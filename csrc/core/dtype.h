// The element types and what is known of each: one table, read by everything else.
#pragma once
#include <cstdint>

#include "core/error.h"
#include "core/scalar_types.h"

namespace flb {

enum class DType : uint8_t {
    Bool,
    UInt8,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt16,
    UInt32,
    UInt64,
    Float16,
    BFloat16,
    Float32,
    Float64,
    Complex32,
    Complex64,
    Complex128,
    // Those that only store: see is_stored_only.
    Float8_e5m2,
    Float8_e4m3fn,
    Float8_e5m2fnuz,
    Float8_e4m3fnuz,
    Float8_e8m0fnu,
    Float4_e2m1fn_x2,
    Bits1x8,
    Bits2x4,
    Bits4x2,
    Bits8,
    Bits16,
    UInt1,
    UInt2,
    UInt3,
    UInt4,
    UInt5,
    UInt6,
    UInt7,
    Int1,
    Int2,
    Int3,
    Int4,
    Int5,
    Int6,
    Int7,
};
constexpr int kComputingDTypes = 16;  // the first ones
constexpr int kDTypeCount = 41;

// Ordered: promotion across kinds goes to the larger one.
enum class DTypeKind : uint8_t { Bool, Integer, Float, Complex };

struct DTypeInfo {
    const char* name;        // as in `torch.float32`
    const char* class_name;  // as in PyTorch's messages: "Float", "Long"
    const char* code;        // NumPy / buffer protocol kind and size: "f4"
    uint8_t itemsize;
    DTypeKind kind;
    bool is_signed;
    DType real;     // the dtype of the real part; itself for real dtypes
    DType complex;  // the complex dtype whose part this is; itself where there is none
};

constexpr DTypeInfo kDTypes[kDTypeCount] = {
    {"bool", "Bool", "b1", 1, DTypeKind::Bool, false, DType::Bool, DType::Complex64},
    {"uint8", "Byte", "u1", 1, DTypeKind::Integer, false, DType::UInt8, DType::Complex64},
    {"int8", "Char", "i1", 1, DTypeKind::Integer, true, DType::Int8, DType::Complex64},
    {"int16", "Short", "i2", 2, DTypeKind::Integer, true, DType::Int16, DType::Complex64},
    {"int32", "Int", "i4", 4, DTypeKind::Integer, true, DType::Int32, DType::Complex64},
    {"int64", "Long", "i8", 8, DTypeKind::Integer, true, DType::Int64, DType::Complex64},
    {"uint16", "UInt16", "u2", 2, DTypeKind::Integer, false, DType::UInt16, DType::Complex64},
    {"uint32", "UInt32", "u4", 4, DTypeKind::Integer, false, DType::UInt32, DType::Complex64},
    {"uint64", "UInt64", "u8", 8, DTypeKind::Integer, false, DType::UInt64, DType::Complex64},
    {"float16", "Half", "f2", 2, DTypeKind::Float, true, DType::Float16, DType::Complex32},
    {"bfloat16", "BFloat16", "V2", 2, DTypeKind::Float, true, DType::BFloat16, DType::Complex64},
    {"float32", "Float", "f4", 4, DTypeKind::Float, true, DType::Float32, DType::Complex64},
    {"float64", "Double", "f8", 8, DTypeKind::Float, true, DType::Float64, DType::Complex128},
    {"complex32", "ComplexHalf", "V4", 4, DTypeKind::Complex, true, DType::Float16, DType::Complex32},
    {"complex64", "ComplexFloat", "c8", 8, DTypeKind::Complex, true, DType::Float32, DType::Complex64},
    {"complex128", "ComplexDouble", "c16", 16, DTypeKind::Complex, true, DType::Float64, DType::Complex128},
    {"float8_e5m2", "Float8_e5m2", "V1", 1, DTypeKind::Float, true, DType::Float8_e5m2, DType::Float8_e5m2},
    {"float8_e4m3fn", "Float8_e4m3fn", "V1", 1, DTypeKind::Float, true, DType::Float8_e4m3fn,
     DType::Float8_e4m3fn},
    {"float8_e5m2fnuz", "Float8_e5m2fnuz", "V1", 1, DTypeKind::Float, true, DType::Float8_e5m2fnuz,
     DType::Float8_e5m2fnuz},
    {"float8_e4m3fnuz", "Float8_e4m3fnuz", "V1", 1, DTypeKind::Float, true, DType::Float8_e4m3fnuz,
     DType::Float8_e4m3fnuz},
    {"float8_e8m0fnu", "Float8_e8m0fnu", "V1", 1, DTypeKind::Float, false, DType::Float8_e8m0fnu,
     DType::Float8_e8m0fnu},
    {"float4_e2m1fn_x2", "Float4_e2m1fn_x2", "V1", 1, DTypeKind::Float, true, DType::Float4_e2m1fn_x2,
     DType::Float4_e2m1fn_x2},
    {"bits1x8", "Bits1x8", "V1", 1, DTypeKind::Integer, false, DType::Bits1x8, DType::Bits1x8},
    {"bits2x4", "Bits2x4", "V1", 1, DTypeKind::Integer, false, DType::Bits2x4, DType::Bits2x4},
    {"bits4x2", "Bits4x2", "V1", 1, DTypeKind::Integer, false, DType::Bits4x2, DType::Bits4x2},
    {"bits8", "Bits8", "V1", 1, DTypeKind::Integer, false, DType::Bits8, DType::Bits8},
    {"bits16", "Bits16", "V2", 2, DTypeKind::Integer, false, DType::Bits16, DType::Bits16},
    {"uint1", "UInt1", "V1", 1, DTypeKind::Integer, false, DType::UInt1, DType::UInt1},
    {"uint2", "UInt2", "V1", 1, DTypeKind::Integer, false, DType::UInt2, DType::UInt2},
    {"uint3", "UInt3", "V1", 1, DTypeKind::Integer, false, DType::UInt3, DType::UInt3},
    {"uint4", "UInt4", "V1", 1, DTypeKind::Integer, false, DType::UInt4, DType::UInt4},
    {"uint5", "UInt5", "V1", 1, DTypeKind::Integer, false, DType::UInt5, DType::UInt5},
    {"uint6", "UInt6", "V1", 1, DTypeKind::Integer, false, DType::UInt6, DType::UInt6},
    {"uint7", "UInt7", "V1", 1, DTypeKind::Integer, false, DType::UInt7, DType::UInt7},
    {"int1", "Int1", "V1", 1, DTypeKind::Integer, true, DType::Int1, DType::Int1},
    {"int2", "Int2", "V1", 1, DTypeKind::Integer, true, DType::Int2, DType::Int2},
    {"int3", "Int3", "V1", 1, DTypeKind::Integer, true, DType::Int3, DType::Int3},
    {"int4", "Int4", "V1", 1, DTypeKind::Integer, true, DType::Int4, DType::Int4},
    {"int5", "Int5", "V1", 1, DTypeKind::Integer, true, DType::Int5, DType::Int5},
    {"int6", "Int6", "V1", 1, DTypeKind::Integer, true, DType::Int6, DType::Int6},
    {"int7", "Int7", "V1", 1, DTypeKind::Integer, true, DType::Int7, DType::Int7},
};

constexpr const DTypeInfo& info(DType t) { return kDTypes[int(t)]; }
constexpr int itemsize(DType t) { return info(t).itemsize; }
constexpr const char* name_of(DType t) { return info(t).name; }
constexpr bool is_floating(DType t) { return info(t).kind == DTypeKind::Float; }
constexpr bool is_complex(DType t) { return info(t).kind == DTypeKind::Complex; }
constexpr bool is_integral(DType t, bool include_bool = false) {
    return info(t).kind == DTypeKind::Integer || (include_bool && t == DType::Bool);
}
// Note [Stored only]: what these dtypes hold is moved about as bytes. float8 converts to and from float32 (core/float8.h)
// and little else knows its values; of the others even the values are the program's affair. No kernel is compiled for
// them: `visit` refuses them, and so does any operator that is not listed as taking them (_ops/stored_only.py).
constexpr bool is_stored_only(DType t) { return int(t) >= kComputingDTypes; }
constexpr bool is_float8(DType t) { return t >= DType::Float8_e5m2 && t <= DType::Float8_e8m0fnu; }
constexpr bool is_bits(DType t) { return t >= DType::Bits1x8 && t <= DType::Bits16; }
[[noreturn]] void refuse_stored_only(DType t);  // NotImplementedError
constexpr bool is_differentiable(DType t) { return info(t).kind >= DTypeKind::Float; }

template <class T> struct dtype_of;
#define FLB_DTYPE_OF(ctype, dt)                   \
    template <> struct dtype_of<ctype> {          \
        static constexpr DType value = DType::dt; \
    };
FLB_DTYPE_OF(bool, Bool)
FLB_DTYPE_OF(uint8_t, UInt8)
FLB_DTYPE_OF(int8_t, Int8)
FLB_DTYPE_OF(int16_t, Int16)
FLB_DTYPE_OF(int32_t, Int32)
FLB_DTYPE_OF(int64_t, Int64)
FLB_DTYPE_OF(uint16_t, UInt16)
FLB_DTYPE_OF(uint32_t, UInt32)
FLB_DTYPE_OF(uint64_t, UInt64)
FLB_DTYPE_OF(Half, Float16)
FLB_DTYPE_OF(BFloat16, BFloat16)
FLB_DTYPE_OF(float, Float32)
FLB_DTYPE_OF(double, Float64)
FLB_DTYPE_OF(Complex<Half>, Complex32)
FLB_DTYPE_OF(Complex<float>, Complex64)
FLB_DTYPE_OF(Complex<double>, Complex128)
#undef FLB_DTYPE_OF

template <class T> struct Type {
    using type = T;
};

// visit(dtype, [&](auto t) { using T = typename decltype(t)::type; ... }): the one dispatch over all computing dtypes.
template <class F>
FLB_INLINE decltype(auto) visit(DType t, F&& f) {
    switch (t) {
        case DType::Bool: return f(Type<bool>{});
        case DType::UInt8: return f(Type<uint8_t>{});
        case DType::Int8: return f(Type<int8_t>{});
        case DType::Int16: return f(Type<int16_t>{});
        case DType::Int32: return f(Type<int32_t>{});
        case DType::Int64: return f(Type<int64_t>{});
        case DType::UInt16: return f(Type<uint16_t>{});
        case DType::UInt32: return f(Type<uint32_t>{});
        case DType::UInt64: return f(Type<uint64_t>{});
        case DType::Float16: return f(Type<Half>{});
        case DType::BFloat16: return f(Type<BFloat16>{});
        case DType::Float32: return f(Type<float>{});
        case DType::Float64: return f(Type<double>{});
        case DType::Complex32: return f(Type<Complex<Half>>{});
        case DType::Complex64: return f(Type<Complex<float>>{});
        case DType::Complex128: return f(Type<Complex<double>>{});
        default: break;
    }
    refuse_stored_only(t);
}

// By width only: for kernels that move bytes and never look at them (copy, gather, where, cat ...).
struct Bytes16 {
    uint64_t lo, hi;
};
template <class F>
FLB_INLINE decltype(auto) visit_width(DType t, F&& f) {
    switch (itemsize(t)) {
        case 1: return f(Type<uint8_t>{});
        case 2: return f(Type<uint16_t>{});
        case 4: return f(Type<uint32_t>{});
        case 8: return f(Type<uint64_t>{});
        default: return f(Type<Bytes16>{});
    }
}

// PyTorch's promotion of two dtypes (torch.promote_types). Of those that only store, hardly any two have a common one.
DType promote_types(DType a, DType b);
// The complex dtype with parts of a floating one; RuntimeError where there is none.
DType complex_dtype(DType t);

}  // namespace flb
