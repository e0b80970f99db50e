// Windows of 3 x 3 by Winograd's algorithm: see Note [Winograd] in conv_winograd.cpp. Here: how one dimension goes, and
// rows of tiles.
#pragma once
#include <algorithm>

#include "kernels/conv_windows.h"

namespace flb {

// One dimension of a tile. `least`: a number matters where the tile has at least so many outputs (the last one may have
// fewer than the others). A sum takes up `terms` numbers; each has a place among them.
struct WinogradScheme {
    int outputs, reads, advance;  // advance: from what one tile reads to what the next one does
    int numbers, sums;
    int least[kWinogradNumbers];
    int sum[kWinogradNumbers], place[kWinogradNumbers];
    int terms[kWinogradNumbers];
};

constexpr WinogradScheme winograd_scheme(WinogradForm form) {
    switch (form) {
        case WinogradForm::Ones:
            return {2, 4, 2, 4, 4, {1, 1, 1, 2}, {0, 1, 2, 3}, {0, 0, 0, 0}, {1, 1, 1, 1}};
        case WinogradForm::Twos:
            return {2, 5, 4, 5, 3, {1, 1, 2, 1, 2}, {0, 1, 2, 0, 2}, {0, 0, 0, 1, 1}, {2, 1, 2}};
        default: return {4, 3, 2, 5, 5, {2, 2, 4, 1, 3}, {0, 1, 2, 3, 4}, {0, 0, 0, 0, 0}, {1, 1, 1, 1, 1}};
    }
}

// Tiles of a dimension with this many outputs, and those where a number matters.
inline int64_t winograd_tiles(const WinogradScheme& s, int64_t outputs) {
    return ceil_div(outputs, s.outputs);
}
inline int64_t winograd_tiles(const WinogradScheme& s, int64_t outputs, int number) {
    return outputs < s.least[number] ? 0 : (outputs - s.least[number]) / s.outputs + 1;
}

// Rows of tiles [first, first + count), counted over images. A row of an image is left out of the numbers whose `least`
// it has not.
class WinogradRows {
  public:
    WinogradRows(const WinogradScheme& s, int64_t outputs, int64_t first, int64_t count)
        : tiles_(winograd_tiles(s, outputs)), first_(first), count_(count) {
        for (int i = 0; i < s.numbers; ++i) rows_[i] = winograd_tiles(s, outputs, i);
    }
    // How many rows below `row`, counted over images, a number has.
    int64_t before(int number, int64_t row) const { return upto(number, row) - upto(number, first_); }
    int64_t count(int number) const { return before(number, first_ + count_); }
    bool has(int number, int64_t row) const { return row % tiles_ < rows_[number]; }

    // Calls f(image, first row of the image, count, first row over all images).
    template <class F>
    void over_images(F&& f) const {
        for (int64_t done = 0; done < count_;) {
            const int64_t n = (first_ + done) / tiles_, row = (first_ + done) % tiles_;
            const int64_t count = std::min(count_ - done, tiles_ - row);
            f(n, row, count, first_ + done);
            done += count;
        }
    }

  private:
    int64_t upto(int number, int64_t row) const {
        return row / tiles_ * rows_[number] + std::min(row % tiles_, rows_[number]);
    }
    int64_t tiles_, first_, count_, rows_[kWinogradNumbers] = {};
};

// Part of image n, zeros where there is none, as [row][column][channel] in scratch memory.
float* winograd_area(const ConvImage& image, const int64_t (&sizes)[2], int64_t channels, int64_t n,
                     int64_t row, int64_t column, int64_t rows, int64_t columns);

// Windows of 3 x 3 in float32 whose numbers these schemes have.
bool winograd_shape(DType type, const ConvShape& s);

}  // namespace flb
