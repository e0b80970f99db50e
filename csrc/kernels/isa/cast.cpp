// The table of conversions between dtypes over contiguous blocks.
#include "kernels/isa/block_cast.h"
#include "kernels/loop.h"

namespace flb {
namespace FLB_ISA {

template <class To, class From>
void cast_loop(void* out, const void* in, int64_t n) {
    cast_block(static_cast<To*>(out), static_cast<const From*>(in), n);
}

static CastLoop find(DType to, DType from) {
    return visit(to, [&](auto to_tag) {
        return visit(from, [&](auto from_tag) -> CastLoop {
            return cast_loop<typename decltype(to_tag)::type, typename decltype(from_tag)::type>;
        });
    });
}

FLB_REGISTER_KERNEL(find_cast, find);

}  // namespace FLB_ISA
}  // namespace flb
