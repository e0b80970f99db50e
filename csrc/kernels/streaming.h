// Loops that write past the cache, beside the ordinary ones of the same names: isa/stream_loops.h.
#pragma once
#include "kernels/loop.h"

namespace flb {

void register_streaming_loops(int level, const LoopEntry* entries, int count);
// The one that belongs to an ordinary loop, or null. It wants a contiguous output, aligned to 64 bytes.
Loop streaming_loop(Loop ordinary);

}  // namespace flb
