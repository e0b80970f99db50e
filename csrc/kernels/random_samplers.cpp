// Distributions with parameters per element: rejection samplers and the categorical draw. All compute in double.
#include <cfloat>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/random_dispatch.h"
#include "kernels/random_kernels.h"

namespace flb::random {

namespace {

template <class T>
double widen(T x) {
    if constexpr (std::is_same_v<T, double>) return x;
    else return double(float(x));
}
template <class T> struct Working {
    using type = float;
};
template <> struct Working<double> {
    using type = double;
};

template <class T>
T narrow(double x) {
    if constexpr (std::is_floating_point_v<T>) return T(x);
    else return T(float(x));
}
template <class T> double largest_below_one() { return 1 - double(std::numeric_limits<T>::epsilon()) / 2; }
template <> double largest_below_one<Half>() { return 1 - 0x1p-11; }
template <> double largest_below_one<BFloat16>() { return 1 - 0x1p-8; }
template <class T> double smallest_normal() { return double(std::numeric_limits<T>::min()); }
template <> double smallest_normal<Half>() { return 0x1p-14; }
template <> double smallest_normal<BFloat16>() { return 0x1p-126; }

// Hoermann's transformed rejection with squeeze (PTRS) for large rates, Knuth's product of uniforms for small ones.
double poisson(double rate, Generator& g) {
    if (rate < 10) {
        if (rate == 0) return 0;
        const double limit = std::exp(-rate);
        double product = 1;
        for (int64_t k = 0;; ++k) {
            product *= g.uniform();
            if (!(product > limit)) return double(k);
        }
    }
    const double log_rate = std::log(rate);
    const double b = 0.931 + 2.53 * std::sqrt(rate), a = -0.059 + 0.02483 * b;
    const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), squeeze = 0.9277 - 3.6224 / (b - 2);
    while (true) {
        const double u = g.uniform() - 0.5, v = g.uniform(), us = 0.5 - std::fabs(u);
        const double k = std::floor((2 * a / us + b) * u + rate + 0.43);
        if (us >= 0.07 && v <= squeeze) return k;
        if (k < 0 || (us < 0.013 && v > us)) continue;
        if (std::log(v) + std::log(inverse_alpha) - std::log(a / (us * us) + b) <=
            -rate + k * log_rate - std::lgamma(k + 1))
            return k;
    }
}

// ln k! less Stirling's approximation.
double stirling_tail(double k) {
    constexpr double table[10] = {
        0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
        0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287};
    if (k <= 9) return table[int(k)];
    const double square = (k + 1) * (k + 1);
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1);
}

// Hoermann's BTRS, for count * prob >= 10 and prob <= 1/2.
template <class W>
double binomial_rejection(W count, W prob, Generator& g) {
    const double stddev = std::sqrt(count * prob * (1 - prob));
    const double b = 1.15 + 2.53 * stddev, a = -0.0873 + 0.0248 * b + 0.01 * prob, c = count * prob + 0.5;
    const double squeeze = 0.92 - 4.2 / b, odds = prob / (1 - prob), alpha = (2.83 + 5.1 / b) * stddev;
    const double mode = std::floor((count + 1) * prob);
    while (true) {
        const double u = g.uniform() - 0.5, v = g.uniform(), us = 0.5 - std::fabs(u);
        const double k = std::floor((2 * a / us + b) * u + c);
        if (us >= 0.07 && v <= squeeze) return k;
        if (k < 0 || k > count) continue;
        const double bound = (mode + 0.5) * std::log((mode + 1) / (odds * (count - mode + 1))) +
                             (count + 1) * std::log((count - mode + 1) / (count - k + 1)) +
                             (k + 0.5) * std::log(odds * (count - k + 1) / (k + 1)) + stirling_tail(mode) +
                             stirling_tail(count - mode) - stirling_tail(k) - stirling_tail(count - k);
        if (std::log(v * alpha / (a / (us * us) + b)) <= bound) return k;
    }
}

// The number of successes as the number of geometric waiting times that fit into count.
double binomial_inversion(double count, double prob, Generator& g) {
    const double log_failure = std::log1p(-prob);
    double waited = 0;
    for (int64_t successes = 0;; ++successes) {
        waited += std::ceil(std::log(g.uniform()) / log_failure);
        if (!(waited <= count)) return double(successes);
    }
}

template <class W>
double binomial(W count, W prob, Generator& g) {
    if (std::isnan(count) || std::isnan(prob)) return std::numeric_limits<double>::quiet_NaN();
    if (count <= 0 || prob <= 0) return 0;
    if (prob >= 1) return count;
    const bool flip = prob > 0.5;
    const W p = flip ? 1 - prob : prob;
    const double k = count * p >= 10 ? binomial_rejection(count, p, g) : binomial_inversion(count, p, g);
    return flip ? count - k : k;
}

// Marsaglia and Tsang. Concentrations below one are drawn at one more and scaled by a power of a uniform.
// What is computed of alpha alone is rounded to W, its own precision; the third is a float32 even in double.
template <class W>
double gamma(W alpha, Generator& g) {
    if (alpha == 0) return 0;
    double scale = 1;
    if (alpha < 1) {
        scale = std::pow(1 - g.uniform(), double(1 / alpha));
        alpha += 1;
    }
    const double d = alpha - W(1.0f / 3.0f), c = 1 / std::sqrt(9 * d);
    while (true) {
        double x, y;
        do {
            x = g.normal();
            y = 1 + c * x;
        } while (y <= 0);
        const double v = y * y * y, u = 1 - g.uniform(), xx = x * x;
        if (u < 1 - 0.0331 * xx * xx || std::log(u) < 0.5 * xx + d * (1 - v + std::log(v)))
            return scale * d * v;
    }
}

// The sum of n values, `stride` apart, in four levels: each full group of a level is added to the next one.
double cascade_sum(const double* x, int64_t n, int64_t stride) {
    constexpr int levels = 4;
    const int log2_n = n > 1 ? 64 - __builtin_clzll(uint64_t(n - 1)) : 0;
    const int power = log2_n / levels > 4 ? log2_n / levels : 4;
    const int64_t step = int64_t(1) << power;
    double level[levels] = {};
    int64_t i = 0;
    while (i + step <= n) {
        for (int64_t end = i + step; i < end; ++i) level[0] += x[i * stride];
        for (int j = 1; j < levels; ++j) {
            level[j] += level[j - 1];
            level[j - 1] = 0;
            if (i & ((step - 1) << (j * power))) break;
        }
    }
    for (; i < n; ++i) level[0] += x[i * stride];
    return ((level[0] + level[1]) + level[2]) + level[3];
}
double four_way_sum(const double* x, int64_t n, int64_t stride) {
    double part[4];
    for (int k = 0; k < 4; ++k) part[k] = cascade_sum(x + k * stride, n / 4, 4 * stride);
    for (int64_t i = n / 4 * 4; i < n; ++i) part[0] += x[i * stride];
    return ((part[0] + part[1]) + part[2]) + part[3];
}
// PyTorch's float64 sum of a contiguous row: four vector lanes, and the ragged end before them.
double row_sum(const double* x, int64_t n) {
    if (n < 4) return four_way_sum(x, n, 1);
    double sum = 0;
    for (int64_t i = n / 4 * 4; i < n; ++i) sum += x[i];
    for (int lane = 0; lane < 4; ++lane) sum += four_way_sum(x + lane, n / 4, 4);
    return sum;
}

}  // namespace

void sample_poisson(DType t, void* out, const void* rate, int64_t n, Generator& g) {
    visit_floating("poisson_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        const T* r = static_cast<const T*>(rate);
        bool valid = true;
        for (int64_t i = 0; i < n; ++i) valid &= widen(r[i]) >= 0;
        check(valid, "invalid Poisson rate, expected rate to be non-negative");
        T* o = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) o[i] = narrow<T>(poisson(widen(r[i]), g));
    });
}

void sample_binomial(DType t, void* out, const void* count, const void* prob, int64_t n, Generator& g) {
    visit_floating("binomial_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        using W = typename Working<T>::type;
        const T *c = static_cast<const T*>(count), *p = static_cast<const T*>(prob);
        T* o = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i) o[i] = narrow<T>(binomial(W(c[i]), W(p[i]), g));
    });
}

void sample_gamma(DType t, void* out, const void* concentration, int64_t n, Generator& g) {
    visit_floating("gamma_cpu", t, [&](auto type) {
        using T = typename decltype(type)::type;
        const T* a = static_cast<const T*>(concentration);
        T* o = static_cast<T*>(out);
        for (int64_t i = 0; i < n; ++i)
            o[i] = narrow<T>(std::fmax(smallest_normal<T>(), gamma(typename Working<T>::type(a[i]), g)));
    });
}

void sample_dirichlet(DType t, void* out, const void* concentration, int64_t rows, int64_t cols,
                      Generator& g) {
    visit_floating("dirichlet", t, [&](auto type) {
        using T = typename decltype(type)::type;
        const T* a = static_cast<const T*>(concentration);
        T* o = static_cast<T*>(out);
        std::vector<double> row(cols);
        for (int64_t i = 0; i < rows; ++i, a += cols, o += cols) {
            for (int64_t j = 0; j < cols; ++j) row[j] = std::fmax(DBL_MIN, gamma(widen(a[j]), g));
            const double sum = row_sum(row.data(), cols);
            const double low = smallest_normal<T>(), high = largest_below_one<T>();
            for (int64_t j = 0; j < cols; ++j)
                o[j] = narrow<T>(std::fmin(std::fmax(row[j] / sum, low), high));
        }
    });
}

void sample_multinomial(DType t, int64_t* out, const void* weights, int64_t rows, int64_t cols,
                        int64_t samples, Generator& g) {
    visit_floating("multinomial", t, [&](auto type) {
        using T = typename decltype(type)::type;
        using W = std::conditional_t<std::is_same_v<T, double>, double, float>;
        const T* w = static_cast<const T*>(weights);
        for (int64_t i = 0; i < rows; ++i) {
            W sum = 0;
            for (int64_t j = 0; j < cols; ++j) {
                const W x = W(w[i * cols + j]);
                check(x >= 0, "invalid multinomial distribution (encountering probability entry < 0)");
                check(std::isfinite(x),
                      "invalid multinomial distribution (encountering probability entry = infinity or NaN)");
                sum += x;
            }
            check(sum > 0, "invalid multinomial distribution (sum of probabilities <= 0)");
        }
        std::vector<W> cumulative(cols);
        for (int64_t i = 0; i < rows; ++i, w += cols, out += samples) {
            W sum = 0;
            for (int64_t j = 0; j < cols; ++j) cumulative[j] = sum += W(w[j]);
            for (int64_t j = 0; j < cols; ++j) cumulative[j] /= sum;
            cumulative[cols - 1] = 1;
            for (int64_t s = 0; s < samples; ++s) {
                const double u = g.uniform();
                int64_t low = 0, high = cols;
                while (low < high) {
                    const int64_t middle = low + (high - low) / 2;
                    if (double(cumulative[middle]) < u) low = middle + 1;
                    else high = middle;
                }
                out[s] = low;
            }
        }
    });
}

}  // namespace flb::random
