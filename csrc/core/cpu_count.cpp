#include "core/cpu_count.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace flb {
namespace {

constexpr int kNoLimit = std::numeric_limits<int>::max();

int rounded_up(double quota, double period) {
    if (!(quota > 0) || !(period > 0)) return kNoLimit;
    const double cpus = quota / period;
    return cpus >= kNoLimit ? kNoLimit : std::max(1, int(cpus + 0.999));
}

// Version 2: "QUOTA PERIOD" or "max PERIOD" in one file; version 1: two files, -1 for no limit.
int quota_of_folder(const std::string& folder) {
    double quota = 0, period = 0;
    if (std::ifstream file(folder + "/cpu.max"); file >> quota >> period) return rounded_up(quota, period);
    std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
    if (quota_file >> quota && period_file >> period) return rounded_up(quota, period);
    return kNoLimit;
}

// A limit may stand at the process's own group or at any group above it.
int quota_of_path(const std::string& mount, std::string path) {
    int cpus = quota_of_folder(mount);
    while (path.size() > 1) {
        cpus = std::min(cpus, quota_of_folder(mount + path));
        path.erase(path.rfind('/'));
    }
    return cpus;
}

int cgroup_cpus() {
    int cpus = kNoLimit;
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {  // ID:CONTROLLERS:PATH
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1),
                          path = line.substr(second + 1);
        if (path.empty() || path[0] != '/') continue;
        if (controllers.empty()) {
            cpus = std::min(cpus, quota_of_path("/sys/fs/cgroup", path));
            continue;
        }
        std::istringstream names(controllers);
        for (std::string name; std::getline(names, name, ',');) {
            if (name != "cpu") continue;
            for (const std::string& mount :
                 {std::string("/sys/fs/cgroup/cpu"), "/sys/fs/cgroup/" + controllers})
                cpus = std::min(cpus, quota_of_path(mount, path));
        }
    }
    return cpus;
}

}  // namespace

int affinity_cpus() {
    // The kernel refuses a mask smaller than its own: grow until it fits.
    for (int capacity = 1024; capacity <= (1 << 20); capacity *= 4) {
        cpu_set_t* mask = CPU_ALLOC(capacity);
        if (!mask) break;
        const size_t bytes = CPU_ALLOC_SIZE(capacity);
        const int count = sched_getaffinity(0, bytes, mask) == 0 ? CPU_COUNT_S(bytes, mask) : 0;
        CPU_FREE(mask);
        if (count > 0) return count;
    }
    return std::max(1, int(sysconf(_SC_NPROCESSORS_ONLN)));
}

int available_cpus() { return std::min(affinity_cpus(), cgroup_cpus()); }

}  // namespace flb
