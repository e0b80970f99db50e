// Uniform and normal float32 values from raw draws.
//
// For the normal ones PyTorch evaluates the logarithm, sine and cosine with the polynomials of Moshier's Cephes library, eight lanes at a
// time and with multiply-adds fused; the last bit of a normal sample depends on every one of these roundings. So the
// fused operations are spelled out here, and no level rounds differently from another.
#include "core/scalar_types.h"
#include "kernels/random_kernels.h"

namespace flb {
namespace FLB_ISA {

namespace {

constexpr int kLanes = 8;

FLB_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

// Natural logarithm of a normal positive number: x = 2^e * m with m in [sqrt(1/2), sqrt(2)), then a polynomial in m - 1.
FLB_INLINE float log_cephes(float x) {
    const uint32_t u = bits_of(x);
    const float half = float_of((u & 0x007fffffu) | 0x3f000000u);  // in [0.5, 1)
    // Selections by mask: branches would keep the loop scalar. Positive floats order as their bits do.
    const uint32_t small = -uint32_t(bits_of(half) < bits_of(0.707106781186547524f));
    const float e = float(int32_t(u >> 23) - 126 + int32_t(small));
    const float t = (half - 1.0f) + float_of(bits_of(half) & small);
    const float t2 = t * t;
    float y = fma(7.0376836292e-2f, t, -1.1514610310e-1f);
    y = fma(y, t, 1.1676998740e-1f);
    y = fma(y, t, -1.2420140846e-1f);
    y = fma(y, t, 1.4249322787e-1f);
    y = fma(y, t, -1.6668057665e-1f);
    y = fma(y, t, 2.0000714765e-1f);
    y = fma(y, t, -2.4999993993e-1f);
    y = fma(y, t, 3.3333331174e-1f) * t;
    // ln 2 in two parts, the larger one exact in a product with e.
    y = fma(y, t2, e * -2.12194440e-4f);
    y = fma(t2, -0.5f, y);
    return fma(e, 0.693359375f, t + y);
}

// Sine and cosine of x >= 0 together: x less a multiple of pi/4, subtracted in three parts, then two polynomials.
FLB_INLINE void sincos_cephes(float x, float& sine, float& cosine) {
    const int32_t octant = (int32_t(x * 1.27323954473516f) + 1) & ~1;
    const float k = float(octant);
    const float r =
        fma(k, -3.77489497744594108e-8f, fma(k, -2.4187564849853515625e-4f, fma(k, -0.78515625f, x)));
    const float r2 = r * r;
    float c = fma(fma(2.443315711809948e-5f, r2, -1.388731625493765e-3f), r2, 4.166664568298827e-2f);
    c = fma(c * r2, r2, r2 * -0.5f) + 1.0f;
    float s = fma(fma(-1.9515295891e-4f, r2, 8.3321608736e-3f), r2, -1.6666654611e-1f);
    s = fma(s * r2, r, r);
    const uint32_t swap = -(uint32_t(octant) >> 1 & 1u);
    const uint32_t difference = (bits_of(s) ^ bits_of(c)) & swap;
    const uint32_t sine_sign = uint32_t(octant & 4) << 29, cosine_sign = (~uint32_t(octant - 2) & 4u) << 29;
    sine = float_of(bits_of(s) ^ difference ^ sine_sign);
    cosine = float_of(bits_of(c) ^ difference ^ cosine_sign);
}

// Radii and angles are collected from many blocks, so that one plain loop runs over vectors of any width.
constexpr int kBatch = 32;

void box_muller_float_impl(float* data, int64_t blocks, float mean, float std) {
    float u[kBatch * kLanes], v[kBatch * kLanes];
    for (int64_t done = 0; done < blocks; done += kBatch) {
        const int count = int(blocks - done < kBatch ? blocks - done : kBatch);
        for (int b = 0; b < count; ++b) {
            __builtin_memcpy(u + b * kLanes, data + b * 2 * kLanes, kLanes * sizeof(float));
            __builtin_memcpy(v + b * kLanes, data + (b * 2 + 1) * kLanes, kLanes * sizeof(float));
        }
        for (int i = 0; i < count * kLanes; ++i) {
            // 1 - u lies in (0, 1]: its logarithm is finite.
            const float radius = __builtin_sqrtf(-2.0f * log_cephes(1.0f - u[i]));
            float sine, cosine;
            sincos_cephes(float(2 * 3.14159265358979323846) * v[i], sine, cosine);
            u[i] = fma(radius * cosine, std, mean);
            v[i] = fma(radius * sine, std, mean);
        }
        for (int b = 0; b < count; ++b, data += 2 * kLanes) {
            __builtin_memcpy(data, u + b * kLanes, kLanes * sizeof(float));
            __builtin_memcpy(data + kLanes, v + b * kLanes, kLanes * sizeof(float));
        }
    }
}

void uniform_float_impl(float* out, const uint32_t* words, int64_t n, float low, float span, float high) {
    for (int64_t i = 0; i < n; ++i) {
        // One rounding for product and sum. A draw that rounds up to `high` leaves the half-open range: it becomes `low`.
        const float x = fma(float(int32_t(words[i] & 0xffffffu)) * 0x1p-24f, span, low);
        out[i] = x == high ? low : x;
    }
}

}  // namespace

using random::box_muller_float;
using random::uniform_float;
FLB_REGISTER_KERNEL(box_muller_float, &box_muller_float_impl);
FLB_REGISTER_KERNEL(uniform_float, &uniform_float_impl);

}  // namespace FLB_ISA
}  // namespace flb
