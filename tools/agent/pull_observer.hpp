#pragma once

#include "engine/error.hpp"
#include "engine/permit_queue.hpp"
#include "engine/pull_report.hpp"
#include "engine/reference.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

namespace lazypull {

/// What is known of a pull from its beginning.
struct PullSubject {
  Reference reference;
  PullRank rank;
  std::string snapshotter;
  std::string asker;  ///< who asked first: "cri", "agent", "prewarm"
};

/// How a pull has ended, once for all the requests that share it.
struct PullEnding {
  const PullSubject& subject;
  const PullReport& report;
  const std::optional<Error>& failure;  ///< none: it succeeded
  std::chrono::nanoseconds duration;    ///< since it was asked for, waiting for its turn included
  std::size_t requests;                 ///< that have shared it
};

/// Told of what the agent does: for metrics and logs. Everything happens on the home thread; nothing may be
/// thrown, and no pull be asked for from here.
class PullObserver {
 public:
  virtual ~PullObserver() = default;
  /// A request for an image; `shared` if it joins a pull that is under way.
  virtual void pull_requested(const PullSubject& /*subject*/, bool /*shared*/) {}
  /// It has got its turn.
  virtual void pull_started(const PullSubject& /*subject*/) {}
  /// Also of one that never got its turn. Its report is no longer among the running ones.
  virtual void pull_ended(const PullEnding& /*ending*/) {}
  /// All records of an image have been removed at a client's request.
  virtual void image_removed(const std::string& /*image_id*/) {}
};

}  // namespace lazypull
