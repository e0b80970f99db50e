// The instructions of AMX, by number of tile, and their configuration: eight tiles of 16 rows of 64 bytes.
#pragma once
#include <cstdint>

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

#define FLB_TILE_LOAD(tile, address, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile::"r"(address), "r"(int64_t(stride)) : "memory")
#define FLB_TILE_STORE(tile, address, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(address), "r"(int64_t(stride)) : "memory")
#define FLB_TILE_MULTIPLY(sum, a, b) __asm__ volatile("tdpbf16ps %tmm" #b ", %tmm" #a ", %tmm" #sum)
#define FLB_TILE_ZERO(tile) __asm__ volatile("tilezero %tmm" #tile)

// Tiles can be used while one of these lives. A thread with tiles in use would have them saved at every switch.
class TilesInUse {
  public:
    TilesInUse() {
        const TileConfig config;
        __asm__ volatile("ldtilecfg %0" ::"m"(config));
    }
    ~TilesInUse() { __asm__ volatile("tilerelease"); }
    TilesInUse(const TilesInUse&) = delete;
    TilesInUse& operator=(const TilesInUse&) = delete;
};

// Into the first cache level.
FLB_INLINE void fetch_tile(const char* tile) {
#pragma GCC unroll 16
    for (int line = 0; line < 1024; line += 64) __builtin_prefetch(tile + line, 0, 3);
}

}  // namespace FLB_ISA
}  // namespace flb
