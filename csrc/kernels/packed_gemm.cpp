#include "kernels/packed_gemm.h"

#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "core/parallel.h"

namespace flb {

FLB_DEFINE_KERNEL(gemm_shape);
FLB_DEFINE_KERNEL(gemm_pack);
FLB_DEFINE_KERNEL(gemm_blocks);
FLB_DEFINE_KERNEL(gemm_few_rows);
FLB_DEFINE_KERNEL(gemm_dots);
FLB_DEFINE_KERNEL(gemm_finish);

namespace {
constexpr int kSlots = 7;
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

namespace {

const char* element(const GemmSide& side, int64_t i, int64_t k, int64_t size) {
    return static_cast<const char*>(side.data) + (i * side.stride + k * side.k_stride) * size;
}

struct Product {
    PanelType type;
    DType source;
    int64_t m, k;
    GemmSide a, b;
    char* c;
    int64_t ldc;
    bool accumulate;
    bool a_in_place;
    GemmShape shape;

    // Columns [j0, j0 + nb) of C.
    void columns(int64_t j0, int64_t nb, bool b_in_place) const {
        constexpr int64_t kMaxPackedBytes = 4 << 20;
        const int64_t size = panel_itemsize(type), source_size = itemsize(source);
        const int64_t panels = ceil_div(nb, shape.nr), width = panels * shape.nr;
        // As many steps of k as fit are packed at once: one synchronisation instead of several.
        const int64_t k_group =
            b_in_place ? k : std::max(int64_t(1), kMaxPackedBytes / (width * size * shape.kc)) * shape.kc;
        char* packed_b =
            b_in_place
                ? nullptr
                : static_cast<char*>(scratch(Scratch::PackedB, size_t(width * std::min(k, k_group) * size)));

        const bool serial = num_threads() == 1 || in_parallel_region() ||
                            double(m) * double(nb) * double(k) < kParallelProduct;
        const int64_t threads = serial ? 1 : num_threads();
        int64_t mc = shape.mc;
        if (!serial) mc = std::clamp(round_up(ceil_div(m, 4 * threads), shape.mr), int64_t(4 * shape.mr), mc);
        const int64_t row_blocks = ceil_div(m, mc);
        const int64_t groups = std::clamp(ceil_div(2 * threads, row_blocks), int64_t(1), panels);
        const int64_t group_cols = ceil_div(panels, serial ? 1 : groups) * shape.nr;
        const int64_t column_groups = ceil_div(nb, group_cols);
        for (int64_t p0 = 0; p0 < k; p0 += k_group) {
            const int64_t kb = std::min(k_group, k - p0);
            const int64_t steps = ceil_div(kb, shape.kc);
            // Step s of k holds its panels at s * kc * (all columns).
            const int64_t pack_grain = serial ? steps * panels : std::max(1, 16384 / (shape.kc * shape.nr));
            if (!b_in_place)
                parallel_for(0, steps * panels, pack_grain, [&](int64_t begin, int64_t end) {
                    for (int64_t t = begin; t < end;) {
                        const int64_t s = t / panels, first = t % panels;
                        const int64_t count = std::min(end - t, panels - first);
                        const int64_t kc = std::min(int64_t(shape.kc), kb - s * shape.kc);
                        const int64_t column = first * shape.nr;
                        gemm_pack(type, source, false,
                                  element(b, j0 + column, p0 + s * shape.kc, source_size), b.stride,
                                  b.k_stride, std::min(count * shape.nr, nb - column), kc,
                                  packed_b + (s * shape.kc * width + column * kc) * size);
                        t += count;
                    }
                });
            const int64_t tasks = row_blocks * column_groups;
            parallel_for(0, tasks, serial ? tasks : 1, [&](int64_t begin, int64_t end) {
                const size_t a_bytes = size_t(mc * shape.kc * size);
                char* packed_a =
                    a_in_place ? nullptr : static_cast<char*>(scratch(Scratch::PackedA, a_bytes));
                for (int64_t t = begin; t < end; ++t) {
                    const int64_t i0 = t / column_groups * mc, rows = std::min(mc, m - i0);
                    const int64_t column = t % column_groups * group_cols,
                                  cols = std::min(group_cols, nb - column);
                    for (int64_t s = 0; s < steps; ++s) {
                        const int64_t p = p0 + s * shape.kc, kc = std::min(int64_t(shape.kc), k - p);
                        const char* rows_of_a = element(a, i0, p, source_size);
                        if (!a_in_place)
                            gemm_pack(type, source, true, rows_of_a, a.stride, a.k_stride, rows, kc,
                                      packed_a);
                        GemmBlock g{};
                        g.m = rows;
                        g.n = cols;
                        g.kc = kc;
                        g.a = a_in_place ? rows_of_a : packed_a;
                        g.a_stride = a_in_place ? a.stride : 0;
                        g.b = b_in_place ? element(b, j0 + column, p, size)
                                         : packed_b + (s * shape.kc * width + column * kc) * size;
                        g.b_stride = b_in_place ? b.k_stride : 0;
                        g.c = c + (i0 * ldc + j0 + column) * size;
                        g.ldc = ldc;
                        g.accumulate = accumulate || p > 0;
                        gemm_blocks(type, g);
                    }
                }
            });
        }
    }
};

}  // namespace

void packed_gemm(PanelType type, DType source, int64_t m, int64_t n, int64_t k, const GemmSide& a,
                 const GemmSide& b, void* c, int64_t ldc, bool accumulate) {
    const GemmShape shape = gemm_shape(type);
    const bool floats = source == DType::Float32 || source == DType::Float64;
    const bool a_in_place = floats && a.k_stride == 1 && a.stride > 0;
    // Packing B pays once several tiles of rows read it.
    const bool b_in_place = floats && b.stride == 1 && b.k_stride > 0 && m <= 6 * shape.mr;
    const int64_t in_place = b_in_place ? n / shape.in_place * shape.in_place : 0;
    if (a_in_place && in_place == n && k <= shape.kc && double(m) * double(n) * double(k) < kParallelProduct)
        return gemm_blocks(type, {m, n, k, a.data, a.stride, b.data, b.k_stride, c, ldc, accumulate});
    const Product product{type, source,     m,          k,    a, b, static_cast<char*>(c),
                          ldc,  accumulate, a_in_place, shape};
    if (in_place) product.columns(0, in_place, true);
    for (int64_t j = in_place; j < n; j += shape.nc)
        product.columns(j, std::min(int64_t(shape.nc), n - j), false);
}

}  // namespace flb
