// Discrete Fourier transforms: the plan and the passes that it is made of. See fft.cpp.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

// One pass of Stockham's autosort algorithm. With N points left and N = radix * m, for every p < m
//   y[radix * p + k] = w^(p k) * sum over j of x[p + j m] exp(-2 pi i j k / radix),   w = exp(-2 pi i / N).
// Every point stands for `stride` numbers side by side, which grows by the radix from pass to pass.
template <class T>
struct FftPass {
    int64_t radix, m, stride;
    // twiddle[(k - 1) * count + i] for k = 1 .. radix - 1. i is p, or for narrow passes the place p * stride + q.
    const T *twiddle_re, *twiddle_im;
    // exp(-2 pi i j / radix), j < radix: of radices that have no code of their own.
    const T *root_re, *root_im;
    bool narrow;
};

// Narrower passes are vectorised over p and q together.
constexpr int64_t kFftWide = 16;
constexpr int64_t kFftLargestRadix = 31;

// Runs the passes to and fro between the two buffers (real and imaginary parts apart); the result is in `a` after an even
// number of passes, in `b` after an odd one.
FLB_KERNEL(fft_passes_float,
           void(const FftPass<float>* passes, int count, float* a_re, float* a_im, float* b_re, float* b_im));
FLB_KERNEL(fft_passes_double, void(const FftPass<double>* passes, int count, double* a_re, double* a_im,
                                   double* b_re, double* b_im));

// Lines of memory to and from buffers in which `lanes` (1 or kFftWide) of them stand side by side, point by point.
template <class T>
struct FftLanes {
    T* lines[kFftWide];  // where each line begins; all are valid, of which the first `count` are written
    int64_t count, lanes;
    int64_t points, step;  // step: from point to point, in numbers of T
    bool complex;          // a point is two numbers, real and imaginary part; otherwise `im` is not touched
    bool adjacent;         // line q + 1 begins where the first point of line q ends
};
FLB_KERNEL(fft_gather_float, void(const FftLanes<float>& from, float* re, float* im));
FLB_KERNEL(fft_gather_double, void(const FftLanes<double>& from, double* re, double* im));
FLB_KERNEL(fft_scatter_float, void(const FftLanes<float>& to, const float* re, const float* im, float scale));
FLB_KERNEL(fft_scatter_double,
           void(const FftLanes<double>& to, const double* re, const double* im, double scale));

// Transforms of `rows` x `cols` independent lines of n points. Strides are in numbers of the dtype on that side.
struct FftLines {
    const char* in;
    char* out;
    int64_t n;                      // points of a transform
    int64_t rows, in_row, out_row;  // outer lines
    int64_t cols, in_col, out_col;  // inner lines
    int64_t in_step, out_step;      // from point to point
    int64_t in_points, out_points;  // how many points are read (the rest is zero) and written
    bool real_in, real_out;         // real numbers are read; only real parts are written
    bool hermitian_in;              // points beyond in_points are conjugates of those before
    bool forward;
    double scale;
};
void fft_lines(bool is_double, const FftLines& lines);

}  // namespace flb
