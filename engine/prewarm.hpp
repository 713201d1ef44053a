#pragma once

#include "engine/awaitable.hpp"
#include "engine/error.hpp"
#include "engine/permit_queue.hpp"
#include "engine/platform.hpp"
#include "engine/pull_report.hpp"
#include "engine/reference.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

namespace lazypull {

struct PrewarmItem {
  Reference reference;
  std::vector<Platform> platforms;  ///< empty is those that hold for all images
  int priority = 0;                 ///< the higher begins first, and goes first where it must wait
};

enum class PrewarmState {
  waiting,  ///< has not begun; at the end: the run was stopped before
  running,
  ready,
  failed,
  stopped,  ///< the run was stopped in the middle of it
};

std::string_view to_string(PrewarmState state) noexcept;

/// One image of a run. Its full report exists only while it is pulled, so that thousands of images need
/// little memory.
struct PrewarmImage {
  explicit PrewarmImage(PrewarmItem wanted) : item(std::move(wanted)) {}

  PrewarmItem item;
  PrewarmState state = PrewarmState::waiting;
  std::optional<Error> failure;
  std::unique_ptr<PullReport> report;  ///< while running
  Digest digest;                       ///< what the reference led to
  std::size_t layers = 0;
  std::size_t downloaded_layers = 0;
  std::uint64_t fetched_bytes = 0;  ///< of layers and of metadata
  std::uint64_t avoided_bytes = 0;
  std::chrono::nanoseconds duration{0};
};

/// What a run is doing and, in the end, what came of it. Read on the home thread only.
struct PrewarmReport {
  explicit PrewarmReport(std::vector<PrewarmItem> items);

  std::deque<PrewarmImage> images;  ///< in the order in which they were asked for
  std::set<std::size_t> running;    ///< those in progress
  std::size_t ready = 0;
  std::size_t failed = 0;
  std::uint64_t fetched_bytes = 0;  ///< by images that have ended
  std::uint64_t avoided_bytes = 0;
  std::optional<Error> stopped;  ///< why the run was stopped, unless its caller did
  std::chrono::nanoseconds duration{0};
};

struct PrewarmOptions {
  std::size_t max_concurrent_images = 8;  ///< 0 is no limit
  bool fail_fast = false;                 ///< the first failure stops the run
  /// Throws what the run is to be stopped for, such as a disk that runs full; asked before the first image,
  /// before each further one, and every `check_interval`.
  std::function<void()> check;
  std::chrono::milliseconds check_interval{1000};
};

/// Pulls one image; the report lives longer.
using PullOne = std::function<Awaitable<>(const PrewarmItem& item, PullRank rank, PullReport& report)>;

/// Pulls all images of the report, so many at a time, in the order of ImageOrder. What fails for one
/// image is that image's failure, and the others go on; but a full disk stops the run. Throws only
/// Error{cancelled}, if cancelled; the report then says how far it came.
Awaitable<> prewarm_images(PrewarmOptions options, PullOne pull, PrewarmReport& report);

}  // namespace lazypull
