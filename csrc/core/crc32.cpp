#include "core/crc32.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace flb {

namespace {

constexpr uint32_t kPolynomial = 0xEDB88320;

// tables[k][b]: the byte b, followed by k zero bytes.
constexpr auto kTables = [] {
    std::array<std::array<uint32_t, 256>, 8> tables{};
    for (uint32_t b = 0; b < 256; ++b) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kPolynomial : 0);
        tables[0][b] = crc;
    }
    for (size_t k = 1; k < 8; ++k)
        for (size_t b = 0; b < 256; ++b)
            tables[k][b] = (tables[k - 1][b] >> 8) ^ tables[0][tables[k - 1][b] & 0xFF];
    return tables;
}();

uint32_t by_table(uint32_t crc, const unsigned char* p, size_t n) {
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t low = 0;
        for (int i = 0; i < 4; ++i) low |= uint32_t(p[i]) << (8 * i);
        low ^= crc;
        crc = kTables[3][p[4]] ^ kTables[2][p[5]] ^ kTables[1][p[6]] ^ kTables[0][p[7]];
        for (int i = 0; i < 4; ++i) crc ^= kTables[size_t(7 - i)][(low >> (8 * i)) & 0xFF];
    }
    for (; n; ++p, --n) crc = (crc >> 8) ^ kTables[0][(crc ^ *p) & 0xFF];
    return crc;
}

#if defined(__x86_64__)

// x^n modulo the polynomial, in the reflected order of bits and shifted by one, as carry-less products want it.
constexpr uint64_t power_of_x(int n) {
    uint64_t r = uint64_t(1) << 31;  // x^0
    for (; n; --n) r = (r >> 1) ^ (r & 1 ? kPolynomial : 0);
    return r << 1;
}

// Moves 128 bits ahead over the distance that `powers` were made for, and adds what stands there.
__attribute__((target("pclmul,sse4.1"))) inline __m128i fold(__m128i lane, __m128i powers, __m128i next) {
    return _mm_xor_si128(
        _mm_xor_si128(_mm_clmulepi64_si128(lane, powers, 0x00), _mm_clmulepi64_si128(lane, powers, 0x11)),
        next);
}

// Four lanes of 16 bytes advance by carry-less products (Gopal et al., Fast CRC Computation for Generic Polynomials
// Using PCLMULQDQ Instruction, Intel 2009); what is left of them is short enough for the tables. n >= 64.
__attribute__((target("pclmul,sse4.1"))) uint32_t by_products(uint32_t crc, const unsigned char* p,
                                                              size_t n) {
    const auto load = [](const unsigned char* from) __attribute__((target("pclmul,sse4.1"))) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    };
    constexpr uint64_t k4Low = power_of_x(4 * 128 + 32), k4High = power_of_x(4 * 128 - 32);
    constexpr uint64_t k1Low = power_of_x(128 + 32), k1High = power_of_x(128 - 32);
    const __m128i by4 = _mm_set_epi64x(int64_t(k4High), int64_t(k4Low));
    const __m128i by1 = _mm_set_epi64x(int64_t(k1High), int64_t(k1Low));
    __m128i a = _mm_xor_si128(load(p), _mm_cvtsi32_si128(int(crc)));
    __m128i b = load(p + 16), c = load(p + 32), d = load(p + 48);
    for (p += 64, n -= 64; n >= 64; p += 64, n -= 64) {
        a = fold(a, by4, load(p));
        b = fold(b, by4, load(p + 16));
        c = fold(c, by4, load(p + 32));
        d = fold(d, by4, load(p + 48));
    }
    a = fold(fold(fold(a, by1, b), by1, c), by1, d);
    for (; n >= 16; p += 16, n -= 16) a = fold(a, by1, load(p));
    unsigned char left[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(left), a);
    return by_table(by_table(0, left, 16), p, n);
}

#endif

}  // namespace

uint32_t crc32(uint32_t crc, const void* data, size_t n) {
    const auto* p = static_cast<const unsigned char*>(data);
    crc = ~crc;
#if defined(__x86_64__)
    static const bool products = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    if (products && n >= 64) return ~by_products(crc, p, n);
#endif
    return ~by_table(crc, p, n);
}

}  // namespace flb
