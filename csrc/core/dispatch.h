// Kernels compiled once per instruction set.
//
// A header declares   FLB_KERNEL(add_loops, void(int64_t n, ...));
// one ordinary file   FLB_DEFINE_KERNEL(add_loops);
// and each csrc/kernels/isa/*.cpp, compiled three times, ends with FLB_REGISTER_KERNEL(add_loops, &impl);
// The call is coarse: add_loops(n, ...) goes through a table filled before main, at the level chosen at import.
#pragma once
#include <cstdint>

namespace flb {

enum class CpuLevel : uint8_t { Baseline, Avx2, Avx512 };
constexpr int kCpuLevels = 3;

// The best level that the processor reports and this build contains; FLAMBEAU_CPU_CAPABILITY
// ("default", "avx2", "avx512") can lower it.
CpuLevel cpu_level();
const char* cpu_level_name(CpuLevel);  // "DEFAULT", "AVX2", "AVX512"
// What the processor itself reports, whatever the environment asks for: libraries with kernels of their own
// (OpenBLAS) are told from this.
CpuLevel cpu_hardware_level();
bool cpu_is_amd();

template <class Fn>
struct KernelTable;
template <class R, class... Args>
struct KernelTable<R(Args...)> {
    using Pointer = R (*)(Args...);
    Pointer impl[kCpuLevels];
    R operator()(Args... args) const { return get()(static_cast<Args>(args)...); }
    Pointer get() const {
        static const int level = int(cpu_level());
        for (int i = level; i > 0; --i)
            if (impl[i]) return impl[i];
        return impl[0];
    }
};

#define FLB_KERNEL(name, ...) extern ::flb::KernelTable<__VA_ARGS__> name
#define FLB_DEFINE_KERNEL(name) decltype(name) name = {}

// FLB_LEVEL is set by the build to 0, 1 or 2, FLB_ISA to baseline, avx2 or avx512: the namespace that keeps an
// inline function compiled with wide instructions from being the one the linker keeps for everybody.
#define FLB_REGISTER_KERNEL(name, pointer) \
    [[maybe_unused]] static const bool name##_registered = (name.impl[FLB_LEVEL] = (pointer), true)

}  // namespace flb
