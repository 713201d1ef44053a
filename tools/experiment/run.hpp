#pragma once

#include <cstddef>
#include <string>

namespace lazypull::experiment {

/// `lazypull experiment run`.
struct RunCommand {
  std::string spec;
  std::string results;       ///< empty is the specification's name with .jsonl
  bool dry_run = false;      ///< only say what would be run
  bool keep_caches = false;  ///< do not drop the kernel's caches
  bool quiet = false;        ///< nothing on standard error
};

struct RunOutcome {
  std::string text;  ///< to be printed
  std::size_t failed = 0;
};

/// Runs what the file of results does not have yet. A run that fails is written down as failed, and the
/// others go on. Blocks; needs root, except for a dry run. Throws Error: invalid_argument for the
/// specification, permission_denied without root, cancelled after SIGINT or SIGTERM (what is done is in the
/// file), and what preparing the images throws.
RunOutcome run_experiment(const RunCommand& command);

}  // namespace lazypull::experiment
