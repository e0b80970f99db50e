#include <cstdlib>
#include <cstring>

#include "core/dispatch.h"

namespace flb {

CpuLevel cpu_hardware_level() {
#if defined(__x86_64__)
    // All of what -march=x86-64-v3 / -v4 lets the compiler use, not just the feature that names the level.
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                    __builtin_cpu_supports("f16c") && __builtin_cpu_supports("lzcnt") &&
                    __builtin_cpu_supports("movbe");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    return v4 ? CpuLevel::Avx512 : v3 ? CpuLevel::Avx2 : CpuLevel::Baseline;
#else
    return CpuLevel::Baseline;
#endif
}

bool cpu_is_amd() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_is("amd");
#else
    return false;
#endif
}

static CpuLevel choose_level() {
    const CpuLevel best = cpu_hardware_level();
    const char* wish = std::getenv("FLAMBEAU_CPU_CAPABILITY");
    if (!wish) return best;
    CpuLevel wanted = best;
    if (!std::strcmp(wish, "default")) wanted = CpuLevel::Baseline;
    if (!std::strcmp(wish, "avx2")) wanted = CpuLevel::Avx2;
    return wanted < best ? wanted : best;
}

CpuLevel cpu_level() {
    static const CpuLevel level = choose_level();
    return level;
}

const char* cpu_level_name(CpuLevel level) {
    static const char* const names[kCpuLevels] = {"DEFAULT", "AVX2", "AVX512"};
    return names[int(level)];
}

}  // namespace flb
