// Elementwise mathematics for float and double: everything of vmath_*.h.
//
// `for (i) out[i] = vexp(a[i])` compiles to vector code at every instruction set. Accuracy: about 1 ulp for float, 2
// for double (bounds per function in tests/native/vmath_test.cpp). Three families need a guard for rare elements and
// come with ready loops: map_sin/map_cos/map_tan (|x| > kTrigLimit) and map_fmod/map_remainder/map_floor_divide.
#pragma once
#include "kernels/isa/vmath_basic.h"
#include "kernels/isa/vmath_exp.h"
#include "kernels/isa/vmath_log.h"
#include "kernels/isa/vmath_special.h"
#include "kernels/isa/vmath_trig.h"
