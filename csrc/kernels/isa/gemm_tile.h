// The tile of the matrix product: mr x (2 vectors) of sums fill the registers, beside the vectors of B and one broadcast
// element of A.
#pragma once
#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kMr = 12;
#elif defined(__AVX2__)
constexpr int kMr = 6;
#else
constexpr int kMr = 4;
#endif
constexpr int kNv = 2;
template <class T>
constexpr int kNr = kNv * kLanes<T>;

}  // namespace FLB_ISA
}  // namespace flb
