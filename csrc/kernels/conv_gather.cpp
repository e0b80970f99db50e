// Outputs gathered from their windows, forwards and backwards: weights packed into panels, rows shared out to threads.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv_windows.h"

namespace flb {

FLB_DEFINE_KERNEL(conv_panel);
FLB_DEFINE_KERNEL(conv_rows);

namespace {

constexpr int64_t kShortRow = 12;  // shorter ones leave tiles of outputs half empty

// Steps of k whose weights fit the first cache level.
int64_t depth_of_pieces(DType type) { return gemm_shape(conv_panel_type(type)).kc; }

// [group][panel][tap][source channel][panel channel] from [out][in / groups][tap].
void pack_weights(DType type, const ConvShape& s, bool backward, const void* weight, char* to) {
    const int64_t og = s.out_channels / s.groups, cg = s.in_channels / s.groups, taps = s.taps();
    const int64_t sources = backward ? og : cg, targets = backward ? cg : og, nr = conv_panel(type);
    const int64_t panels = ceil_div(targets, nr), depth = taps * sources;
    const int64_t source_step = backward ? cg * taps : taps, target_step = backward ? taps : cg * taps;
    const int64_t size = itemsize(type), row = nr * size;
    parallel_for(
        0, s.groups * panels, std::max(int64_t(1), 65536 / (depth * nr)), [&](int64_t begin, int64_t end) {
            // Forwards, weights of one target are neighbours: turned by [source][tap] first, then put into order.
            const bool in_order = backward || taps == 1;
            char* const turned_apart =
                in_order ? nullptr : static_cast<char*>(scratch(Scratch::PackedA, size_t(depth * row)));
            for (int64_t p = begin; p < end; ++p) {
                const int64_t first = p % panels * nr, count = std::min(nr, targets - first);
                const char* from = static_cast<const char*>(weight) +
                                   (p / panels * og * cg * taps + first * target_step) * size;
                char* panel = to + p * depth * row;
                char* const turned = in_order ? panel : turned_apart;
                if (count < nr) std::memset(turned, 0, size_t(depth * row));
                if (backward && taps == 1) {
                    conv_copy_runs(int(size), sources, count, from, source_step, panel, nr);
                    continue;
                }
                if (backward) {
                    for (int64_t c = 0; c < sources; ++c)
                        conv_transpose_copy(int(size), count, taps, from + c * source_step * size,
                                            target_step, 1, panel + ((taps - 1) * sources + c) * row, 1,
                                            -sources * nr);
                    continue;
                }
                conv_transpose_copy(int(size), count, depth, from, target_step, 1, turned, 1, nr);
                for (int64_t t = 0; t < taps && !in_order; ++t)
                    for (int64_t c = 0; c < sources; ++c)
                        std::memcpy(panel + (t * sources + c) * row, turned + (c * taps + t) * row,
                                    size_t(row));
            }
        });
}

struct Gather {
    DType type;
    int64_t size, groups, source_group, target_group;  // channels per group of what is read and written
    Plan plan;
    const char* weights;
    const char* bias;
    int64_t depth;
    const Source* source;
    ConvImage output;

    // Rows [begin, end) of one class of outputs of image n, from its frame.
    void rows(const OutputClass& out, int64_t n, const char* frame, int64_t begin, int64_t end) const {
        const DimClass &d = *out.dim[0], &h = *out.dim[1], &w = *out.dim[2];
        const int64_t channels = groups * target_group;
        // Rows that follow one another are one: it falls into tiles of better length. Short ones do so in a buffer.
        const int64_t input_step = w.multiple * source->step(2);
        const bool follow = d.count == 1 && h.multiple * source->step(1) == w.count * input_step;
        const bool spread = h.step * output.stride[1] != w.count * w.step * output.stride[2];
        const bool direct = output.channel_stride == 1 && !(follow && spread && w.count < kShortRow);
        char* image = static_cast<char*>(output.data) + n * output.batch_stride * size;
        char* buffer = direct ? nullptr
                              : static_cast<char*>(scratch(
                                    Scratch::Product, size_t((end - begin) * w.count * channels * size)));
        std::vector<ConvRow> rows(size_t(end - begin));
        std::vector<char*> targets(size_t(end - begin));
        for (int64_t r = begin; r < end; ++r) {
            const int64_t jd = r / h.count, jh = r % h.count;
            targets[r - begin] =
                image + ((d.start + jd * d.step) * output.stride[0] +
                         (h.start + jh * h.step) * output.stride[1] + w.start * output.stride[2]) *
                            size;
            rows[r - begin] = {
                frame + (jd * d.multiple * source->step(0) + jh * h.multiple * source->step(1)) * size,
                direct ? targets[r - begin] : buffer + (r - begin) * w.count * channels * size};
        }
        ConvRowsJob job{};
        job.rows = rows.data();
        job.row_count = end - begin;
        job.positions = w.count;
        job.input_step = input_step;
        job.output_step = direct ? output.stride[2] * w.step : channels;
        if (follow && !(direct && spread)) {
            job.positions *= job.row_count;
            job.row_count = 1;
        }
        job.runs = out.runs.data();
        job.run_count = int64_t(out.runs.size());
        job.depth = depth;
        job.piece_depth = depth_of_pieces(type);
        job.channels = target_group;
        const int64_t padded = round_up(target_group, conv_panel(type));
        for (int64_t g = 0; g < groups; ++g) {
            job.weights = weights + g * padded * depth * size;
            job.bias = bias + g * padded * size;
            conv_rows(type, job);
            for (ConvRow& row : rows) {
                row.input = static_cast<const char*>(row.input) + source_group * size;
                row.output = static_cast<char*>(row.output) + target_group * size;
            }
        }
        if (direct) return;
        // Whole dense rows go back in one piece.
        const bool dense =
            h.step == 1 && w.step == 1 && output.stride[1] == w.count * output.stride[2] && d.count == 1;
        if (dense) {
            conv_transpose_copy(int(size), (end - begin) * w.count, channels, buffer, channels, 1, targets[0],
                                output.stride[2], output.channel_stride);
            return;
        }
        for (int64_t r = 0; r < end - begin; ++r) {
            if (output.channel_stride == 1) {
                conv_copy_runs(int(size), w.count, channels, buffer + r * w.count * channels * size, channels,
                               targets[r], output.stride[2] * w.step);
                continue;
            }
            conv_transpose_copy(int(size), w.count, channels, buffer + r * w.count * channels * size,
                                channels, 1, targets[r], output.stride[2] * w.step, output.channel_stride);
        }
    }
};

// Whether the elements of an image fill its memory.
bool is_dense(const ConvImage& image, int64_t channels, const int64_t (&sizes)[3]) {
    int64_t inner = image.channel_stride == 1 ? channels : 1;
    bool dense = true;
    for (int i = 2; i >= 0; --i) {
        dense = dense && (sizes[i] == 1 || image.stride[i] == inner);
        inner *= sizes[i];
    }
    return dense && (image.channel_stride == 1 || image.channel_stride == inner);
}

}  // namespace

void gather_outputs(DType type, const ConvShape& shape, bool backward, const ConvImage& input,
                    const void* weight, const void* bias, const ConvImage& output) {
    const bool columns = !backward && few_channels(shape);
    const ConvShape s = columns ? columns_shape(shape) : shape;
    const int64_t size = itemsize(type), nr = conv_panel(type);
    const int64_t og = s.out_channels / s.groups, cg = s.in_channels / s.groups;
    Gather g{};
    g.type = type;
    g.size = size;
    g.groups = s.groups;
    g.source_group = backward ? og : cg;
    g.target_group = backward ? cg : og;
    g.depth = s.taps() * g.source_group;
    g.plan = make_plan(s, backward, s.groups * g.source_group, g.source_group, depth_of_pieces(type));
    g.output = output;
    const int64_t channels = s.groups * g.target_group;

    // Weights and bias, in whole panels.
    const int64_t group_panels = round_up(g.target_group, nr), padded = s.groups * group_panels;
    char* packed = static_cast<char*>(scratch(Scratch::PackedB, size_t(padded * (g.depth + 1) * size)));
    // Written-out windows have their elements in the order [tap][channel], as panels have.
    pack_weights(type, shape, backward, weight, packed);
    char* packed_bias = packed + padded * g.depth * size;
    std::memset(packed_bias, 0, size_t(padded * size));
    for (int64_t i = 0; bias && i < s.groups; ++i)
        std::memcpy(packed_bias + i * group_panels * size,
                    static_cast<const char*>(bias) + i * g.target_group * size,
                    size_t(g.target_group * size));
    g.weights = packed;
    g.bias = packed_bias;

    const int64_t* sizes = backward ? s.out : s.in;
    const Source source(input, {sizes[0], sizes[1], sizes[2]}, g.plan.frame, size, columns ? &shape : nullptr,
                        s.taps() == 1 && s.out[2] >= kShortRow);
    g.source = &source;

    // Inputs that no window meets, between others: all are zero at first.
    const auto& written = backward ? s.in : s.out;
    bool zeros = false;
    for (const OutputClass& out : g.plan.outputs) zeros = zeros || out.runs.empty();
    zeros = zeros && !bias && is_dense(output, channels, written);
    const auto set_zeros = [&](int64_t n) {
        if (zeros)
            std::memset(image_at(output, n, size).data, 0,
                        size_t(channels * written[0] * written[1] * written[2] * size));
    };

    // Blocks of rows, the same for every image.
    struct Block {
        const OutputClass* out;
        int64_t begin, end;
    };
    std::vector<Block> blocks;
    for (const OutputClass& out : g.plan.outputs) {
        if (zeros && out.runs.empty()) continue;
        const int64_t rows = out.dim[0]->count * out.dim[1]->count;
        const int64_t step =
            std::max(int64_t(1), kConvBlockBytes / std::max(int64_t(1), out.dim[2]->count * channels * size));
        for (int64_t r = 0; r < rows && out.dim[2]->count > 0; r += step)
            blocks.push_back({&out, r, std::min(rows, r + step)});
    }
    const int64_t count = int64_t(blocks.size());
    const double work = double(s.batch) * double(s.out[0] * s.out[1] * s.out[2]) * double(s.out_channels) *
                        double(s.taps() * cg);
    const bool serial = work < kParallelProduct || num_threads() == 1;
    auto filled = [&](int64_t n, Scratch slot) {
        if (source.direct()) return source.caller_memory(n);
        char* frame = static_cast<char*>(scratch(slot, source.bytes()));
        source.fill(n, frame, 0, source.rows());
        return static_cast<const char*>(frame);
    };
    if (serial || s.batch >= 2 * num_threads()) {
        // Whole images: the frame is used while it is in the cache.
        parallel_for(0, s.batch, serial ? s.batch : 1, [&](int64_t begin, int64_t end) {
            for (int64_t n = begin; n < end; ++n) {
                set_zeros(n);
                const char* frame = filled(n, Scratch::Columns);
                for (const Block& b : blocks) g.rows(*b.out, n, frame, b.begin, b.end);
            }
        });
        return;
    }
    for (int64_t n = 0; n < s.batch; ++n) set_zeros(n);
    char* frames = source.direct()
                       ? nullptr
                       : static_cast<char*>(scratch(Scratch::Columns, source.bytes() * size_t(s.batch)));
    if (frames) {
        const int64_t rows = source.rows();
        parallel_for(0, s.batch * rows, std::max(int64_t(1), 32768 / (g.plan.frame.stride(1) + 1)),
                     [&](int64_t begin, int64_t end) {
                         for (int64_t t = begin; t < end;) {
                             const int64_t n = t / rows, first = t % rows,
                                           last = std::min(rows, first + end - t);
                             source.fill(n, frames + n * int64_t(source.bytes()), first, last);
                             t += last - first;
                         }
                     });
    }
    parallel_for(0, s.batch * count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
            const int64_t n = t / count;
            const Block& b = blocks[size_t(t % count)];
            g.rows(*b.out, n, frames ? frames + n * int64_t(source.bytes()) : source.caller_memory(n),
                   b.begin, b.end);
        }
    });
}

}  // namespace flb
