// The checksum of zip archives (CRC-32, reflected polynomial 0xEDB88320).
#pragma once
#include <cstddef>
#include <cstdint>

namespace flb {

// Continues `crc`, which is 0 for the first bytes, over n more bytes.
uint32_t crc32(uint32_t crc, const void* data, size_t n);

}  // namespace flb
