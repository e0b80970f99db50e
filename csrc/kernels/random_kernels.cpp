#include "kernels/random_kernels.h"

#include <cfloat>
#include <cmath>
#include <limits>

#include "kernels/random_dispatch.h"

namespace flb::random {

FLB_DEFINE_KERNEL(box_muller_float);
FLB_DEFINE_KERNEL(uniform_float);

namespace {

template <class T> constexpr int kDigits =
    std::numeric_limits<T>::digits;  // of the mantissa, the hidden bit included
template <> constexpr int kDigits<Half> = 11;
template <> constexpr int kDigits<BFloat16> = 8;

template <class T> constexpr bool kIsFloating = std::is_floating_point_v<T>;
template <> constexpr bool kIsFloating<Half> = true;
template <> constexpr bool kIsFloating<BFloat16> = true;

// The type that arithmetic on T is done in.
template <class T> struct Wide {
    using type = T;
};
template <> struct Wide<Half> {
    using type = float;
};
template <> struct Wide<BFloat16> {
    using type = float;
};

template <class T> double largest() { return double(std::numeric_limits<T>::max()); }
template <> double largest<Half>() { return 65504; }
template <> double largest<BFloat16>() { return 0x1.fep127; }

// A double or integer as a T: reduced floating dtypes round through float32.
template <class T, class V>
T narrow(V x) {
    if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) return T(float(x));
    else return T(x);
}

// Uniform in [0, 1) with as many bits as the mantissa holds: one word for float32, two for float64.
template <class W>
W unit_draw(Generator& g) {
    if constexpr (std::is_same_v<W, double>) return g.uniform();
    else return float(g.random() & 0xffffffu) * 0x1p-24f;
}

}  // namespace

namespace {

void uniform_floats(float* out, int64_t n, float low, float span, float high, Generator& g) {
    constexpr int64_t chunk = 4096;
    uint32_t words[chunk];
    for (int64_t i = 0; i < n; i += chunk) {
        const int64_t count = n - i < chunk ? n - i : chunk;
        g.random(words, count);
        uniform_float(out + i, words, count, low, span, high);
    }
}

}  // namespace

void fill_uniform(DType t, void* out, int64_t n, double from, double to, Generator& g) {
    visit_floating("check_uniform_bounds", t, [&](auto type) {
        using T = typename decltype(type)::type;
        using W = typename Wide<T>::type;
        const double limit = largest<T>();
        check(std::fabs(from) <= limit, "from is out of bounds for ", name_of(t), ": got ", from);
        check(std::fabs(to) <= limit, "to is out of bounds for ", name_of(t), ": got ", to);
        check(from <= to, "uniform_ expects to return a [from, to) range, but found from=", from,
              " > to=", to);
        check(to - from <= limit, "uniform_ expects to-from <= std::numeric_limits<", info(t).class_name,
              ">::max(), but found to=", to, " and from=", from,
              " which result in to-from to exceed the limit");
        T* p = static_cast<T*>(out);
        const W low = W(from), span = W(to) - low;
        if constexpr (std::is_same_v<T, float>) return uniform_floats(p, n, low, span, W(to), g);
        const T first = narrow<T>(low), last = narrow<T>(W(to));
        for (int64_t i = 0; i < n; ++i) {
            // One rounding for product and sum. A draw that rounds up to `to` leaves the half-open range: it becomes `from`.
            const T x = T(std::fma(unit_draw<W>(g), span, low));
            p[i] = x == last ? first : x;
        }
    });
}

namespace {

void normal_blocks(float* out, int64_t n, double mean, double std, Generator& g) {
    uniform_floats(out, n, 0, 1, 1, g);
    box_muller_float(out, n / 16, float(mean), float(std));
    if (n % 16) {
        uniform_floats(out + n - 16, 16, 0, 1, 1, g);
        box_muller_float(out + n - 16, 1, float(mean), float(std));
    }
}

void box_muller_double(double* data, double mean, double std) {
    for (int i = 0; i < 8; ++i) {
        const double radius = std::sqrt(-2 * std::log(1 - data[i])), theta = 2 * M_PI * data[i + 8];
        data[i] = std::fma(radius * std::cos(theta), std, mean);
        data[i + 8] = std::fma(radius * std::sin(theta), std, mean);
    }
}

void normal_blocks(double* out, int64_t n, double mean, double std, Generator& g) {
    for (int64_t i = 0; i < n; ++i) out[i] = g.uniform();
    for (int64_t i = 0; i + 16 <= n; i += 16) box_muller_double(out + i, mean, std);
    if (n % 16) {
        for (int64_t i = n - 16; i < n; ++i) out[i] = g.uniform();
        box_muller_double(out + n - 16, mean, std);
    }
}

// float16 and bfloat16: drawn and transformed in float32, a buffer at a time; a ragged end is one more block over the
// last 16 elements.
template <class T>
void normal_blocks(T* out, int64_t n, double mean, double std, Generator& g) {
    constexpr int64_t chunk = 1024;
    float buffer[chunk];
    const auto fill = [&](T* p, int64_t count) {
        uniform_floats(buffer, count, 0, 1, 1, g);
        box_muller_float(buffer, count / 16, float(mean), float(std));
        for (int64_t k = 0; k < count; ++k) p[k] = T(buffer[k]);
    };
    const int64_t whole = n / 16 * 16;
    for (int64_t i = 0; i < whole; i += chunk) fill(out + i, whole - i < chunk ? whole - i : chunk);
    if (whole < n) fill(out + n - 16, 16);
}

}  // namespace

void fill_normal(DType t, void* out, int64_t n, double mean, double std, bool serial, Generator& g) {
    check(std >= 0, "normal expects std >= 0.0, but found std ", std);
    if (is_complex(t)) {
        t = info(t).real;
        n *= 2;
        std /= std::sqrt(2.0);
    }
    visit_floating("normal_kernel_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        T* p = static_cast<T*>(out);
        if (n >= 16 && !serial) return normal_blocks(p, n, mean, std, g);
        for (int64_t i = 0; i < n; ++i) p[i] = narrow<T>(std::fma(g.normal(), std, mean));
    });
}

void fill_exponential(DType t, void* out, int64_t n, double lambda, Generator& g) {
    check(lambda > 0, "exponential_ expects lambda > 0.0, but found lambda=", lambda);
    visit_floating("exponential_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        T* p = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) p[i] = narrow<T>(-1.0 / lambda * std::log1p(-g.uniform()));
    });
}

void fill_cauchy(DType t, void* out, int64_t n, double median, double sigma, Generator& g) {
    check(sigma > 0, "cauchy_ expects sigma > 0.0, but found sigma=", sigma);
    visit_floating("cauchy_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        T* p = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) {
            // Kept off the ends, where the tangent has its poles.
            const double u = std::fmin(std::fmax(g.uniform(), DBL_EPSILON), 1 - DBL_EPSILON);
            p[i] = narrow<T>(std::fma(sigma, std::tan(M_PI * (u - 0.5)), median));
        }
    });
}

void fill_log_normal(DType t, void* out, int64_t n, double mean, double std, Generator& g) {
    check(std > 0, "log_normal_ expects std > 0.0, but found std=", std);
    visit_floating("log_normal_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        T* p = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) p[i] = narrow<T>(std::exp(std::fma(g.normal(), std, mean)));
    });
}

void fill_geometric(DType t, void* out, int64_t n, double p, Generator& g) {
    check(p > 0 && p < 1, "geometric_ expects p to be in (0, 1), but got p=", p);
    if (t == DType::Bool) not_implemented("geometric_cpu", t);
    visit_real("geometric_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        T* o = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) o[i] = narrow<T>(std::ceil(std::log(g.uniform()) / std::log1p(-p)));
    });
}

void fill_bernoulli(DType t, void* out, int64_t n, double p, Generator& g) {
    check(p >= 0 && p <= 1, "bernoulli_ expects p to be in [0, 1], but got p=", p);
    visit_real("bernoulli_scalar_cpu_", t, [&](auto type) {
        using T = typename decltype(type)::type;
        T* o = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) o[i] = narrow<T>(int(g.uniform() < p));
    });
}

void fill_bernoulli(DType t, void* out, DType p_dtype, const void* p, int64_t n, Generator& g) {
    visit_floating("bernoulli_tensor_cpu_p_", p_dtype, [&](auto p_type) {
        using P = typename decltype(p_type)::type;
        using W = typename Wide<P>::type;
        const P* prob = static_cast<const P*>(p);
        bool valid = true;
        for (int64_t i = 0; i < n; ++i) valid &= W(prob[i]) >= 0 && W(prob[i]) <= 1;
        check(valid,
              "Expected p_in >= 0 && p_in <= 1 to be true, but got false: bernoulli takes probabilities");
        visit_real("bernoulli_tensor_cpu_self_", t, [&](auto type) {
            using T = typename decltype(type)::type;
            T* o = static_cast<T*>(out);
            for (int64_t i = 0; i < n; ++i) o[i] = narrow<T>(int(unit_draw<W>(g) < W(prob[i])));
        });
    });
}

void fill_random(DType t, void* out, int64_t n, Generator& g) {
    visit_real("random_kernel_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        T* o = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) {
            if constexpr (std::is_same_v<T, bool>) o[i] = g.random() & 1;
            else if constexpr (std::is_same_v<T, double>)
                o[i] = double(g.random64() % ((uint64_t(1) << 53) + 1));
            else if constexpr (kIsFloating<T>) o[i] = narrow<T>(g.random() % ((uint32_t(1) << kDigits<T>)+1));
            else if constexpr (sizeof(T) == 8)
                o[i] = T(g.random64() & uint64_t(std::numeric_limits<T>::max()));
            else o[i] = T(g.random() & uint32_t(std::numeric_limits<T>::max()));
        }
    });
}

namespace {

template <class T>
void check_integer_bound(const char* which, int64_t x) {
    bool fits;
    if constexpr (kIsFloating<T>) fits = !std::is_same_v<T, Half> || (std::fabs(double(x)) <= largest<T>());
    else if constexpr (std::is_same_v<T, uint64_t>) fits = x >= 0;
    else fits = x >= int64_t(std::numeric_limits<T>::min()) && x <= int64_t(std::numeric_limits<T>::max());
    check(fits, which, " is out of bounds for ", name_of(dtype_of<T>::value), ": got ", x);
}

// x as T holds it; false where that is 2^63, which int64 doesn't hold.
template <class T>
bool round_through(int64_t x, int64_t& rounded) {
    const auto y = typename Wide<T>::type(narrow<T>(x));
    if (y >= typename Wide<T>::type(0x1p63)) return false;
    rounded = int64_t(y);
    return true;
}
// The distance of neighbouring values of T near x.
template <class T>
int64_t spacing(int64_t x) {
    const int exponent = 63 - __builtin_clzll(uint64_t(x < 0 ? -x : x) | 1);
    return int64_t(1) << (exponent - kDigits<T> + 1);
}
// A floating dtype may round the smallest or largest integer out of the range; the range shrinks to what it holds.
template <class T>
int64_t round_from(int64_t from) {
    int64_t rounded;
    if constexpr (kIsFloating<T>)
        if (round_through<T>(from + 1, rounded) && rounded < from) return rounded + spacing<T>(from + 1);
    return from;
}
template <class T>
int64_t round_to(int64_t to) {
    int64_t rounded;
    if constexpr (kIsFloating<T>)
        if (round_through<T>(to - 1, rounded) && rounded >= to) return rounded - spacing<T>(to - 1);
    return to;
}

// [base, base + range) modulo 2^64. The wider draw keeps the remainder's bias small.
template <class T>
void draw_range(T* out, int64_t n, uint64_t range, int64_t base, Generator& g) {
    const bool wide = range >= uint64_t(1) << 28;
    for (int64_t i = 0; i < n; ++i) {
        const uint64_t draw = wide ? g.random64() : g.random();
        out[i] = narrow<T>(int64_t(draw % range + uint64_t(base)));
    }
}

}  // namespace

void fill_random_between(DType t, void* out, int64_t n, int64_t from, int64_t to, Generator& g) {
    visit_real("random_from_to", t, [&](auto type) {
        using T = typename decltype(type)::type;
        check(from < to, "random_ expects 'from' to be less than 'to', but got from=", from, " >= to=", to);
        check_integer_bound<T>("from", from);
        check_integer_bound<T>("to - 1", to - 1);
        const int64_t low = round_from<T>(from), high = round_to<T>(to);
        check(low < high,
              "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got from=",
              low, " >= to=", high);
        draw_range(static_cast<T*>(out), n, uint64_t(high) - uint64_t(low), low, g);
    });
}

void fill_random_from(DType t, void* out, int64_t n, int64_t from, Generator& g) {
    if (from == INT64_MIN) return fill_random_full_range(t, out, n, g);
    visit_real("random_from_to", t, [&](auto type) {
        using T = typename decltype(type)::type;
        check_integer_bound<T>("from", from);
        uint64_t last;
        if constexpr (kIsFloating<T>) last = uint64_t(1) << kDigits<T>;
        else last = uint64_t(std::numeric_limits<T>::max());
        const int64_t low = round_from<T>(from);
        check(low < 0 || uint64_t(low) <= last,
              "random_ expects 'from' casted to dtype to be less than or equal to ",
              "'to_inc' casted to dtype, but got from=", low, " > to_inc=", last);
        const uint64_t range = last - uint64_t(low) + 1;
        // uint64 from zero: all its values.
        if (range == 0) return fill_random_full_range(t, out, n, g);
        draw_range(static_cast<T*>(out), n, range, low, g);
    });
}

void fill_random_full_range(DType t, void* out, int64_t n, Generator& g) {
    visit_real("random_full_64_bits_range_kernel_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        if constexpr (!kIsFloating<T> && sizeof(T) != 8)
            not_implemented("random_full_64_bits_range_kernel_cpu", t);
        T* o = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) o[i] = narrow<T>(int64_t(g.random64()));
    });
}

void fill_randperm(DType t, void* out, int64_t n, Generator& g) {
    if (t == DType::Bool) not_implemented("randperm", t);
    visit_real("randperm", t, [&](auto type) {
        using T = typename decltype(type)::type;
        T* o = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) o[i] = narrow<T>(i);
        // Fisher and Yates. A 32-bit remainder is fair enough up to 2^32 / 20 elements.
        const bool wide = n >= int64_t(UINT32_MAX / 20);
        for (int64_t i = 0; i < n - 1; ++i) {
            const uint64_t draw = wide ? g.random64() : g.random();
            const int64_t j = i + int64_t(draw % uint64_t(n - i));
            const T moved = o[i];
            o[i] = o[j];
            o[j] = moved;
        }
    });
}

}  // namespace flb::random
