// One step of the recursion is a loop over states, which is vectorised; labels are looked up before it. It computes in
// double: sums of hundreds of logarithms leave a float few digits behind the point.
#include "kernels/ctc.h"

#include "kernels/isa/nn_sums.h"
#include "kernels/isa/vmath.h"

namespace flb {
namespace FLB_ISA {

constexpr double kNever = -__builtin_inf();

// e^x for x <= 0; what would be subnormal is 0.
FLB_INLINE double exp_down(double x) {
    const double e = exp_in_range(x < -700.0 ? -700.0 : x);
    return x < -700.0 ? 0.0 : e;
}

// next[s] = log(e^prev[s] + e^prev[s-1] + e^(prev[s-2] + skip[s])) + emit[s]; prev has two elements before its first.
// The largest of the three is taken out of the sum. A NaN ends up in `low`.
[[gnu::noinline]] static void advance(int64_t n, const double* __restrict prev, const double* __restrict skip,
                                      const double* __restrict emit, double* __restrict next) {
    for (int64_t s = 0; s < n; ++s) {
        const double a = prev[s], b = prev[s - 1], c = prev[s - 2] + skip[s];
        const double high = a > b ? a : b, low = a > b ? b : a;
        const double top = high > c ? high : c, middle = high > c ? c : high;
        const double shift = top == kNever ? 0.0 : top;
        next[s] = vlog(1.0 + exp_down(low - shift) + exp_down(middle - shift)) + top + emit[s];
    }
}

// out[s] = e^(alpha[s] + beta[s] - emit[s] + shift): how probable state s is at this step; 0 where it cannot be. The
// exponent is at most 0 but for rounding.
[[gnu::noinline]] static void occupancy(int64_t n, const double* __restrict alpha,
                                        const double* __restrict beta, const double* __restrict emit,
                                        double shift, double* __restrict out) {
    for (int64_t s = 0; s < n; ++s) {
        const double e = emit[s];
        out[s] = e == kNever ? 0.0 : exp_down(alpha[s] + beta[s] - e + shift);
    }
}

// The states of a sequence, seen from its begin or (turned) from its end, and two rows of the recursion.
template <class T>
struct States {
    const CtcSequence& q;
    int64_t n;
    int64_t* labels;
    double *skip, *emit, *row, *next, *shares, *turned;

    FLB_INLINE States(const CtcSequence& sequence, bool from_end) : q(sequence), n(2 * q.labels + 1) {
        labels = static_cast<int64_t*>(q.workspace);
        skip = reinterpret_cast<double*>(labels + n);
        emit = skip + n;
        row = emit + n + 2;
        next = row + n + 2;
        shares = next + n;
        turned = shares + n;
        row[-1] = row[-2] = next[-1] = next[-2] = kNever;
        for (int64_t s = 0; s < n; ++s) {
            const int64_t l = s / 2;
            labels[s] = s % 2 == 0 ? q.blank : q.targets[from_end ? q.labels - 1 - l : l];
        }
        // A blank may be left out between different labels.
        for (int64_t s = 0; s < n; ++s) skip[s] = s >= 2 && labels[s] != labels[s - 2] ? 0.0 : kNever;
    }
    // The row of step t, the first one or that after the one before.
    FLB_INLINE void go(int64_t t, bool first) {
        const T* p = static_cast<const T*>(q.log_probs) + t * q.stride;
        for (int64_t s = 0; s < n; ++s) emit[s] = double(p[labels[s]]);
        if (first) {
            for (int64_t s = 0; s < n; ++s) row[s] = s < 2 ? emit[s] : kNever;
            return;
        }
        advance(n, row, skip, emit, next);
        double* swapped = row;
        row = next;
        next = swapped;
    }
};

template <class T>
double alpha_of(const CtcSequence& q) {
    if (q.steps == 0) return q.labels ? __builtin_inf() : -0.0;
    States<T> states(q, false);
    T* alpha = static_cast<T*>(q.alpha);
    for (int64_t t = 0; t < q.steps; ++t) {
        states.go(t, t == 0);
        for (int64_t s = 0; s < states.n; ++s) alpha[t * q.alpha_stride + s] = T(states.row[s]);
    }
    // Of no labels, b is before the first.
    const double a = states.row[states.n - 1], b = states.row[states.n - 2], top = a > b ? a : b;
    if (a == kNever && b == kNever) return __builtin_inf();
    return -(vlog(vexp(a - top) + vexp(b - top)) + top);
}

template <class T>
void gradient_of(const CtcSequence& q, double likelihood, double scale, T* grad_in) {
    const T* alpha = static_cast<const T*>(q.alpha);
    if (likelihood == __builtin_inf()) {
        for (int64_t t = 0; t < q.steps; ++t)
            for (int64_t c = 0; c < q.classes; ++c) grad_in[t * q.stride + c] = T(__builtin_nan(""));
        return;
    }
    States<T> states(q, true);
    const int64_t n = states.n;
    for (int64_t t = q.steps - 1; t >= 0; --t) {
        states.go(t, t == q.steps - 1);
        for (int64_t s = 0; s < n; ++s) states.turned[s] = double(alpha[t * q.alpha_stride + n - 1 - s]);
        occupancy(n, states.turned, states.row, states.emit, likelihood, states.shares);
        // Some state is taken: this undoes what rounding did to alpha and the likelihood.
        double total = 0;
        for (int64_t s = 0; s < n; ++s) total += states.shares[s];
        const T* p = static_cast<const T*>(q.log_probs) + t * q.stride;
        T* __restrict g = grad_in + t * q.stride;
        for (int64_t c = 0; c < q.classes; ++c) g[c] = vexp(p[c]) * T(scale);
        for (int64_t s = 0; s < n; ++s) g[states.labels[s]] -= T(states.shares[s] / total * scale);
    }
}

double ctc_alpha_any(DType dtype, const CtcSequence& q) {
    return dtype == DType::Float32 ? alpha_of<float>(q) : alpha_of<double>(q);
}
void ctc_gradient_any(DType dtype, const CtcSequence& q, double likelihood, double scale, void* grad_in) {
    FLB_FLOAT_OR_DOUBLE(dtype, gradient_of(q, likelihood, scale, static_cast<T*>(grad_in)));
}

FLB_REGISTER_KERNEL(ctc_alpha, &ctc_alpha_any);
FLB_REGISTER_KERNEL(ctc_gradient, &ctc_gradient_any);

}  // namespace FLB_ISA
}  // namespace flb
