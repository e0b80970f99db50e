// Accuracy of csrc/kernels/isa/vmath*.h in its vectorised form, against long double, at one instruction set.
//
//   g++ -std=gnu++20 -O3 <the kernels' flags> -DFLB_ISA=avx2 -DFLB_LEVEL=1 -Icsrc tests/native/vmath_test.cpp
//
// Prints one line per function and range: the largest error in units in the last place of the exact result, and where.
// Exits with 1 when a bound is passed or a special value is wrong. With the argument "speed": nanoseconds per element.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/isa/vmath_maps.h"

using namespace flb::FLB_ISA;
using Long = long double;

namespace {

int failures = 0;

template <class T>
using Unary = void (*)(T*, const T*, int64_t);
template <class T>
using Binary = void (*)(T*, const T*, const T*, int64_t);

struct Range {
    double low, high;
};
// Bounds in ulp: {float, double}.
struct UnaryCase {
    const char* name;
    Unary<float> f32;
    Unary<double> f64;
    Long (*exact)(Long);
    double bound32, bound64;
    std::vector<Range> ranges;
};
struct BinaryCase {
    const char* name;
    Binary<float> f32;
    Binary<double> f64;
    Long (*exact)(Long, Long);
    double bound32, bound64;
    std::vector<Range> first, second;
};

#define UNARY_LOOP(f)                                                    \
    [](auto* out, const auto* a, int64_t n) __attribute__((noinline)) { \
        FLB_IVDEP                                                        \
        for (int64_t i = 0; i < n; ++i) out[i] = f(a[i]);                \
    }
#define BINARY_LOOP(f)                                                                  \
    [](auto* out, const auto* a, const auto* b, int64_t n) __attribute__((noinline)) { \
        FLB_IVDEP                                                                       \
        for (int64_t i = 0; i < n; ++i) out[i] = f(a[i], b[i]);                         \
    }
#define GUARDED_UNARY(f) [](auto* out, const auto* a, int64_t n) __attribute__((noinline)) { f(out, a, n); }
#define GUARDED_BINARY(f) \
    [](auto* out, const auto* a, const auto* b, int64_t n) __attribute__((noinline)) { f(out, a, b, n); }

template <class T>
double error_in_ulp(T got, Long exact) {
    const T rounded = T(exact);
    if (std::isnan(got) || std::isnan(rounded)) return std::isnan(got) && std::isnan(rounded) ? 0 : 1e30;
    if (got == rounded) {
        if (exact == 0 && std::signbit(got) != std::signbit(exact)) return 1e30;
        return std::isinf(got) || Long(got) == exact ? 0 : 0.5;
    }
    if (std::isinf(got) || std::isinf(rounded)) {
        // Overflow one ulp early or late is an error of one ulp.
        const T top = std::numeric_limits<T>::max();
        return std::fabs(std::isinf(got) ? rounded : got) == top && std::signbit(got) == std::signbit(rounded) ? 1
                                                                                                             : 1e30;
    }
    int exponent;
    std::frexp(rounded, &exponent);
    exponent = std::max(exponent, std::numeric_limits<T>::min_exponent);
    return double(std::fabs(Long(got) - exact) / std::ldexp(Long(1), exponent - std::numeric_limits<T>::digits));
}

// Linear samples for a narrow range, geometric ones where the range spans magnitudes.
template <class T>
void sample(std::vector<T>& out, Range range, size_t count, std::mt19937_64& random) {
    std::uniform_real_distribution<double> unit(0, 1);
    const bool geometric = range.low > 0 && range.high / range.low > 100;
    for (size_t i = 0; i < count; ++i) {
        const double u = unit(random);
        const double x = geometric ? std::exp(std::log(range.low) + u * (std::log(range.high) - std::log(range.low)))
                                   : range.low + u * (range.high - range.low);
        out.push_back(T(x));
    }
}

template <class T>
std::vector<T> special_values() {
    using L = std::numeric_limits<T>;
    std::vector<T> values;
    for (T x : {T(0), T(1), T(2), T(3), T(0.5), T(0.25), T(1.5), T(2.5), L::infinity(), L::quiet_NaN(), L::denorm_min(),
                L::min(), L::max(), L::epsilon(), T(1) + L::epsilon(), T(1) - L::epsilon(), T(88.7), T(89), T(-103.9),
                T(104), T(709.7), T(710.4), T(745.1), T(746), T(1e10), T(1e20), T(1e-20), T(1e-10)}) {
        values.push_back(x);
        values.push_back(-x);
    }
    return values;
}

void report(const char* name, const char* type, Range range, double worst, double bound, double where, double second) {
    const bool bad = !(worst <= bound);
    failures += bad;
    std::printf("%-14s %-7s [%10.3g, %10.3g]  %8.3f ulp (bound %.2f) at %.17g, %.17g%s\n", name, type, range.low,
                range.high, worst, bound, where, second, bad ? "  FAILED" : "");
}

template <class T>
void check_unary(const UnaryCase& c, Unary<T> f, const char* type, double bound) {
    std::mt19937_64 random(1);
    auto ranges = c.ranges;
    ranges.push_back({std::nan(""), std::nan("")});  // the special values
    for (Range range : ranges) {
        std::vector<T> a;
        if (std::isnan(range.low))
            a = special_values<T>();
        else
            sample(a, range, 6000, random);
        std::vector<T> out(a.size());
        f(out.data(), a.data(), int64_t(a.size()));
        double worst = 0;
        T where = 0;
        for (size_t i = 0; i < a.size(); ++i) {
            const double e = error_in_ulp(out[i], c.exact(a[i]));
            if (e > worst) worst = e, where = a[i];
        }
        report(c.name, type, range, worst, bound, where, 0);
    }
}

template <class T>
void check_binary(const BinaryCase& c, Binary<T> f, const char* type, double bound) {
    std::mt19937_64 random(2);
    for (size_t k = 0; k <= c.first.size(); ++k) {
        std::vector<T> a, b;
        Range range{std::nan(""), std::nan("")};
        if (k < c.first.size()) {
            range = c.first[k];
            sample(a, c.first[k], 6000, random);
            sample(b, c.second[k], 6000, random);
        } else {
            for (T x : special_values<T>())
                for (T y : special_values<T>()) a.push_back(x), b.push_back(y);
        }
        std::vector<T> out(a.size());
        f(out.data(), a.data(), b.data(), int64_t(a.size()));
        double worst = 0;
        T where = 0, second = 0;
        for (size_t i = 0; i < a.size(); ++i) {
            const double e = error_in_ulp(out[i], c.exact(a[i], b[i]));
            if (e > worst) worst = e, where = a[i], second = b[i];
        }
        report(c.name, type, range, worst, bound, where, second);
    }
}

Long exact_sigmoid(Long x) { return 1 / (1 + expl(-x)); }
Long exact_softplus(Long x) { return (x > 0 ? x : 0) + log1pl(expl(-fabsl(x))); }
Long exact_logaddexp(Long a, Long b) {
    if (a == b && std::isinf(a)) return a;
    return (a > b ? a : b) + log1pl(expl(-fabsl(a - b))) + (std::isnan(a) || std::isnan(b) ? NAN : 0);
}
Long exact_remainder(Long a, Long b) {
    const Long r = fmodl(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

const Range kTiny{1e-37, 1e-3}, kUnit{-1, 1}, kWide{1e-37, 3e38};

// clang-format off
const UnaryCase kUnaryCases[] = {
    {"exp", GUARDED_UNARY(map_exp), GUARDED_UNARY(map_exp), expl, 1.0, 1.0, {kUnit, {-20, 20}, {-104, 89}, {-746, 710}}},
    {"exp2", UNARY_LOOP(vexp2), UNARY_LOOP(vexp2), exp2l, 1.0, 1.1, {kUnit, {-150, 128}, {-1075, 1024}}},
    {"expm1", UNARY_LOOP(vexpm1), UNARY_LOOP(vexpm1), expm1l, 1.6, 2.2, {kUnit, kTiny, {-40, 89}, {-750, 710}}},
    {"log", GUARDED_UNARY(map_log), GUARDED_UNARY(map_log), logl, 1.0, 1.0, {{0.5, 2}, {0.99, 1.01}, {1e-45, 1e-37}, kWide}},
    {"log2", UNARY_LOOP(vlog2), UNARY_LOOP(vlog2), log2l, 1.7, 1.0, {{0.5, 2}, {0.99, 1.01}, {1e-45, 1e-37}, kWide}},
    {"log10", UNARY_LOOP(vlog10), UNARY_LOOP(vlog10), log10l, 1.7, 1.0, {{0.5, 2}, {0.99, 1.01}, kWide}},
    {"log1p", UNARY_LOOP(vlog1p), UNARY_LOOP(vlog1p), log1pl, 1.5, 1.5, {{-0.999, 1}, kTiny, {-1e-3, 1e-3}, kWide}},
    {"sin", GUARDED_UNARY(map_sin), GUARDED_UNARY(map_sin), sinl, 2.1, 2.0, {{-4, 4}, {-1e5, 1e5}, kTiny, {1e5, 1e30}}},
    {"cos", GUARDED_UNARY(map_cos), GUARDED_UNARY(map_cos), cosl, 2.1, 2.0, {{-4, 4}, {-1e5, 1e5}, kTiny, {1e5, 1e30}}},
    {"tan", GUARDED_UNARY(map_tan), GUARDED_UNARY(map_tan), tanl, 1.0, 3.6, {{-4, 4}, {-1e5, 1e5}, kTiny, {1e5, 1e30}}},
    {"tanh", GUARDED_UNARY(map_tanh), GUARDED_UNARY(map_tanh), tanhl, 1.5, 1.5, {kUnit, {-20, 20}, kTiny}},
    {"sinh", UNARY_LOOP(vsinh), UNARY_LOOP(vsinh), sinhl, 1.8, 1.8, {kUnit, {-20, 20}, {-90, 90}, {-711, 711}, kTiny}},
    {"cosh", UNARY_LOOP(vcosh), UNARY_LOOP(vcosh), coshl, 1.8, 1.8, {kUnit, {-20, 20}, {-90, 90}, {-711, 711}}},
    {"asin", UNARY_LOOP(vasin), UNARY_LOOP(vasin), asinl, 1.6, 1.6, {kUnit, kTiny, {0.99, 1.01}}},
    {"acos", UNARY_LOOP(vacos), UNARY_LOOP(vacos), acosl, 1.8, 1.8, {kUnit, kTiny, {0.99, 1.01}}},
    {"atan", UNARY_LOOP(vatan), UNARY_LOOP(vatan), atanl, 1.8, 1.8, {kUnit, {-10, 10}, kWide}},
    {"asinh", UNARY_LOOP(vasinh), UNARY_LOOP(vasinh), asinhl, 1.0, 2.5, {kUnit, {-10, 10}, kWide}},
    {"acosh", UNARY_LOOP(vacosh), UNARY_LOOP(vacosh), acoshl, 1.0, 2.5, {{1, 2}, {0.9, 10}, {1, 3e38}}},
    {"atanh", UNARY_LOOP(vatanh), UNARY_LOOP(vatanh), atanhl, 1.0, 2.5, {kUnit, kTiny, {0.9, 1}}},
    {"erf", GUARDED_UNARY(map_erf), GUARDED_UNARY(map_erf), erfl, 1.6, 1.6, {kUnit, {-6, 6}, kTiny}},
    {"erfc", UNARY_LOOP(verfc), UNARY_LOOP(verfc), erfcl, 1.0, 4.0, {kUnit, {-6, 6}, {5, 10.2}, {5, 28}}},
    {"sigmoid", GUARDED_UNARY(map_sigmoid), GUARDED_UNARY(map_sigmoid), exact_sigmoid, 2.2, 2.2, {kUnit, {-20, 20}, {-104, 90}}},
    {"softplus", UNARY_LOOP(vsoftplus), UNARY_LOOP(vsoftplus), exact_softplus, 2.5, 2.5, {kUnit, {-20, 20}, {-104, 90}}},
    {"sqrt", UNARY_LOOP(vsqrt), UNARY_LOOP(vsqrt), sqrtl, 0.5, 0.5, {kWide}},
    {"round", UNARY_LOOP(vround), UNARY_LOOP(vround), nearbyintl, 0.5, 0.5, {{-9, 9}, kWide}},
    {"floor", UNARY_LOOP(vfloor), UNARY_LOOP(vfloor), floorl, 0.5, 0.5, {{-9, 9}, kWide}},
    {"ceil", UNARY_LOOP(vceil), UNARY_LOOP(vceil), ceill, 0.5, 0.5, {{-9, 9}, kWide}},
    {"trunc", UNARY_LOOP(vtrunc), UNARY_LOOP(vtrunc), truncl, 0.5, 0.5, {{-9, 9}, kWide}},
};
const BinaryCase kBinaryCases[] = {
    {"pow", BINARY_LOOP(vpow), BINARY_LOOP(vpow), powl, 1.0, 1.5,
     {{0.5, 2}, {1e-30, 1e30}, {0.9, 1.1}, {-3, 3}}, {{-90, 90}, {-1.3, 1.3}, {-800, 800}, {-2, 2}}},
    {"atan2", BINARY_LOOP(vatan2), BINARY_LOOP(vatan2), atan2l, 2.0, 2.0,
     {{-1, 1}, {1e-37, 1e38}, {-9, 0}}, {{-1, 1}, {1e-37, 1e38}, {-3, 3}}},
    {"hypot", BINARY_LOOP(vhypot), BINARY_LOOP(vhypot), hypotl, 1.2, 1.2, {kUnit, kWide}, {kUnit, kWide}},
    {"fmod", GUARDED_BINARY(map_fmod), GUARDED_BINARY(map_fmod), fmodl, 0.5, 0.5,
     {kUnit, {-1e6, 1e6}, {1e-30, 1e30}}, {kUnit, {-9, 9}, {1e-30, 1e30}}},
    {"remainder", GUARDED_BINARY(map_remainder), GUARDED_BINARY(map_remainder), exact_remainder, 0.5, 0.5,
     {kUnit, {-1e6, 1e6}, {1e-30, 1e30}}, {kUnit, {-9, 9}, {1e-30, 1e30}}},
    // Negative operands may cancel against the logarithm: an error of 2 ulp of the operand.
    {"logaddexp", BINARY_LOOP(vlogaddexp), BINARY_LOOP(vlogaddexp), exact_logaddexp, 64, 64,
     {{0, 9}, {-700, 700}}, {{0, 9}, {-700, 700}}},
};
// clang-format on

template <class T>
double nanoseconds(Unary<T> unary, Binary<T> binary, T low, T high) {
    constexpr int64_t kCount = 32768;
    std::mt19937_64 random(3);
    std::uniform_real_distribution<double> values(low, high);
    std::vector<T> a(kCount), b(kCount), out(kCount);
    for (auto& x : a) x = T(values(random));
    for (auto& x : b) x = T(values(random));
    double best = 1e30;
    for (int trial = 0; trial < 40; ++trial) {
        const auto start = std::chrono::steady_clock::now();
        if (unary)
            unary(out.data(), a.data(), kCount);
        else
            binary(out.data(), a.data(), b.data(), kCount);
        const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
        best = std::min(best, time.count() * 1e9 / kCount);
    }
    return best;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::strcmp(argv[1], "speed") == 0) {
        for (const auto& c : kUnaryCases)
            std::printf("%-14s %7.3f %7.3f ns/element\n", c.name, nanoseconds<float>(c.f32, nullptr, 0.01f, 0.99f),
                        nanoseconds<double>(c.f64, nullptr, 0.01, 0.99));
        for (const auto& c : kBinaryCases)
            std::printf("%-14s %7.3f %7.3f ns/element\n", c.name, nanoseconds<float>(nullptr, c.f32, 0.01f, 0.99f),
                        nanoseconds<double>(nullptr, c.f64, 0.01, 0.99));
        return 0;
    }
    for (const auto& c : kUnaryCases) {
        check_unary<float>(c, c.f32, "float", c.bound32);
        check_unary<double>(c, c.f64, "double", c.bound64);
    }
    for (const auto& c : kBinaryCases) {
        check_binary<float>(c, c.f32, "float", c.bound32);
        check_binary<double>(c, c.f64, "double", c.bound64);
    }
    std::printf("%d failures\n", failures);
    return failures != 0;
}
