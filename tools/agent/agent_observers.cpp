#include "tools/agent/agent_observers.hpp"

#include <chrono>
#include <cstdint>
#include <utility>

namespace lazypull {

namespace {

std::uint64_t count_layers(const PullReport& report, bool only_downloaded) {
  std::uint64_t count = 0;
  for (const auto& image : report.images) {
    for (const auto& layer : image.layers) {
      if (!only_downloaded || layer.decision == LayerDecision::download) ++count;
    }
  }
  return count;
}

std::uint64_t milliseconds(std::chrono::nanoseconds duration) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

AgentQueue queue_of(std::string name, const PermitQueue& queue) {
  return {std::move(name), queue.in_use(), queue.waiting(), queue.limits().total};
}

AgentQueue queue_of(std::string name, const AgentPulls::QueueView& view) {
  return {std::move(name), view.running, view.waiting, view.limit};
}

}  // namespace

std::string_view name_of(PullClass pull_class) noexcept {
  return pull_class == PullClass::serving ? "serving" : "prewarm";
}

void MetricsObserver::pull_requested(const PullSubject&, bool shared) {
  metrics_.pull_requested(shared);
}

void MetricsObserver::pull_started(const PullSubject& subject) {
  metrics_.pull_started(subject.rank.pull_class);
}

void MetricsObserver::pull_ended(const PullEnding& ending) {
  PullEnd end;
  end.pull_class = ending.subject.rank.pull_class;
  end.host = ending.subject.reference.domain();
  end.failure = ending.failure;
  end.duration = ending.duration;
  metrics_.pull_ended(end, ending.report);
}

void MetricsObserver::image_removed(const std::string&) {
  metrics_.image_removed();
}

void LogObserver::pull_started(const PullSubject& subject) {
  log_.info("pull started", {{"reference", subject.reference.name()},
                             {"class", std::string(name_of(subject.rank.pull_class))},
                             {"asker", subject.asker}});
}

void LogObserver::pull_ended(const PullEnding& ending) {
  const auto& report = ending.report;
  std::vector<LogField> fields{
      {"reference", ending.subject.reference.name()},
      {"class", std::string(name_of(ending.subject.rank.pull_class))},
      {"asker", ending.subject.asker},
      {"digest", report.target.digest.empty() ? std::string() : report.target.digest.str()},
      {"layers", count_layers(report, false)},
      {"downloaded_layers", count_layers(report, true)},
      {"fetched_bytes", report.fetched_bytes() + report.metadata_bytes},
      {"avoided_bytes", report.avoided_bytes()},
      {"duration_ms", milliseconds(ending.duration)},
      {"requests", std::uint64_t{ending.requests}}};
  if (!ending.failure) {
    log_.info("pull ended", fields);
    return;
  }
  fields.push_back({"error_kind", std::string(to_string(ending.failure->code()))});
  fields.push_back({"error", ending.failure->message()});
  const bool cancelled = ending.failure->code() == Errc::cancelled;
  log_.write(cancelled ? LogLevel::info : LogLevel::warning, cancelled ? "pull cancelled" : "pull failed",
             fields);
}

void LogObserver::image_removed(const std::string& image_id) {
  log_.info("image removed", {{"image", image_id}});
}

std::vector<AgentQueue> agent_queues(AgentPulls& pulls) {
  std::vector<AgentQueue> queues;
  queues.push_back(queue_of("pulls serving", pulls.queue(PullClass::serving)));
  queues.push_back(queue_of("pulls prewarm", pulls.queue(PullClass::prewarm)));
  queues.push_back(queue_of("downloads", pulls.shared().downloads().queue()));
  queues.push_back(queue_of("unpacks", pulls.shared().unpacks().queue()));
  return queues;
}

MetricsSnapshot metrics_snapshot(AgentPulls& pulls, const AgentRegistries& registries, const Tracer& tracer) {
  MetricsSnapshot snapshot;
  for (auto& queue : agent_queues(pulls)) {
    for (auto& c : queue.name) c = c == ' ' ? '_' : c;
    snapshot.queues.push_back({std::move(queue.name), queue.running, queue.waiting});
  }
  snapshot.distrusted_blobs = registries.distrusted_blobs();
  snapshot.broken_hosts = registries.broken_hosts();
  snapshot.live_tasks = tracer.live_count();
  for (const auto pull_class : {PullClass::serving, PullClass::prewarm}) {
    snapshot.bandwidth.at(static_cast<std::size_t>(pull_class)) = pulls.shared().bandwidth().rate(pull_class);
  }
  for (const auto& pull : pulls.running()) snapshot.running.push_back(&pull.report);
  return snapshot;
}

}  // namespace lazypull
