// How many CPUs this process may keep busy.
#pragma once

namespace flb {

int affinity_cpus();   // CPUs in the affinity mask of the process
int available_cpus();  // these, or fewer where a cgroup's quota (version 1 or 2, rounded up) allows fewer

}  // namespace flb
