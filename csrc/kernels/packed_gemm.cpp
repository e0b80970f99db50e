#include "kernels/packed_gemm.h"

#include <new>

namespace flb {

FLB_DEFINE_KERNEL(gemm_shape);
FLB_DEFINE_KERNEL(gemm_pack);
FLB_DEFINE_KERNEL(gemm_block);
FLB_DEFINE_KERNEL(gemm_finish);

namespace {
constexpr int kSlots = 5;
struct Buffers {
    void* data[kSlots] = {};
    size_t size[kSlots] = {};
    ~Buffers() {
        for (void* p : data) std::free(p);
    }
};
thread_local Buffers buffers;
}  // namespace

void* scratch(Scratch slot, size_t nbytes) {
    const int i = int(slot);
    if (buffers.size[i] < nbytes) {
        std::free(buffers.data[i]);
        buffers.size[i] = 0;
        nbytes = (nbytes + 4095) / 4096 * 4096;
        buffers.data[i] = std::aligned_alloc(64, nbytes);
        check_as(ErrorKind::Memory, buffers.data[i] != nullptr,
                 "DefaultCPUAllocator: can't allocate memory: a matrix product needs ", nbytes,
                 " bytes of scratch");
        buffers.size[i] = nbytes;
    }
    return buffers.data[i];
}

int panel_itemsize(PanelType type) {
    switch (type) {
        case PanelType::I16: return 2;
        case PanelType::F32:
        case PanelType::I32: return 4;
        default: return 8;
    }
}

}  // namespace flb
