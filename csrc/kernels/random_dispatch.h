// The dtypes that a random recipe has; the others raise, with the name that PyTorch's message gives.
#pragma once
#include "core/dtype.h"
#include "core/error.h"

namespace flb::random {

[[noreturn]] inline void not_implemented(const char* recipe, DType t) {
    fail(ErrorKind::NotImplemented, '"', recipe, "\" not implemented for '", info(t).class_name, "'");
}

template <class F>
void visit_floating(const char* recipe, DType t, F&& f) {
    switch (t) {
        case DType::Float16: return f(Type<Half>{});
        case DType::BFloat16: return f(Type<BFloat16>{});
        case DType::Float32: return f(Type<float>{});
        case DType::Float64: return f(Type<double>{});
        default: not_implemented(recipe, t);
    }
}

template <class F>
void visit_real(const char* recipe, DType t, F&& f) {
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
        default: return visit_floating(recipe, t, f);
    }
}

}  // namespace flb::random
