#include "engine/prewarm.hpp"

#include "engine/image_order.hpp"
#include "engine/lock_wait.hpp"
#include "engine/task_group.hpp"

#include <algorithm>
#include <exception>
#include <vector>

namespace lazypull {
namespace {

using Clock = std::chrono::steady_clock;

class PrewarmRun {
 public:
  PrewarmRun(const PrewarmOptions& options, const PullOne& pull, PrewarmReport& report)
      : options_(options), pull_(pull), report_(report), order_(wanted(report)) {}

  Awaitable<> all() {
    check();
    co_await with_task_group([this](TaskGroup& group) -> Awaitable<> {
      auto watching = group.spawn(watch());
      co_await pull_images();
      watching.drop();
    });
  }

 private:
  static ImageOrder wanted(const PrewarmReport& report) {
    std::vector<ImageOrder::Image> images;
    images.reserve(report.images.size());
    for (const auto& image : report.images) {
      images.push_back({image.item.priority, image.item.reference.domain()});
    }
    return ImageOrder(images);
  }

  Awaitable<> pull_images() {
    const std::size_t limit = options_.max_concurrent_images;
    const std::size_t workers = limit == 0 ? order_.size() : std::min(limit, order_.size());
    co_await with_task_group([this, workers](TaskGroup& group) -> Awaitable<> {
      for (std::size_t i = 0; i < workers; ++i) group.spawn(work());
      co_return;
    });
  }

  Awaitable<> work() {
    while (const auto index = order_.next()) {
      check();
      co_await pull_one(*index);
      order_.ended(*index);
    }
  }

  Awaitable<> pull_one(std::size_t index) {
    auto& image = report_.images[index];
    image.report = std::make_unique<PullReport>();
    image.state = PrewarmState::running;
    report_.running.insert(index);
    const auto start = Clock::now();
    std::exception_ptr failure;
    try {
      co_await pull_(image.item, {PullClass::prewarm, image.item.priority}, *image.report);
    } catch (...) {
      failure = std::current_exception();
    }
    image.duration = Clock::now() - start;
    report_.running.erase(index);
    sum_up(image);
    if (!failure) {
      image.state = PrewarmState::ready;
      ++report_.ready;
      co_return;
    }
    const Error error = as_error(failure);
    if (error.code() == Errc::cancelled) {
      image.state = PrewarmState::stopped;
      throw error;
    }
    image.state = PrewarmState::failed;
    image.failure = error;
    ++report_.failed;
    // Where the disk is full, all others would only fail too.
    if (options_.fail_fast || error.code() == Errc::out_of_space) stop(error);
  }

  void sum_up(PrewarmImage& image) {
    const auto& report = *image.report;
    image.digest = report.target.digest;
    for (const auto& one : report.images) {
      image.layers += one.layers.size();
      image.downloaded_layers += static_cast<std::size_t>(std::ranges::count_if(
          one.layers, [](const LayerReport& layer) { return layer.bytes_fetched > 0; }));
    }
    image.fetched_bytes = report.fetched_bytes() + report.metadata_bytes;
    image.avoided_bytes = report.avoided_bytes();
    report_.fetched_bytes += image.fetched_bytes;
    report_.avoided_bytes += image.avoided_bytes;
    image.report.reset();
  }

  Awaitable<> watch() {
    if (!options_.check) co_return;
    for (;;) {
      co_await sleep_for(options_.check_interval);
      check();
    }
  }

  void check() {
    if (!options_.check) return;
    try {
      options_.check();
    } catch (...) {
      stop(as_error(std::current_exception()));
    }
  }

  [[noreturn]] void stop(const Error& reason) {
    if (!report_.stopped) report_.stopped = reason;
    throw reason;
  }

  const PrewarmOptions& options_;
  const PullOne& pull_;
  PrewarmReport& report_;
  ImageOrder order_;
};

}  // namespace

std::string_view to_string(PrewarmState state) noexcept {
  switch (state) {
    case PrewarmState::waiting:
      return "waiting";
    case PrewarmState::running:
      return "running";
    case PrewarmState::ready:
      return "ready";
    case PrewarmState::failed:
      return "failed";
    case PrewarmState::stopped:
      return "stopped";
  }
  return "waiting";
}

PrewarmReport::PrewarmReport(std::vector<PrewarmItem> items) {
  for (auto& item : items) images.emplace_back(std::move(item));
}

Awaitable<> prewarm_images(PrewarmOptions options, PullOne pull, PrewarmReport& report) {
  const auto start = Clock::now();
  PrewarmRun run(options, pull, report);
  std::exception_ptr failure;
  try {
    co_await run.all();
  } catch (...) {
    failure = std::current_exception();
  }
  report.duration = Clock::now() - start;
  if (failure && !report.stopped) std::rethrow_exception(failure);
}

}  // namespace lazypull
