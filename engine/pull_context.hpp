#pragma once

#include "engine/pull_shared.hpp"
#include "engine/puller.hpp"
#include "engine/semaphore.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace lazypull {

/// What the steps of one pull share. Lives in the frame of pull_image, so it outlives all of them.
struct PullContext {
  PullContext(PullPorts with, const Reference& image, const PullOptions& how, PullReport& into, Lease& under,
              PullShared& with_others, PullRank urgency)
      : ports(with),
        reference(image),
        options(how),
        report(into),
        lease(under),
        shared(with_others),
        rank(urgency),
        retries(how.retries ? how.retries : std::make_shared<RetryBudget>()),
        trace(how.trace) {}

  PullPorts ports;
  const Reference& reference;
  const PullOptions& options;
  PullReport& report;
  Lease& lease;
  PullShared& shared;  ///< with other pulls
  PullRank rank;
  std::shared_ptr<RetryBudget> retries;  ///< never null
  TracePoint trace;                      ///< the phase that the pull is in
  bool store_metadata = true;            ///< false when planning: what is fetched is not kept

  /// Layers of this image that are extracted while they arrive, as many as an applier takes at once. Taken
  /// before a permit to download, so that none is held idle by one who waits for the applier.
  Semaphore streams{4};

  ContentStore& content() const { return lease.content(); }
  Snapshotter& snapshotter() const { return lease.snapshotter(); }
};

/// Adds the time until its end to a duration of the report.
class Stopwatch {
 public:
  explicit Stopwatch(std::chrono::nanoseconds& total) : total_(total) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { total_ += std::chrono::steady_clock::now() - start_; }

 private:
  std::chrono::nanoseconds& total_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace lazypull
