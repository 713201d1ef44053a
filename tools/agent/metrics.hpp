#pragma once

#include "engine/error.hpp"
#include "engine/permit_queue.hpp"
#include "engine/pull_report.hpp"
#include "transport/http_message.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// Those who do something and those who wait to, under one limit.
struct QueueState {
  std::string name;  ///< "pulls_serving", "downloads"
  std::size_t running = 0;
  std::size_t waiting = 0;
};

/// How things are at the moment of a scrape.
struct MetricsSnapshot {
  std::vector<QueueState> queues;
  std::size_t distrusted_blobs = 0;  ///< that mirrors were found to serve wrong
  std::size_t broken_hosts = 0;      ///< left out for a while because they have failed
  std::size_t live_tasks = 0;
  std::array<std::uint64_t, 2> bandwidth{};  ///< bytes a second, by PullClass; 0 is no limit
  /// Of the pulls under way, so that bytes are counted when they come and not when their pull ends.
  std::vector<const PullReport*> running;
};

/// How a pull has ended, once for all the requests that share it.
struct PullEnd {
  PullClass pull_class = PullClass::serving;
  std::string host;  ///< the registry's, as the reference has it
  std::chrono::nanoseconds duration{0};
  std::optional<Error> failure;
};

/// What the agent tells Prometheus; docs/metrics.md says what each metric means. Of the home thread. The
/// number of time series is bounded whatever is pulled: after the first `max_hosts` hosts, all others are
/// "other".
class Metrics {
 public:
  static constexpr std::size_t max_hosts = 50;

  Metrics(std::string version, std::function<MetricsSnapshot()> snapshot);
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  ~Metrics();

  void pull_started(PullClass pull_class);
  /// A request for an image; `shared` if it joined a pull under way.
  void pull_requested(bool shared);
  /// `report` is no longer among the snapshot's running ones from now on.
  void pull_ended(const PullEnd& end, const PullReport& report);
  void image_removed();
  /// A request to a registry has ended, see HttpOptions::log.
  void request_ended(const RequestLog& request);

  /// The text format of Prometheus, version 0.0.4.
  std::string text();
  static constexpr const char* content_type = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
