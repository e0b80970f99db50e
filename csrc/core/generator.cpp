#include "core/generator.h"

#include <cmath>
#include <cstring>
#include <random>

#include "core/error.h"

namespace flb {

namespace {

// A saved state, field by field. The twister's words are stored one per 64 bits.
struct SavedState {
    uint64_t seed;
    int32_t left;    // draws until the next refill, counting the one that triggers it
    int32_t seeded;  // always 1
    uint64_t next;   // left == 1 aside, 625 - left: index of the next word
    uint64_t words[624];
    double unused_x;
    double normal_double;
    double unused_rho;
    int32_t normal_double_valid;
    int32_t padding;
    float normal_float;
    uint8_t normal_float_valid;
    uint8_t padding_end[3];
};
static_assert(sizeof(SavedState) == Generator::kStateBytes);

}  // namespace

void Generator::manual_seed(uint64_t seed) {
    seed_ = seed;
    next_normal_double_valid_ = next_normal_float_valid_ = false;
    next_normal_double_ = 0;
    next_normal_float_ = 0;
    state_[0] = uint32_t(seed);
    for (int i = 1; i < kWords; ++i)
        state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + uint32_t(i);
    next_ = kWords;
    fresh_ = true;
}

uint64_t nondeterministic_seed() {
    std::random_device device;
    const uint64_t high = device();
    return (high << 32) | device();
}

uint64_t Generator::seed() {
    manual_seed(nondeterministic_seed());
    return seed_;
}

void Generator::refill() {
    const auto twist = [](uint32_t a, uint32_t b) {
        return (((a & 0x80000000u) | (b & 0x7fffffffu)) >> 1) ^ (-(b & 1u) & 0x9908b0dfu);
    };
    for (int i = 0; i < kWords - kShift; ++i)
        state_[i] = state_[i + kShift] ^ twist(state_[i], state_[i + 1]);
    for (int i = kWords - kShift; i < kWords - 1; ++i)
        state_[i] = state_[i + kShift - kWords] ^ twist(state_[i], state_[i + 1]);
    state_[kWords - 1] = state_[kShift - 1] ^ twist(state_[kWords - 1], state_[0]);
    next_ = 0;
    fresh_ = false;
}

void Generator::random(uint32_t* out, int64_t n) {
    while (n > 0) {
        if (next_ == kWords) refill();
        const int count = int(n < kWords - next_ ? n : kWords - next_);
        for (int i = 0; i < count; ++i) out[i] = temper(state_[next_ + i]);
        next_ += count;
        out += count;
        n -= count;
    }
}

double Generator::normal() {
    if (next_normal_double_valid_) {
        next_normal_double_valid_ = false;
        return next_normal_double_;
    }
    const double u1 = uniform(), u2 = uniform();
    const double radius = std::sqrt(-2 * std::log1p(-u2)), theta = 2 * M_PI * u1;
    next_normal_double_ = radius * std::sin(theta);
    next_normal_double_valid_ = true;
    return radius * std::cos(theta);
}

void Generator::get_state(uint8_t* out) const {
    SavedState s = {};
    s.seed = seed_;
    s.left = fresh_ ? 1 : kWords + 1 - next_;
    s.seeded = 1;
    s.next = fresh_ ? 0 : uint64_t(next_);
    for (int i = 0; i < kWords; ++i) s.words[i] = state_[i];
    if (next_normal_double_valid_) {
        s.normal_double = next_normal_double_;
        s.normal_double_valid = 1;
    }
    if (next_normal_float_valid_) {
        s.normal_float = next_normal_float_;
        s.normal_float_valid = 1;
    }
    std::memcpy(out, &s, sizeof s);
}

void Generator::set_state(const uint8_t* bytes, size_t nbytes) {
    check(nbytes == kStateBytes, "Expected a CPUGeneratorImplState of size ", kStateBytes,
          " but found the input RNG state size to be ", nbytes);
    SavedState s;
    std::memcpy(&s, bytes, nbytes);
    check(s.seeded == 1 && s.left > 0 && s.left <= kWords && s.next <= uint64_t(kWords) &&
              (s.left == 1 || uint64_t(s.left) + s.next == uint64_t(kWords) + 1),
          "Invalid mt19937 state: set_state needs the bytes that get_state returned");
    seed_ = s.seed;
    for (int i = 0; i < kWords; ++i) state_[i] = uint32_t(s.words[i]);
    fresh_ = s.left == 1 && s.next == 0;
    next_ = s.left == 1 ? kWords : int(s.next);
    next_normal_double_valid_ = s.normal_double_valid != 0;
    next_normal_double_ = s.normal_double;
    next_normal_float_valid_ = s.normal_float_valid != 0;
    next_normal_float_ = s.normal_float;
}

Generator& default_generator() {
    static Generator generator(nondeterministic_seed());
    return generator;
}

}  // namespace flb
