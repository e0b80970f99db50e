// The pseudo-random generator: the 32-bit Mersenne Twister of Matsumoto and Nishimura, seeded and stepped so that
// every stream, and every saved state, is the same as PyTorch's CPU generator's.
#pragma once
#include <cstddef>
#include <cstdint>

namespace flb {

class Generator {
  public:
    // What a new Generator() starts from. The default generator starts from a nondeterministic seed instead.
    static constexpr uint64_t kDefaultSeed = 67280421310721ull;
    static constexpr size_t kStateBytes = 5056;

    explicit Generator(uint64_t seed = kDefaultSeed) { manual_seed(seed); }

    // Starts the stream of `seed` (its lower 32 bits seed the twister) and forgets the cached normal samples.
    void manual_seed(uint64_t seed);
    // Reseeds from the operating system's entropy and returns the seed.
    uint64_t seed();
    uint64_t initial_seed() const { return seed_; }

    uint32_t random() {
        if (next_ == kWords) refill();
        return temper(state_[next_++]);
    }
    // Two draws, the first one in the upper half.
    uint64_t random64() {
        const uint64_t high = random();
        return (high << 32) | random();
    }
    // The next n draws at once: the same values as n calls of random().
    void random(uint32_t* out, int64_t n);

    // The uniform double in [0, 1) that most recipes start from: 53 bits of random64().
    double uniform() { return double(random64() & ((uint64_t(1) << 53) - 1)) * 0x1p-53; }
    // Standard normal, by Box and Muller. Samples come in pairs; the second one waits in the generator.
    double normal();

    // A spare sample of the pairwise normal recipe. The float one is only carried along in states.
    bool has_next_normal_double() const { return next_normal_double_valid_; }
    bool has_next_normal_float() const { return next_normal_float_valid_; }
    double next_normal_double() const { return next_normal_double_; }
    float next_normal_float() const { return next_normal_float_; }
    void set_next_normal_double(double x, bool valid) {
        next_normal_double_ = x, next_normal_double_valid_ = valid;
    }
    void set_next_normal_float(float x, bool valid) {
        next_normal_float_ = x, next_normal_float_valid_ = valid;
    }

    // PyTorch's byte layout: torch.get_rng_state() of either library can be given to the other.
    void get_state(uint8_t out[kStateBytes]) const;
    // Raises, with the generator unchanged, unless the bytes are a valid state (counters that contradict each other
    // are refused as well: trusting them would read beyond the block).
    void set_state(const uint8_t* bytes, size_t nbytes);

    // Copying gives an independent generator at the same point of the same stream.
    Generator(const Generator&) = default;
    Generator& operator=(const Generator&) = default;

  private:
    static constexpr int kWords = 624;
    static constexpr int kShift = 397;

    static uint32_t temper(uint32_t y) {
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c5680u;
        y ^= (y << 15) & 0xefc60000u;
        return y ^ (y >> 18);
    }
    void refill();

    uint64_t seed_;
    // Draws come from state_[next_]; next_ == kWords means that the block is used up. A freshly seeded generator is
    // told apart from one that just used up a block because their saved states differ.
    int next_;
    bool fresh_;
    bool next_normal_double_valid_, next_normal_float_valid_;
    float next_normal_float_;
    double next_normal_double_;
    uint32_t state_[kWords];
};

// The generator that operators use when none is given.
Generator& default_generator();
// 64 bits from the operating system's entropy source.
uint64_t nondeterministic_seed();

}  // namespace flb
