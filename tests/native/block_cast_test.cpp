// Every pair of element types through cast_block, against a plain scalar conversion; exits with 1 on a difference.
#include "kernels/isa/block_cast.h"

#include <cmath>
#include <cstdio>
#include <iterator>
#include <limits>
#include <memory>
#include <type_traits>

#include "core/dtype.h"

using namespace flb;

namespace {

int failures = 0;

template <class T>
T make(double x) {
    if constexpr (FLB_ISA::kIsComplex<T>) {
        using Part = typename FLB_ISA::PartOf<T>::type;
        return T(make<Part>(x), make<Part>(x / 2));
    } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        return std::isfinite(x) && std::fabs(x) < 9e18 ? T(int64_t(x)) : T(7);
    } else if constexpr (std::is_same_v<T, bool>) {
        return x != 0;
    } else {
        return T(float(x));
    }
}
template <class T>
double real_part(T x) {
    if constexpr (FLB_ISA::kIsComplex<T>)
        return real_part(x.re);
    else if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
        return double(float(x));
    else
        return double(x);
}

const double kValues[] = {0, 1, -1, 2.75, -2.75, 100.5, 255, 300.7, -300.5, 1e4, 65504, 65536, 1e-7, 1e10, -1e10, 1e19,
                          3e38, INFINITY, -INFINITY, NAN, 2147483648.0, -2147483648.0, 4294967301.0};

template <class To, class From>
void check_pair(DType to, DType from) {
    constexpr size_t n = 701;  // several chunks and a remainder
    auto in = std::make_unique<From[]>(n);
    for (size_t i = 0; i < n; ++i) in[i] = make<From>(kValues[(i * 7 + i / 23) % std::size(kValues)]);
    auto out = std::make_unique<To[]>(n);
    FLB_ISA::cast_block(out.get(), in.get(), int64_t(n));
    for (size_t i = 0; i < n; ++i) {
        const double got = real_part(out[i]), x = real_part(in[i]);
        double expected = real_part(FLB_ISA::cast_value<To>(in[i]));
        // Where the value fits, the conversion must be the ordinary one.
        if constexpr (std::is_integral_v<To> && !std::is_same_v<To, bool>)
            if (std::fabs(x) < 9e15 && std::trunc(x) >= double(std::numeric_limits<To>::min()) &&
                std::trunc(x) <= double(std::numeric_limits<To>::max()))
                expected = std::trunc(x);
        if (!(got == expected || (std::isnan(got) && std::isnan(expected)))) {
            std::printf("%s <- %s: %g became %g, expected %g  FAILED\n", name_of(to), name_of(from), x, got, expected);
            ++failures;
            return;
        }
    }
}

template <class T>
void check_value(const char* what, T got, T expected) {
    if (got != expected) {
        std::printf("%s: %g, expected %g  FAILED\n", what, double(got), double(expected));
        ++failures;
    }
}

}  // namespace

int main() {
    for (int to = 0; to < kComputingDTypes; ++to)
        for (int from = 0; from < kComputingDTypes; ++from)
            visit(DType(to), [&](auto t) {
                visit(DType(from), [&](auto f) {
                    check_pair<typename decltype(t)::type, typename decltype(f)::type>(DType(to), DType(from));
                });
            });
    using FLB_ISA::cast_value;
    check_value("nan to int32", cast_value<int32_t>(NAN), INT32_MIN);
    check_value("1e10 to int32", cast_value<int32_t>(1e10f), INT32_MIN);
    check_value("1e10 to int64", cast_value<int64_t>(1e10), int64_t(10000000000));
    check_value("inf to int64", cast_value<int64_t>(INFINITY), INT64_MIN);
    check_value("300.7 to uint8", cast_value<uint8_t>(300.7f), uint8_t(44));
    check_value("-1.5 to uint8", cast_value<uint8_t>(-1.5), uint8_t(255));
    check_value("nan to uint8", cast_value<uint8_t>(NAN), uint8_t(0));
    check_value("1e19 to uint64", cast_value<uint64_t>(1e19), uint64_t(10000000000000000000u));
    check_value("-300.5 to uint32", cast_value<uint32_t>(-300.5), uint32_t(4294966996));
    check_value("nan to bool", cast_value<bool>(NAN), true);
    check_value("1e-7 to bool", cast_value<bool>(Half(1e-7f)), true);
    check_value("2^-25 and above to float16", float(cast_value<Half>(0x1.8p-25f)), 0x1p-24f);
    check_value("65520 to float16", float(cast_value<Half>(65520.0f)), INFINITY);
    check_value("65519 to float16", float(cast_value<Half>(65519.0f)), 65504.0f);
    std::printf("%d failures\n", failures);
    return failures != 0;
}
