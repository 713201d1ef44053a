#pragma once

#include "engine/awaitable.hpp"
#include "tools/options.hpp"
#include "tools/prewarm_result.hpp"
#include "transport/credentials.hpp"

#include <optional>

namespace lazypull {

/// Connects the registry and containerd, or the embedded store, with the engine and pulls (or, dry, plans)
/// all images of the result, with progress on standard error. Failures of images and the deadline are in the
/// result; throws what keeps the run from beginning, and Error{cancelled}. All references must outlive it.
Awaitable<> run_prewarm(const Options& options, std::optional<Credentials> user, PrewarmResult& result,
                        FailureSource& failure_source);

}  // namespace lazypull
