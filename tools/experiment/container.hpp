#pragma once

#include "engine/awaitable.hpp"
#include "tools/experiment/layouts.hpp"
#include "tools/experiment/spec.hpp"
#include "transport/containerd/client.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull::experiment {

using Time = std::chrono::steady_clock::time_point;

/// What a container's control group, or else its first process, has used until it was ready.
struct ContainerUsage {
  std::string source;  ///< "cgroup" or "process"
  double cpu_seconds = 0;
  std::uint64_t peak_memory = 0;
};

/// When a container came how far.
struct ContainerTimes {
  Time started;  ///< containerd has started its first process
  std::optional<Time> first_line;
  Time ready;
  std::optional<ContainerUsage> usage;
};

struct ContainerRequest {
  std::string id;  ///< unique on the machine: it names the control group too
  std::string reference;
  std::string snapshotter;
  ServedImage image;
  ImageSpec spec;
  std::filesystem::path folder;    ///< for the FIFO
  std::function<void()> at_ready;  ///< called at that moment, before anything else is done
};

/// Starts a container of a pulled image through containerd's Tasks service, in the network of the host, waits
/// until it is ready, and removes it, whatever happens. Throws Error: timed_out where it is not ready in
/// time, failed_precondition where it ends before or its port is taken, and what containerd answers.
Awaitable<ContainerTimes> start_container(ContainerdClient client, ContainerRequest request);

/// The OCI runtime specification of such a container, as JSON. Throws Error{unsupported} for a user with a
/// name, since that is told by files inside the image, and Error{invalid_argument} where there is no command.
std::string runtime_spec(const ContainerRequest& request);
/// The part `process` of it, with another command.
std::string process_spec(const ContainerRequest& request, const std::vector<std::string>& command);

/// Finds the lines of an output that comes in pieces.
class LineWatch {
 public:
  /// An empty text is in every line.
  explicit LineWatch(std::string text) : text_(std::move(text)) {}
  void add(std::string_view piece);
  bool any_line() const noexcept { return any_; }
  bool found() const noexcept { return found_; }

 private:
  std::string text_;
  std::string line_;  ///< that has not ended; only so much as is looked at
  bool any_ = false;
  bool found_ = false;
};

}  // namespace lazypull::experiment
