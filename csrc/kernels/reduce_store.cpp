// From accumulators to results: the last step of a reduction, once per result and so not worth vectors.
#include <cmath>

#include "kernels/reduce_kernels.h"

namespace flb {
namespace {

template <class A>
A finish(A x, const ReduceParams& params) {
    switch (params.finish) {
        case ReduceFinish::None: return x;
        case ReduceFinish::Divide: return A(x / A(params.argument));
        case ReduceFinish::Sqrt: return A(std::sqrt(x));
        case ReduceFinish::Pow: return A(std::pow(x, A(params.argument)));
    }
    return x;
}
template <class T>
Complex<T> finish(Complex<T> z, const ReduceParams& params) {
    if (params.finish != ReduceFinish::Divide) return z;
    return {z.re / T(params.argument), z.im / T(params.argument)};
}

template <class A, class Out>
struct Convert {
    static Out of(A x) { return Out(x); }
};
template <class Out>
struct Convert<double, Out> {
    // float16 and bfloat16 convert from float
    static Out of(double x) { return Out(sizeof(Out) == 2 ? float(x) : x); }
};
template <class A, class T>
struct Convert<A, Complex<T>> {
    static Complex<T> of(A x) { return {Convert<A, T>::of(x), T(0)}; }
};
template <class A, class T>
struct Convert<Complex<A>, Complex<T>> {
    static Complex<T> of(Complex<A> z) { return Complex<T>(z); }
};

template <class A, class Out>
void store_values(const void* acc, int64_t n, char* out, int64_t stride, char*, int64_t,
                  const ReduceParams& params) {
    const A* x = static_cast<const A*>(acc);
    for (int64_t j = 0; j < n; ++j)
        *reinterpret_cast<Out*>(out + j * stride) = Convert<A, Out>::of(finish(x[j], params));
}

template <class A, class Out>
void store_found(const void* acc, int64_t n, char* out, int64_t stride, char* out2, int64_t stride2,
                 const ReduceParams&) {
    const int64_t* index = static_cast<const int64_t*>(acc);
    const A* value = reinterpret_cast<const A*>(index + n);
    if (out)
        for (int64_t j = 0; j < n; ++j)
            *reinterpret_cast<Out*>(out + j * stride) = Convert<A, Out>::of(value[j]);
    if (out2)
        for (int64_t j = 0; j < n; ++j) *reinterpret_cast<int64_t*>(out2 + j * stride2) = index[j];
}

template <class Out>
void store_moments(const void* acc, int64_t n, char* out, int64_t stride, char* out2, int64_t stride2,
                   const ReduceParams& params) {
    const double *mean = static_cast<const double*>(acc) + n, *m2 = mean + n;
    const double divisor = params.argument > 0 ? params.argument : 0;
    for (int64_t j = 0; j < n; ++j) {
        const double variance = m2[j] / divisor;
        const double result = params.finish == ReduceFinish::Sqrt ? std::sqrt(variance) : variance;
        if (out) *reinterpret_cast<Out*>(out + j * stride) = Convert<double, Out>::of(result);
        if (out2) *reinterpret_cast<Out*>(out2 + j * stride2) = Convert<double, Out>::of(mean[j]);
    }
}

template <class A>
ReduceStore real_store(bool found, DType out) {
    return visit(out, [found](auto t) -> ReduceStore {
        using Out = typename decltype(t)::type;
        if constexpr (requires(Out o) { o.im; }) return nullptr;
        else return found ? &store_found<A, Out> : &store_values<A, Out>;
    });
}

template <class A>
ReduceStore complex_store(DType out) {
    switch (out) {
        case DType::Complex64: return &store_values<Complex<A>, Complex<float>>;
        case DType::Complex128: return &store_values<Complex<A>, Complex<double>>;
        default: return nullptr;
    }
}

}  // namespace

ReduceStore reduce_store(ReduceOp op, DType in, DType out) {
    if (op == ReduceOp::Moments) {
        switch (out) {
            case DType::Float16: return &store_moments<Half>;
            case DType::BFloat16: return &store_moments<BFloat16>;
            case DType::Float32: return &store_moments<float>;
            case DType::Float64: return &store_moments<double>;
            default: return nullptr;
        }
    }
    const bool found = op == ReduceOp::ArgMin || op == ReduceOp::ArgMax;
    switch (reduce_acc_type(op, in)) {
        case AccType::Int32: return real_store<int32_t>(found, out);
        case AccType::Int64: return real_store<int64_t>(found, out);
        case AccType::UInt64: return real_store<uint64_t>(found, out);
        case AccType::Float: return real_store<float>(found, out);
        case AccType::Double: return real_store<double>(found, out);
        case AccType::ComplexFloat:
            return out == DType::Complex32 ? &store_values<Complex<float>, Complex<Half>>
                                           : complex_store<float>(out);
        case AccType::ComplexDouble: return complex_store<double>(out);
    }
    return nullptr;
}

}  // namespace flb
