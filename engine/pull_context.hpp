#pragma once

#include "engine/puller.hpp"
#include "engine/semaphore.hpp"
#include "engine/single_flight.hpp"

#include <chrono>
#include <string>

namespace lazypull {

/// What the steps of one pull share. Lives in the frame of pull_image, so it outlives all of them.
struct PullContext {
  PullContext(PullPorts with, const Reference& image, const PullOptions& how, PullReport& into, Lease& under)
      : ports(with),
        reference(image),
        options(how),
        report(into),
        lease(under),
        fetches(how.max_concurrent_downloads) {}

  PullPorts ports;
  const Reference& reference;
  const PullOptions& options;
  PullReport& report;
  Lease& lease;
  bool store_metadata = true;  ///< false when planning: what is fetched is not kept

  Semaphore fetches;
  SingleFlight<Digest> blobs;        ///< each blob is fetched once, however many layers and images share it
  SingleFlight<std::string> chains;  ///< each ChainID is made once, however many images share it

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
