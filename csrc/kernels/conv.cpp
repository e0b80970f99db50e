// Convolutions: which windows meet which outputs, and how the work is shared out. See Note [Convolution as rows].
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv_kernels.h"
#include "kernels/packed_gemm.h"

namespace flb {

FLB_DEFINE_KERNEL(conv_panel);
FLB_DEFINE_KERNEL(conv_rows);
FLB_DEFINE_KERNEL(conv_depthwise_rows);
FLB_DEFINE_KERNEL(conv_depthwise_weight);
FLB_DEFINE_KERNEL(conv_transpose_copy);

namespace {

// Steps of k whose weights fit the first cache level.
int64_t depth_of_pieces(DType type) {
    return gemm_shape(type == DType::Float64 ? PanelType::F64 : PanelType::F32).kc;
}

// Part of an image that a kernel call should find in the second cache level.
constexpr int64_t kBlockBytes = 192 << 10;

// ---- which input meets which output -----------------------------------------------------------------------------------

// Outputs start, start + step, ... of one dimension. Output number j reads input j * multiple + offset for every tap.
struct DimClass {
    struct Tap {
        int64_t tap, offset;
    };
    int64_t start, step, count, multiple;
    std::vector<Tap> taps;
};

std::vector<DimClass> forward_classes(const ConvShape& s, int dim) {
    DimClass c{0, 1, s.out[dim], s.stride[dim], {}};
    for (int64_t k = 0; k < s.kernel[dim]; ++k) c.taps.push_back({k, k * s.dilation[dim] - s.padding[dim]});
    return {c};
}

// Backwards, an input meets only the taps that fit its residue modulo the stride: one class of inputs per residue.
// Taps run from the last to the first, so that neighbouring taps meet neighbouring gradients in ascending order.
std::vector<DimClass> backward_classes(const ConvShape& s, int dim) {
    std::vector<DimClass> classes;
    const int64_t stride = s.stride[dim];
    for (int64_t r = 0; r < std::min(stride, s.in[dim]); ++r) {
        DimClass c{r, stride, ceil_div(s.in[dim] - r, stride), 1, {}};
        for (int64_t k = s.kernel[dim] - 1; k >= 0; --k) {
            const int64_t reach = r + s.padding[dim] - k * s.dilation[dim];
            if (reach % stride == 0) c.taps.push_back({k, reach / stride});
        }
        classes.push_back(c);
    }
    return classes;
}

// An image in the form [d][h][w][channel] with zeros around it; `lo` zeros come first in each dimension.
struct Frame {
    int64_t lo[3], size[3], channels;
    int64_t stride(int dim) const {
        return dim == 2 ? channels : dim == 1 ? size[2] * channels : size[1] * size[2] * channels;
    }
    int64_t elements() const { return size[0] * size[1] * size[2] * channels; }
};

// What a group of outputs reads: classes of the three dimensions and the runs of one window.
struct OutputClass {
    const DimClass* dim[3];
    std::vector<ConvRun> runs;
};

struct Plan {
    std::vector<DimClass> classes[3];
    Frame frame;
    std::vector<OutputClass> outputs;
};

// channels: of the image that is read; run: how many of them a window's element has (those of one group); longest: of
// a run.
Plan make_plan(const ConvShape& s, bool backward, int64_t channels, int64_t run, int64_t longest) {
    Plan plan;
    plan.frame.channels = channels;
    for (int i = 0; i < 3; ++i) {
        plan.classes[i] = backward ? backward_classes(s, i) : forward_classes(s, i);
        int64_t first = 0, last = 0;
        for (const DimClass& c : plan.classes[i])
            for (const DimClass::Tap& t : c.taps) {
                first = std::min(first, t.offset);
                last = std::max(last, (c.count - 1) * c.multiple + t.offset);
            }
        plan.frame.lo[i] = -first;
        plan.frame.size[i] = last - first + 1;
    }
    int64_t elements = channels;
    for (int64_t n : plan.frame.size)
        check_as(ErrorKind::Memory,
                 !__builtin_mul_overflow(elements, n, &elements) && elements < int64_t(1) << 58,
                 "DefaultCPUAllocator: can't allocate memory: the padded image of a convolution has too many "
                 "elements");
    const Frame& f = plan.frame;
    const int64_t taps = s.taps();
    for (const DimClass& d : plan.classes[0])
        for (const DimClass& h : plan.classes[1])
            for (const DimClass& w : plan.classes[2]) {
                OutputClass out{{&d, &h, &w}, {}};
                for (const DimClass::Tap& td : d.taps)
                    for (const DimClass::Tap& th : h.taps)
                        for (const DimClass::Tap& tw : w.taps) {
                            int64_t tap = (td.tap * s.kernel[1] + th.tap) * s.kernel[2] + tw.tap;
                            if (backward) tap = taps - 1 - tap;
                            const ConvRun next{(td.offset + f.lo[0]) * f.stride(0) +
                                                   (th.offset + f.lo[1]) * f.stride(1) +
                                                   (tw.offset + f.lo[2]) * f.stride(2),
                                               tap * run, run};
                            ConvRun* last = out.runs.empty() ? nullptr : &out.runs.back();
                            if (last && run == channels && last->length + run <= longest &&
                                last->input + last->length == next.input &&
                                last->weight + last->length == next.weight) {
                                last->length += run;
                                continue;
                            }
                            for (int64_t i = 0; i < run; i += longest)
                                out.runs.push_back(
                                    {next.input + i, next.weight + i, std::min(longest, run - i)});
                        }
                plan.outputs.push_back(std::move(out));
            }
    return plan;
}

// ---- images into frames -------------------------------------------------------------------------------------------------

ConvImage image_at(const ConvImage& image, int64_t n, int64_t size) {
    ConvImage one = image;
    one.data = static_cast<char*>(image.data) + n * image.batch_stride * size;
    return one;
}

// Rows [begin, end) of the frame, counted over d and h.
void fill_frame(const ConvImage& image, const int64_t (&sizes)[3], const Frame& f, int64_t size, char* to,
                int64_t begin, int64_t end) {
    const int64_t row_bytes = f.stride(1) * size, left = f.lo[2];
    const int64_t width = std::max(int64_t(0), std::min(sizes[2], f.size[2] - left));
    for (int64_t r = begin; r < end; ++r) {
        char* row = to + r * row_bytes;
        const int64_t d = r / f.size[1] - f.lo[0], h = r % f.size[1] - f.lo[1];
        if (d < 0 || d >= sizes[0] || h < 0 || h >= sizes[1]) {
            std::memset(row, 0, size_t(row_bytes));
            continue;
        }
        char* inner = row + left * f.channels * size;
        std::memset(row, 0, size_t(inner - row));
        const char* from =
            static_cast<const char*>(image.data) + (d * image.stride[0] + h * image.stride[1]) * size;
        if (image.channel_stride == 1 && image.stride[2] == f.channels)
            std::memcpy(inner, from, size_t(width * f.channels * size));
        else
            conv_transpose_copy(int(size), f.channels, width, from, image.channel_stride, image.stride[2],
                                inner, 1, f.channels);
        char* right = inner + width * f.channels * size;
        std::memset(right, 0, size_t(row + row_bytes - right));
    }
}

// Every window written out as the channels of one output: for few channels, whose runs would be too short.
void fill_columns(const ConvShape& s, const ConvImage& image, int64_t size, char* to, int64_t begin,
                  int64_t end) {
    const int64_t taps = s.taps(), depth = taps * s.in_channels;
    for (int64_t r = begin; r < end; ++r) {
        char* row = to + r * s.out[2] * depth * size;
        for (int64_t t = 0; t < taps; ++t) {
            const int64_t kw = t % s.kernel[2], kh = t / s.kernel[2] % s.kernel[1],
                          kd = t / s.kernel[2] / s.kernel[1];
            const int64_t d = r / s.out[1] * s.stride[0] - s.padding[0] + kd * s.dilation[0];
            const int64_t h = r % s.out[1] * s.stride[1] - s.padding[1] + kh * s.dilation[1];
            const bool inside = d >= 0 && d < s.in[0] && h >= 0 && h < s.in[1];
            const int64_t w0 = kw * s.dilation[2] - s.padding[2];
            // Outputs [first, last) find their element inside the image.
            int64_t first = w0 < 0 ? ceil_div(-w0, s.stride[2]) : 0;
            int64_t last = s.in[2] > w0 ? ceil_div(s.in[2] - w0, s.stride[2]) : 0;
            last = inside ? std::min(last, s.out[2]) : 0;
            first = std::min(first, last);
            for (int64_t c = 0; c < s.in_channels; ++c) {
                char* column = row + (t * s.in_channels + c) * size;
                const int64_t offset = d * image.stride[0] + h * image.stride[1] + c * image.channel_stride;
                auto fill = [&](auto zero) {
                    using U = decltype(zero);
                    U* out = reinterpret_cast<U*>(column);
                    const U* from = static_cast<const U*>(image.data);
                    for (int64_t w = 0; w < first; ++w) out[w * depth] = 0;
                    for (int64_t w = first; w < last; ++w)
                        out[w * depth] = from[offset + (w * s.stride[2] + w0) * image.stride[2]];
                    for (int64_t w = last; w < s.out[2]; ++w) out[w * depth] = 0;
                };
                size == 8 ? fill(uint64_t(0)) : fill(uint32_t(0));
            }
        }
    }
}

bool few_channels(const ConvShape& s) {
    return s.groups == 1 && s.in_channels * s.kernel[2] < 16 && s.taps() > 1 &&
           s.taps() * s.in_channels <= 512;
}

// The convolution with a window of one element whose channels are the columns.
ConvShape columns_shape(const ConvShape& s) {
    ConvShape c = s;
    c.in_channels = s.in_channels * s.taps();
    for (int i = 0; i < 3; ++i) {
        c.in[i] = s.out[i];
        c.kernel[i] = c.stride[i] = c.dilation[i] = 1;
        c.padding[i] = 0;
    }
    return c;
}

// Images as the loops read them: the caller's memory where it has the form already, else filled when asked.
class Source {
  public:
    // columns: the original shape when windows are to be written out. slack: elements that may be read beyond the end.
    Source(const ConvImage& image, const int64_t (&sizes)[3], const Frame& frame, int64_t size, int64_t slack,
           bool may_overrun, const ConvShape* columns)
        : image_(image), frame_(frame), size_(size), columns_(columns) {
        for (int i = 0; i < 3; ++i) sizes_[i] = sizes[i];
        direct_ = !columns && !may_overrun && image.channel_stride == 1;
        for (int i = 0; i < 3; ++i)
            direct_ = direct_ && frame.lo[i] == 0 && frame.size[i] <= sizes[i] &&
                      (frame.size[i] == 1 || image.stride[i] == frame.stride(i));
        bytes_ = size_t(round_up((frame.elements() + slack) * size, 64));
        tail_ = size_t(slack * size);
    }
    bool direct() const { return direct_; }
    size_t bytes() const { return direct_ ? 0 : bytes_; }
    int64_t rows() const { return frame_.size[0] * frame_.size[1]; }
    void fill(int64_t n, char* to, int64_t begin, int64_t end) const {
        const ConvImage one = image_at(image_, n, size_);
        if (columns_) fill_columns(*columns_, one, size_, to, begin, end);
        else fill_frame(one, sizes_, frame_, size_, to, begin, end);
        if (end == rows()) std::memset(to + bytes_ - tail_, 0, tail_);
    }
    const char* caller_memory(int64_t n) const { return static_cast<char*>(image_at(image_, n, size_).data); }

  private:
    ConvImage image_;
    int64_t sizes_[3];
    Frame frame_;
    int64_t size_;
    const ConvShape* columns_;
    bool direct_;
    size_t bytes_, tail_;
};

// ---- weights into panels ------------------------------------------------------------------------------------------------

// [group][panel][tap][source channel][panel channel] from [out][in / groups][tap].
void pack_weights(DType type, const ConvShape& s, bool backward, const void* weight, char* to) {
    const int64_t og = s.out_channels / s.groups, cg = s.in_channels / s.groups, taps = s.taps();
    const int64_t sources = backward ? og : cg, targets = backward ? cg : og, nr = conv_panel(type);
    const int64_t panels = ceil_div(targets, nr), depth = taps * sources;
    const int64_t source_step = backward ? cg * taps : taps, target_step = backward ? taps : cg * taps;
    auto pack = [&](auto zero) {
        using U = decltype(zero);
        parallel_for(0, s.groups * panels, std::max(int64_t(1), 65536 / (depth * nr)),
                     [&](int64_t begin, int64_t end) {
                         for (int64_t p = begin; p < end; ++p) {
                             const int64_t first = p % panels * nr, count = std::min(nr, targets - first);
                             const U* from = static_cast<const U*>(weight) + p / panels * og * cg * taps +
                                             first * target_step;
                             U* panel = reinterpret_cast<U*>(to) + p * depth * nr;
                             for (int64_t c = 0; c < sources; ++c)
                                 for (int64_t t = 0; t < taps; ++t) {
                                     U* row = panel + ((backward ? taps - 1 - t : t) * sources + c) * nr;
                                     const U* source = from + c * source_step + t;
                                     for (int64_t j = 0; j < count; ++j) row[j] = source[j * target_step];
                                     for (int64_t j = count; j < nr; ++j) row[j] = 0;
                                 }
                         }
                     });
    };
    itemsize(type) == 8 ? pack(uint64_t(0)) : pack(uint32_t(0));
}

// [tap][channel] from [channel][tap].
void pack_depthwise(DType type, const ConvShape& s, bool backward, const void* weight, char* to) {
    const int64_t taps = s.taps(), width = round_up(s.out_channels, conv_panel(type)), size = itemsize(type);
    std::memset(to, 0, size_t(taps * width * size));
    for (int64_t c = 0; c < s.out_channels; ++c)
        for (int64_t t = 0; t < taps; ++t)
            std::memcpy(to + ((backward ? taps - 1 - t : t) * width + c) * size,
                        static_cast<const char*>(weight) + (c * taps + t) * size, size_t(size));
}

// ---- outputs gathered from windows ---------------------------------------------------------------------------------

bool is_depthwise(const ConvShape& s) {
    return s.groups > 1 && s.groups == s.in_channels && s.groups == s.out_channels;
}

struct Gather {
    DType type;
    int64_t size, groups, source_group, target_group;  // channels per group of what is read and written
    bool depthwise;
    Plan plan;
    const char* weights;
    const char* bias;
    int64_t depth;
    ConvImage output;

    // Rows [begin, end) of one class of outputs of image n, from its frame.
    void rows(const OutputClass& out, int64_t n, const char* frame, int64_t begin, int64_t end) const {
        const Frame& f = plan.frame;
        const DimClass &d = *out.dim[0], &h = *out.dim[1], &w = *out.dim[2];
        const int64_t channels = groups * target_group, nr = conv_panel(type);
        const bool direct = output.channel_stride == 1;
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
                frame + (jd * d.multiple * f.stride(0) + jh * h.multiple * f.stride(1)) * size,
                direct ? targets[r - begin] : buffer + (r - begin) * w.count * channels * size};
        }
        ConvRowsJob job{};
        job.rows = rows.data();
        job.row_count = end - begin;
        job.positions = w.count;
        job.input_step = w.multiple * f.channels;
        job.output_step = direct ? output.stride[2] * w.step : channels;
        job.runs = out.runs.data();
        job.run_count = int64_t(out.runs.size());
        job.depth = depth;
        job.piece_depth = depth_of_pieces(type);
        if (depthwise) {
            job.weights = weights;
            job.bias = bias;
            job.channels = channels;
            conv_depthwise_rows(type, job);
        } else {
            const int64_t padded = round_up(target_group, nr);
            job.channels = target_group;
            for (int64_t g = 0; g < groups; ++g) {
                job.weights = weights + g * padded * depth * size;
                job.bias = bias + g * padded * size;
                conv_rows(type, job);
                for (ConvRow& row : rows) {
                    row.input = static_cast<const char*>(row.input) + source_group * size;
                    row.output = static_cast<char*>(row.output) + target_group * size;
                }
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
        for (int64_t r = 0; r < end - begin; ++r)
            conv_transpose_copy(int(size), w.count, channels, buffer + r * w.count * channels * size,
                                channels, 1, targets[r], output.stride[2] * w.step, output.channel_stride);
    }
};

void gather(DType type, const ConvShape& shape, bool backward, const ConvImage& input, const void* weight,
            const void* bias, const ConvImage& output) {
    const bool columns = !backward && few_channels(shape);
    const ConvShape s = columns ? columns_shape(shape) : shape;
    const int64_t size = itemsize(type), nr = conv_panel(type);
    const int64_t og = s.out_channels / s.groups, cg = s.in_channels / s.groups;
    Gather g{};
    g.type = type;
    g.size = size;
    g.depthwise = is_depthwise(s);
    g.groups = s.groups;
    g.source_group = backward ? og : cg;
    g.target_group = backward ? cg : og;
    g.depth = s.taps() * (g.depthwise ? 1 : g.source_group);
    g.plan = make_plan(s, backward, s.groups * g.source_group, g.source_group, depth_of_pieces(type));
    g.output = output;
    const int64_t channels = s.groups * g.target_group;

    // Weights and bias, in whole panels.
    const int64_t padded = g.depthwise ? round_up(channels, nr) : s.groups * round_up(g.target_group, nr);
    char* packed = static_cast<char*>(scratch(Scratch::PackedB, size_t(padded * (g.depth + 1) * size)));
    if (g.depthwise) {
        pack_depthwise(type, s, backward, weight, packed);
    } else if (columns) {
        // Written-out windows have their elements in the order [tap][channel], as panels have.
        pack_weights(type, shape, false, weight, packed);
    } else {
        pack_weights(type, s, backward, weight, packed);
    }
    char* packed_bias = packed + padded * g.depth * size;
    std::memset(packed_bias, 0, size_t(padded * size));
    if (bias) {
        const int64_t group = g.depthwise ? channels : g.target_group,
                      step = g.depthwise ? padded : round_up(group, nr);
        for (int64_t i = 0; i < channels / group; ++i)
            std::memcpy(packed_bias + i * step * size, static_cast<const char*>(bias) + i * group * size,
                        size_t(group * size));
    }
    g.weights = packed;
    g.bias = packed_bias;

    const int64_t* sizes = backward ? s.out : s.in;
    const Source source(input, {sizes[0], sizes[1], sizes[2]}, g.plan.frame, size, nr,
                        g.depthwise && channels % nr != 0, columns ? &shape : nullptr);

    // Blocks of rows, the same for every image.
    struct Block {
        const OutputClass* out;
        int64_t begin, end;
    };
    std::vector<Block> blocks;
    for (const OutputClass& out : g.plan.outputs) {
        const int64_t rows = out.dim[0]->count * out.dim[1]->count;
        const int64_t step =
            std::max(int64_t(1), kBlockBytes / std::max(int64_t(1), out.dim[2]->count * channels * size));
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
                const char* frame = filled(n, Scratch::Columns);
                for (const Block& b : blocks) g.rows(*b.out, n, frame, b.begin, b.end);
            }
        });
        return;
    }
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

// The gradient of the weights as a product: gradients (channels, positions) times inputs (positions, part of a window),
// over blocks of whole rows of positions.
class WeightProduct {
  public:
    WeightProduct(DType type, int64_t rows_per_image, int64_t positions)
        : type_(type),
          panel_(type == DType::Float64 ? PanelType::F64 : PanelType::F32),
          shape_(gemm_shape(panel_)),
          rows_per_image_(rows_per_image),
          positions_(positions),
          block_rows_(std::max(int64_t(1), shape_.kc / std::max(int64_t(1), positions))) {}

    // Packs the gradients of `rows`, which the next products multiply by.
    void packs(const std::vector<ConvRow>& rows, const GemmSide& strides, int64_t groups, int64_t channels) {
        rows_ = &rows;
        const int64_t count = int64_t(rows.size()), size = itemsize(type_), mr = shape_.mr;
        panels_ = ceil_div(channels, mr);
        step_ = groups * panels_ * mr;
        packed_ = static_cast<char*>(scratch(Scratch::Partial, size_t(count * positions_ * step_ * size)));
        const int64_t blocks = ceil_div(count, block_rows_);
        const int64_t grain = std::max(int64_t(1), 65536 / (block_rows_ * positions_ * step_));
        parallel_for(0, blocks * groups, grain * groups, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t) {
                const int64_t group = t % groups, first = t / groups * block_rows_,
                              last = std::min(count, first + block_rows_);
                for (int64_t p = 0; p < panels_; ++p)
                    for (int64_t r = first; r < last;) {
                        // As many rows as lie in one image.
                        const int64_t next = std::min(last, (r / rows_per_image_ + 1) * rows_per_image_);
                        gemm_pack(panel_, type_, true,
                                  static_cast<const char*>(rows[size_t(r)].output) +
                                      (group * channels + p * mr) * strides.stride * size,
                                  strides.stride, strides.k_stride, std::min(mr, channels - p * mr),
                                  (next - r) * positions_,
                                  block(first, last, group) +
                                      (p * (last - first) + r - first) * positions_ * mr * size);
                        r = next;
                    }
            }
        });
    }

    // c[channel, i] += the sum over positions of gradient[channel] * input[run.input + i].
    void add(int64_t group, int64_t channels, const ConvRun& run, int64_t input_step, char* c,
             int64_t ldc) const {
        const int64_t count = int64_t(rows_->size()), size = itemsize(type_);
        char* inputs = static_cast<char*>(
            scratch(Scratch::PackedA, size_t(block_rows_ * positions_ * shape_.nr * size)));
        for (int64_t first = 0; first < count; first += block_rows_) {
            const int64_t last = std::min(count, first + block_rows_);
            for (int64_t r = first; r < last; ++r)
                gemm_pack(panel_, type_, false,
                          static_cast<const char*>((*rows_)[size_t(r)].input) + run.input * size, 1,
                          input_step, run.length, positions_,
                          inputs + (r - first) * positions_ * shape_.nr * size);
            gemm_block(panel_, channels, run.length, (last - first) * positions_, block(first, last, group),
                       inputs, c, ldc, true);
        }
    }

  private:
    // The panels of rows [first, last).
    char* block(int64_t first, int64_t last, int64_t group) const {
        const int64_t in_group = group * panels_ * shape_.mr * (last - first);
        return packed_ + (first * step_ + in_group) * positions_ * itemsize(type_);
    }

    DType type_;
    PanelType panel_;
    GemmShape shape_;
    int64_t rows_per_image_, positions_, block_rows_, panels_ = 0, step_ = 0;
    const std::vector<ConvRow>* rows_ = nullptr;
    char* packed_ = nullptr;
};

// A window of one element that skips inputs reads a smaller image.
void skip_inputs(ConvShape& s, ConvImage& input) {
    if (s.taps() != 1) return;
    for (int i = 0; i < 3; ++i) {
        if (s.padding[i] != 0) continue;
        input.stride[i] *= s.stride[i];
        s.in[i] = s.out[i];
        s.stride[i] = 1;
    }
}

// ---- windows of one element -----------------------------------------------------------------------------------------

// Whether positions are neighbours throughout an image, channel by channel.
bool planes(const ConvImage& image, const int64_t (&sizes)[3]) {
    return image.stride[2] == 1 && (sizes[1] == 1 || image.stride[1] == sizes[2]) &&
           (sizes[0] == 1 || image.stride[0] == sizes[1] * sizes[2]);
}

// A window of one element over such images is a product of matrices as they lie.
bool is_product(const ConvShape& s, const ConvImage& input, const ConvImage& output) {
    bool plain = s.taps() == 1 && s.groups == 1 && s.in_channels > 1 && s.out_channels > 1;
    for (int i = 0; i < 3; ++i) plain = plain && s.stride[i] == 1 && s.padding[i] == 0;
    return plain && planes(input, s.in) && planes(output, s.out);
}

// output[channel, position] = bias[channel] + weight * input, for every image.
void product_of_images(DType type, int64_t batch, int64_t channels, int64_t depth, int64_t positions,
                       const GemmSide& weight, const ConvImage& input, const void* bias,
                       const ConvImage& output) {
    const PanelType panel = type == DType::Float64 ? PanelType::F64 : PanelType::F32;
    const int64_t size = itemsize(type);
    const double work = double(channels) * double(depth) * double(positions);
    // Whole images for the threads, unless there are too few: then a product shares out its own parts.
    const bool together = batch < 2 * num_threads() || work * double(batch) < kParallelProduct;
    parallel_for(0, batch, together ? batch : 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
            char* to = static_cast<char*>(output.data) + n * output.batch_stride * size;
            const GemmSide x{static_cast<const char*>(input.data) + n * input.batch_stride * size, 1,
                             input.channel_stride};
            for (int64_t c = 0; bias && c < channels; ++c) {
                const char* value = static_cast<const char*>(bias) + c * size;
                char* row = to + c * output.channel_stride * size;
                if (size == 8)
                    std::fill_n(reinterpret_cast<double*>(row), positions,
                                *reinterpret_cast<const double*>(value));
                else
                    std::fill_n(reinterpret_cast<float*>(row), positions,
                                *reinterpret_cast<const float*>(value));
            }
            packed_gemm(panel, type, channels, positions, depth, weight, x, to, output.channel_stride,
                        bias != nullptr);
        }
    });
}

}  // namespace

void conv_forward(DType type, const ConvShape& shape, const ConvImage& input, const void* weight,
                  const void* bias, const ConvImage& output) {
    ConvShape s = shape;
    ConvImage x = input;
    skip_inputs(s, x);
    if (is_product(s, x, output))
        return product_of_images(type, s.batch, s.out_channels, s.in_channels, s.out[0] * s.out[1] * s.out[2],
                                 {weight, s.in_channels, 1}, x, bias, output);
    if (has_planes(s, x, output)) return planes_forward(type, s, x, weight, bias, output);
    gather(type, s, false, x, weight, bias, output);
}

void conv_input_gradient(DType type, const ConvShape& shape, const ConvImage& grad_output, const void* weight,
                         const void* bias, const ConvImage& grad_input) {
    if (is_product(shape, grad_input, grad_output))
        return product_of_images(type, shape.batch, shape.in_channels, shape.out_channels,
                                 shape.in[0] * shape.in[1] * shape.in[2], {weight, 1, shape.in_channels},
                                 grad_output, bias, grad_input);
    if (has_planes(shape, grad_input, grad_output))
        return planes_input_gradient(type, shape, grad_output, weight, bias, grad_input);
    gather(type, shape, true, grad_output, weight, bias, grad_input);
}

void conv_weight_gradient(DType type, const ConvShape& given, const ConvImage& given_input,
                          const ConvImage& grad_output, void* grad_weight) {
    ConvShape shape = given;
    ConvImage input = given_input;
    skip_inputs(shape, input);
    if (has_planes(shape, input, grad_output))
        return planes_weight_gradient(type, shape, input, grad_output, grad_weight);
    const int64_t plane = shape.out[0] * shape.out[1] * shape.out[2];
    if (shape.batch && plane && is_product(shape, input, grad_output)) {
        const PanelType panel = type == DType::Float64 ? PanelType::F64 : PanelType::F32;
        for (int64_t n = 0; n < shape.batch; ++n)
            packed_gemm(panel, type, shape.out_channels, shape.in_channels, plane,
                        {image_at(grad_output, n, itemsize(type)).data, grad_output.channel_stride, 1},
                        {image_at(input, n, itemsize(type)).data, input.channel_stride, 1}, grad_weight,
                        shape.in_channels, n > 0);
        return;
    }
    const bool columns = few_channels(shape), depthwise = is_depthwise(shape);
    const ConvShape s = columns ? columns_shape(shape) : shape;
    const int64_t size = itemsize(type), nr = conv_panel(type), taps = s.taps();
    const int64_t og = s.out_channels / s.groups, cg = s.in_channels / s.groups;
    const Plan plan = make_plan(s, false, s.in_channels, cg, int64_t(1) << 40);
    const OutputClass& out = plan.outputs[0];
    const Frame& f = plan.frame;
    const Frame gf{{0, 0, 0}, {s.out[0], s.out[1], s.out[2]}, s.out_channels};

    const bool overrun = depthwise && s.in_channels % nr != 0;
    const Source x(input, {s.in[0], s.in[1], s.in[2]}, f, size, nr, overrun, columns ? &shape : nullptr);
    const Source g(grad_output, {s.out[0], s.out[1], s.out[2]}, gf, size, nr, overrun, nullptr);
    // Packed in place where neighbouring positions are one step apart throughout an image.
    const int64_t g_step = grad_output.stride[2];
    const bool g_plain = !depthwise && (s.out[1] == 1 || grad_output.stride[1] == s.out[2] * g_step) &&
                         (s.out[0] == 1 || grad_output.stride[0] == s.out[1] * s.out[2] * g_step);

    // Columns of the result, each summed over all positions by one thread: a panel of a run, or of channels.
    struct Tile {
        int64_t group, channels;
        ConvRun run;
    };
    std::vector<Tile> tiles;
    if (depthwise) {
        for (int64_t c = 0; c < s.in_channels; c += nr)
            tiles.push_back({c / nr, std::min(nr, s.in_channels - c), {}});
    } else {
        for (int64_t group = 0; group < s.groups; ++group)
            for (const ConvRun& run : out.runs)
                for (int64_t i = 0; i < run.length; i += nr) {
                    const int64_t width = std::min(nr, run.length - i);
                    tiles.push_back({group, width, {run.input + group * cg + i, run.weight + i, width}});
                }
    }
    const int64_t ld = taps * cg;
    const int64_t sums = depthwise ? round_up(s.in_channels, nr) * taps : s.out_channels * ld;
    char* total = static_cast<char*>(scratch(Scratch::PackedB, size_t(sums * size)));
    std::memset(total, 0, size_t(sums * size));

    // As many images at a time as stay in the cache; the cuts depend on the shape alone.
    const int64_t image_bytes = (f.elements() + gf.elements()) * size;
    const int64_t group_images = std::clamp((int64_t(1) << 20) / std::max(int64_t(1), image_bytes),
                                            int64_t(1), std::max(s.batch, int64_t(1)));
    const DimClass &d = *out.dim[0], &h = *out.dim[1], &w = *out.dim[2];
    const int64_t rows_per_image = d.count * h.count;
    const int64_t row_bytes = (f.stride(1) * h.multiple + gf.stride(1)) * size;
    const int64_t block_rows = std::max(int64_t(1), 2 * kBlockBytes / std::max(int64_t(1), row_bytes));
    char* xs = static_cast<char*>(x.direct() ? nullptr
                                             : scratch(Scratch::Columns, x.bytes() * size_t(group_images)));
    char* gs = static_cast<char*>(
        g.direct() || g_plain ? nullptr : scratch(Scratch::Product, g.bytes() * size_t(group_images)));
    std::vector<ConvRow> rows;
    WeightProduct product(type, rows_per_image, w.count);
    for (int64_t n0 = 0; n0 < s.batch && rows_per_image * w.count > 0; n0 += group_images) {
        const int64_t images = std::min(group_images, s.batch - n0);
        auto fill = [&](const Source& source, const Frame& frame, char* to) {
            if (source.direct()) return;
            const int64_t count = source.rows();
            parallel_for(0, images * count, std::max(int64_t(1), 32768 / (frame.stride(1) + 1)),
                         [&](int64_t begin, int64_t end) {
                             for (int64_t t = begin; t < end;) {
                                 const int64_t n = t / count, first = t % count,
                                               last = std::min(count, first + end - t);
                                 source.fill(n0 + n, to + n * int64_t(source.bytes()), first, last);
                                 t += last - first;
                             }
                         });
        };
        fill(x, f, xs);
        if (!g_plain) fill(g, gf, gs);
        rows.clear();
        for (int64_t n = 0; n < images; ++n) {
            const char* xi = x.direct() ? x.caller_memory(n0 + n) : xs + n * int64_t(x.bytes());
            const char* gi = g_plain || g.direct() ? g.caller_memory(n0 + n) : gs + n * int64_t(g.bytes());
            for (int64_t r = 0; r < rows_per_image; ++r)
                rows.push_back(
                    {xi + (r / h.count * d.multiple * f.stride(0) + r % h.count * h.multiple * f.stride(1)) *
                              size,
                     const_cast<char*>(gi) + r * (g_plain ? w.count * g_step : gf.stride(1)) * size});
        }
        const double work = double(rows.size()) * double(w.count) * double(s.out_channels) * double(ld);
        const int64_t grain = work < kParallelProduct ? int64_t(tiles.size()) : 1;
        if (!depthwise) {
            const GemmSide grads{nullptr, g_plain ? grad_output.channel_stride : 1,
                                 g_plain ? g_step : gf.channels};
            product.packs(rows, grads, s.groups, og);
            parallel_for(0, int64_t(tiles.size()), grain, [&](int64_t begin, int64_t end) {
                for (int64_t t = begin; t < end; ++t) {
                    const Tile& tile = tiles[size_t(t)];
                    product.add(tile.group, og, tile.run, w.multiple * f.channels,
                                total + (tile.group * og * ld + tile.run.weight) * size, ld);
                }
            });
            continue;
        }
        parallel_for(0, int64_t(tiles.size()), grain, [&](int64_t begin, int64_t end) {
            std::vector<ConvRow> part;
            for (size_t r0 = 0; r0 < rows.size(); r0 += size_t(block_rows)) {
                const size_t count = std::min(rows.size() - r0, size_t(block_rows));
                for (int64_t t = begin; t < end; ++t) {
                    const Tile& tile = tiles[size_t(t)];
                    part.assign(rows.begin() + int64_t(r0), rows.begin() + int64_t(r0 + count));
                    for (ConvRow& row : part) {
                        row.input = static_cast<const char*>(row.input) + tile.group * nr * size;
                        row.output = static_cast<char*>(row.output) + tile.group * nr * size;
                    }
                    ConvRowsJob job{};
                    job.rows = part.data();
                    job.row_count = int64_t(count);
                    job.positions = w.count;
                    job.input_step = w.multiple * f.channels;
                    job.output_step = gf.channels;
                    job.runs = out.runs.data();
                    job.run_count = int64_t(out.runs.size());
                    job.channels = tile.channels;
                    conv_depthwise_weight(type, job, total + tile.group * taps * nr * size);
                }
            }
        });
    }

    // Into the weight's own order: [out][in / groups][tap].
    const int64_t stored_taps = shape.taps(), stored_in = shape.in_channels / shape.groups;
    auto reorder = [&](auto zero) {
        using U = decltype(zero);
        const U* from = reinterpret_cast<const U*>(total);
        U* to = static_cast<U*>(grad_weight);
        for (int64_t o = 0; o < s.out_channels; ++o)
            for (int64_t c = 0; c < stored_in; ++c)
                for (int64_t t = 0; t < stored_taps; ++t)
                    to[(o * stored_in + c) * stored_taps + t] = depthwise
                                                                    ? from[(o / nr * taps + t) * nr + o % nr]
                                                                    : from[o * ld + t * stored_in + c];
    };
    size == 8 ? reorder(uint64_t(0)) : reorder(uint32_t(0));
}

}  // namespace flb
