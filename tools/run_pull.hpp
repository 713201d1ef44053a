#pragma once

#include "engine/awaitable.hpp"
#include "engine/pull_report.hpp"
#include "tools/options.hpp"
#include "transport/credentials.hpp"
#include "transport/registry_options.hpp"

#include <optional>

namespace lazypull {

/// What came of a pull, fetch or plan, also of one that failed.
struct PullRun {
  PullReport report;
  FailureSource failure_source = FailureSource::other;  ///< where the failure came from, if there was one
};

/// How the registry is to be talked to, of every command that pulls. Throws Error{invalid_argument} for a
/// directory of --hosts-dir that is not there.
RegistryOptions registry_options(const Options& options, std::optional<Credentials> user);

/// Connects the registry and containerd with the engine and runs the command, with progress on standard
/// error. `user` goes before what Docker's and Podman's files say. Both references must outlive it.
Awaitable<> run_pull(const Options& options, std::optional<Credentials> user, PullRun& run);

}  // namespace lazypull
