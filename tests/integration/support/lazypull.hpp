#pragma once

#include "tests/integration/support/containerd.hpp"

#include <boost/json/value.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace lazypull::test {

/// What one run of the command printed and decided.
struct PullOutcome {
  ProcessResult process;
  boost::json::value json;  ///< the object on standard output

  /// Of the first (or given) image, lowest layer first: "exists", "remote", "staged", "present", "download".
  std::vector<std::string> decisions(std::size_t image = 0) const;
  std::int64_t total(std::string_view name) const;  ///< totals.NAME
  std::string error_code() const;                   ///< error.code, or "" where it succeeded
  std::string error_message() const;
};

/// Runs the `lazypull` command that was built, against this containerd.
class Lazypull {
 public:
  explicit Lazypull(Containerd& containerd, std::string space = "default")
      : containerd_(containerd), space_(std::move(space)) {}

  /// `lazypull COMMAND ARGS… --output json`, whatever it ends with.
  PullOutcome run(Argv arguments, ProcessOptions options = {});
  /// The same; throws with the output unless it exits with 0.
  PullOutcome run_ok(Argv arguments, ProcessOptions options = {});
  /// As a process that is still running, for signals.
  Process start(Argv arguments, ProcessOptions options = {});

 private:
  Argv command_line(Argv arguments) const;

  Containerd& containerd_;
  std::string space_;
};

}  // namespace lazypull::test
