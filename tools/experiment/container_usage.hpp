#pragma once

#include "tools/experiment/container.hpp"

#include <sys/types.h>

namespace lazypull::experiment {

/// Of the control group that this process of the host is in, by version 1 or 2 of their interface; of the
/// process alone where its group cannot be read. Nothing if the process has ended.
std::optional<ContainerUsage> container_usage(pid_t pid);

}  // namespace lazypull::experiment
