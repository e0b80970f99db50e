// The random recipes: PyTorch's CPU results, bit for bit, from the same generator state. See docs/random.md.
//
// Each function fills n contiguous elements in the order given; the caller has checked the pointers. For an output
// that is not contiguous the caller fills a temporary in the output's memory order (dimensions by falling stride) and
// copies. Arguments are checked before the generator or the memory changes; a dtype without the recipe raises.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"
#include "core/generator.h"

namespace flb::random {

// --- uniform and normal -------------------------------------------------------------------------------------------
// [from, to); floating dtypes. One 32-bit draw an element, two for float64.
void fill_uniform(DType, void* out, int64_t n, double from, double to, Generator&);

// Floating and complex dtypes; for complex ones each part gets the mean, and std / sqrt(2).
// `serial` asks for the element-by-element recipe: PyTorch takes it for n < 16 and for outputs that aren't contiguous.
void fill_normal(DType, void* out, int64_t n, double mean, double std, bool serial, Generator&);

// --- by inversion, one element after the other --------------------------------------------------------------------
void fill_exponential(DType, void* out, int64_t n, double lambda, Generator&);
void fill_cauchy(DType, void* out, int64_t n, double median, double sigma, Generator&);
void fill_log_normal(DType, void* out, int64_t n, double mean, double std, Generator&);
void fill_geometric(DType, void* out, int64_t n, double p, Generator&);  // all dtypes but bool and complex

// --- bernoulli ----------------------------------------------------------------------------------------------------
// One probability for all: dropout's recipe. All dtypes but complex.
void fill_bernoulli(DType, void* out, int64_t n, double p, Generator&);
// A probability per element, of a floating dtype; raises before drawing if one lies outside [0, 1].
void fill_bernoulli(DType, void* out, DType p_dtype, const void* p, int64_t n, Generator&);

// --- integers -----------------------------------------------------------------------------------------------------
// random_(): [0, max] for integers, [0, 2^digits] for floating dtypes, {0, 1} for bool.
void fill_random(DType, void* out, int64_t n, Generator&);
// Integers in [from, to): randint, random_(from, to). Raises for bounds that the dtype doesn't hold.
void fill_random_between(DType, void* out, int64_t n, int64_t from, int64_t to, Generator&);
// From `from` to the same end as random_(): random_(from, None).
void fill_random_from(DType, void* out, int64_t n, int64_t from, Generator&);
// All 2^64 values: random_(-2**63, None); int64, uint64 and floating dtypes.
void fill_random_full_range(DType, void* out, int64_t n, Generator&);
// A permutation of 0 ... n - 1.
void fill_randperm(DType, void* out, int64_t n, Generator&);

// --- distributions with a parameter per element; input and output of the same floating dtype -------------------------
void sample_poisson(DType, void* out, const void* rate, int64_t n, Generator&);
void sample_binomial(DType, void* out, const void* count, const void* prob, int64_t n, Generator&);
void sample_gamma(DType, void* out, const void* concentration, int64_t n, Generator&);
// rows x cols; each row sums to one.
void sample_dirichlet(DType, void* out, const void* concentration, int64_t rows, int64_t cols, Generator&);
// Weights rows x cols -> indices rows x samples, drawn with replacement. (Without, and for one sample, PyTorch divides
// the weights by exponential draws and takes the largest: a composite.)
void sample_multinomial(DType, int64_t* out, const void* weights, int64_t rows, int64_t cols, int64_t samples,
                        Generator&);

// --- the loops behind fill_uniform and fill_normal, compiled per instruction set -------------------------------------------------------
// Blocks of 16: uniform draws u in [0, 1) -> normal samples, in place; elements 8 ... 15 of a block turn those before.
FLB_KERNEL(box_muller_float, void(float* data, int64_t blocks, float mean, float std));

// Words of the generator -> [low, low + span); `high` is low + span as given.
FLB_KERNEL(uniform_float,
           void(float* out, const uint32_t* words, int64_t n, float low, float span, float high));

}  // namespace flb::random
