// Prints what the core found out about the processor: the tests run this under various environments.
#include <cstdio>

#include "core/cpu_count.h"
#include "core/dispatch.h"
#include "core/parallel.h"

int main() {
    using namespace flb;
    std::printf("%s %s %d %d %d\n", cpu_level_name(cpu_hardware_level()), cpu_level_name(cpu_level()), affinity_cpus(),
                available_cpus(), default_num_threads());
}
