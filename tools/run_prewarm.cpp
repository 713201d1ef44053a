#include "tools/run_prewarm.hpp"

#include "engine/deadline.hpp"
#include "engine/puller.hpp"
#include "engine/retry_budget.hpp"
#include "tools/connect.hpp"
#include "tools/debug_log.hpp"
#include "tools/live_rates.hpp"
#include "tools/prewarm_view.hpp"
#include "tools/progress_driver.hpp"
#include "tools/run_pull.hpp"
#include "transport/registry_client.hpp"

#include <cstddef>
#include <memory>

namespace lazypull {
namespace {

PullLimits pull_limits(const Options& options) {
  PullLimits limits;
  limits.downloads.total = options.max_concurrent_downloads;
  limits.downloads.per_registry = options.prewarm.max_concurrent_downloads_per_registry;
  limits.downloads.bytes = options.prewarm.max_bytes_in_flight;
  limits.unpacks = options.prewarm.max_concurrent_unpacks;
  return limits;
}

/// What all images of a run share.
struct PrewarmRun {
  RegistryClient& client;
  LeaseManager& leases;
  std::size_t retry_budget;  ///< of each
  PullOptions settings;
  PullShared& shared;
  PrewarmResult& result;
};

Awaitable<> pull_or_plan(PrewarmRun& run, const PrewarmItem& item, PullOptions settings, PullRank rank,
                         PullReport& report) {
  settings.retries = std::make_shared<RetryBudget>(run.retry_budget);
  auto client = run.client.with_budget(settings.retries);
  const PullPorts ports{client, client, run.leases};
  if (!run.result.dry_run) {
    co_await pull_image(ports, item.reference, std::move(settings), report, run.shared, rank);
    co_return;
  }
  co_await plan_image(ports, item.reference, std::move(settings), report, run.shared, rank);
  run.result.plan.add(report);
}

Awaitable<> one_image(PrewarmRun& run, const PrewarmItem& item, PullRank rank, PullReport& report) {
  PullOptions settings = run.settings;
  if (!item.platforms.empty()) {
    settings.platforms = item.platforms;
    settings.all_platforms = false;
  }
  co_await pull_or_plan(run, item, std::move(settings), rank, report);
}

ProgressViews views(const PrewarmReport& report) {
  ProgressViews views;
  const auto rate = std::make_shared<PrewarmRate>();
  const auto plain = std::make_shared<PlainPrewarm>();
  views.frame = [&report, rate](Screen screen, std::chrono::nanoseconds elapsed) {
    rate->sample(report, Rates::Clock::now());
    return render_prewarm(report, *rate, screen, elapsed);
  };
  views.lines = [&report, plain] { return plain->update(report); };
  return views;
}

Awaitable<> within_deadline(const PrewarmCommand& command, Awaitable<> work, bool& past_deadline) {
  if (command.deadline.count() == 0) {
    co_await std::move(work);
    co_return;
  }
  try {
    co_await with_deadline(std::move(work), command.deadline, "--deadline");
  } catch (const Error& error) {
    if (error.code() != Errc::timed_out) throw;
    past_deadline = true;
  }
}

}  // namespace

Awaitable<> run_prewarm(const Options& options, std::optional<Credentials> user, PrewarmResult& result,
                        FailureSource& failure_source) {
  const auto& command = options.prewarm;
  const auto home = co_await asio::this_coro::executor;
  Span setting_up(options.trace, "set up", "command");
  RegistryClient client(home, registry_options(options, std::move(user)));
  failure_source = FailureSource::set_up;
  const auto backend = co_await connect(options);
  failure_source = FailureSource::other;
  setting_up.end();
  DebugLeases debug_leases(*backend.leases);
  LeaseManager& leases = options.debug ? static_cast<LeaseManager&>(debug_leases) : *backend.leases;

  result.dry_run = command.dry_run;
  PullShared shared(pull_limits(options));
  const LiveRates rates(home, shared.bandwidth(), command.class_rates, command.rates_file);
  PrewarmRun run{client, leases, options.retry_budget, pull_options(options, backend.local_snapshotter),
                 shared, result};
  PrewarmOptions prewarm;
  prewarm.max_concurrent_images = command.max_concurrent_images;
  prewarm.fail_fast = command.fail_fast;
  if (command.min_free.any() && !command.dry_run) {
    prewarm.check = [&] { require_free(backend.folders, command.min_free); };
  }
  const PullOne pull = [&run](const PrewarmItem& item, PullRank rank, PullReport& report) {
    return one_image(run, item, rank, report);
  };
  const ProgressDriver progress(home, views(result.report),
                                resolve_progress_mode(options.progress, options.output));
  co_await within_deadline(command, prewarm_images(prewarm, pull, result.report), result.past_deadline);
  if (command.dry_run) result.disks = space_preflight(result.plan, backend.folders, command.min_free);
}

}  // namespace lazypull
