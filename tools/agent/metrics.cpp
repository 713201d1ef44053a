#include "tools/agent/metrics.hpp"

#include "tools/agent/process_metrics.hpp"

#include <chrono>
#include <map>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <set>
#include <string_view>
#include <utility>

namespace lazypull {

namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;

// From a warm image's few milliseconds to a large one's many minutes.
const Histogram::BucketBoundaries& durations() {
  static const Histogram::BucketBoundaries bounds{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                                  2.5,   5,    10,    30,   60,  120,  300, 600};
  return bounds;
}

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

const char* name_of(PullClass pull_class) {
  return pull_class == PullClass::serving ? "serving" : "prewarm";
}

const char* result_of(const std::optional<Error>& failure) {
  if (!failure) return "ok";
  return failure->code() == Errc::cancelled ? "cancelled" : "failed";
}

/// "not found" as label values are written: "not_found".
std::string label_of(std::string_view text) {
  std::string label(text);
  for (auto& c : label) {
    const bool upper = c >= 'A' && c <= 'Z';
    if (c == ' ') c = '_';
    if (upper) c = static_cast<char>(c - 'A' + 'a');
  }
  return label;
}

std::string status_class(int status) {
  if (status < 100 || status > 599) return status == 0 ? "none" : "other";
  return std::to_string(status / 100) + "xx";
}

std::string host_of(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  url.remove_prefix(scheme + 3);
  return std::string(url.substr(0, url.find('/')));
}

struct Bytes {
  std::uint64_t layers = 0;
  std::uint64_t metadata = 0;
  std::uint64_t avoided = 0;

  void add_fetched(const PullReport& report) {
    layers += report.fetched_bytes();
    metadata += report.metadata_bytes;
  }
};

/// What was added up elsewhere becomes the counter's value.
void raise(Counter& counter, std::uint64_t value) {
  const double missing = static_cast<double>(value) - counter.Value();
  if (missing > 0) counter.Increment(missing);
}

}  // namespace

struct Metrics::Impl {
  Impl(std::string version, std::function<MetricsSnapshot()> source) : snapshot(std::move(source)) {
    gauge("lazypull_build_info", "The version that runs; always 1").Add({{"version", version}}).Set(1);
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    gauge("process_start_time_seconds", "When the process began, as seconds since 1970")
        .Add({})
        .Set(std::chrono::duration<double>(now).count());
    // What must be there from the beginning, so that the first increase is seen as one.
    for (const char* pull_class : {"serving", "prewarm"}) {
      started.Add({{"class", pull_class}});
      for (const char* result : {"ok", "failed", "cancelled"}) {
        ended.Add({{"class", pull_class}, {"result", result}});
      }
    }
    requested.Add({{"shared", "false"}});
    requested.Add({{"shared", "true"}});
  }

  Family<Counter>& counter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
  Family<Gauge>& gauge(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
  }
  Family<Histogram>& histogram(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }

  /// Bounds what peers and references can make of time series.
  std::string host_label(const std::string& host) {
    constexpr std::size_t longest = 260;
    if (hosts.contains(host)) return host;
    if (host.empty() || host.size() > longest || hosts.size() >= max_hosts) return "other";
    hosts.insert(host);
    return host;
  }

  void count_layers(const PullReport& report) {
    for (const auto& image : report.images) {
      for (const auto& layer : image.layers) {
        layers.Add({{"decision", label_of(to_string(layer.decision))}}).Increment();
        observe_step("ask", layer.ask);
        observe_step("queue", layer.queue);
        observe_step("fetch", layer.fetch);
        observe_step("unpack", layer.unpack);
      }
    }
  }
  /// A step that a layer has not needed is no observation.
  void observe_step(const char* step, std::chrono::nanoseconds duration) {
    if (duration.count() > 0) steps.Add({{"step", step}}, durations()).Observe(seconds(duration));
  }

  void update(const MetricsSnapshot& now) {
    for (const auto& queue : now.queues) {
      queues.Add({{"queue", queue.name}, {"state", "running"}}).Set(static_cast<double>(queue.running));
      queues.Add({{"queue", queue.name}, {"state", "waiting"}}).Set(static_cast<double>(queue.waiting));
    }
    distrusted.Set(static_cast<double>(now.distrusted_blobs));
    broken.Set(static_cast<double>(now.broken_hosts));
    tasks.Set(static_cast<double>(now.live_tasks));
    for (const auto pull_class : {PullClass::serving, PullClass::prewarm}) {
      const auto rate = now.bandwidth.at(static_cast<std::size_t>(pull_class));
      bandwidth.Add({{"class", name_of(pull_class)}}).Set(static_cast<double>(rate));
    }
    Bytes sum = of_ended;
    for (const auto* report : now.running) sum.add_fetched(*report);
    raise(fetched_layers, sum.layers);
    raise(fetched_metadata, sum.metadata);
    raise(avoided, of_ended.avoided);
    update_process();
  }

  void update_process() {
    const auto usage = process_usage();
    const double more = usage.cpu_seconds - cpu.Value();
    if (more > 0) cpu.Increment(more);
    resident.Set(static_cast<double>(usage.resident_bytes));
    virtual_memory.Set(static_cast<double>(usage.virtual_bytes));
    open_fds.Set(static_cast<double>(usage.open_fds));
    max_fds.Set(static_cast<double>(usage.max_fds));
    threads.Set(static_cast<double>(usage.threads));
  }

  std::function<MetricsSnapshot()> snapshot;
  prometheus::Registry registry;
  std::set<std::string> hosts;
  Bytes of_ended;

  Family<Counter>& requested = counter("lazypull_pull_requests_total", "Requests for an image");
  Family<Counter>& started = counter("lazypull_pulls_started_total", "Pulls that have begun");
  Family<Counter>& ended = counter("lazypull_pulls_total", "Pulls that have ended");
  Counter& removed =
      counter("lazypull_images_removed_total", "Images that were removed through the agent").Add({});
  Family<Counter>& fetched = counter("lazypull_fetched_bytes_total", "Bytes that pulls read from registries");
  Counter& fetched_layers = fetched.Add({{"kind", "layer"}});
  Counter& fetched_metadata = fetched.Add({{"kind", "metadata"}});
  Counter& avoided =
      counter("lazypull_avoided_bytes_total", "Compressed bytes of layers that need not be downloaded")
          .Add({});
  Family<Counter>& layers = counter("lazypull_layers_total", "Layers of pulls that have ended");
  Family<Counter>& errors = counter("lazypull_errors_total", "Pulls that failed, by the registry's host");
  Family<Counter>& requests =
      counter("lazypull_registry_requests_total", "Requests to registries and mirrors");
  Family<Counter>& bodies =
      counter("lazypull_registry_body_bytes_total", "Bytes of response bodies of registries and mirrors");
  Family<Histogram>& totals = histogram("lazypull_pull_duration_seconds", "How long pulls took");
  Family<Histogram>& phases = histogram("lazypull_phase_duration_seconds", "How long phases of pulls took");
  Family<Histogram>& steps =
      histogram("lazypull_layer_step_duration_seconds", "How long steps of a layer took");
  Family<Gauge>& queues = gauge("lazypull_queue", "How many are at something, and how many wait to");
  Family<Gauge>& bandwidth =
      gauge("lazypull_bandwidth_limit_bytes_per_second", "What pulls may read; 0 is no limit");
  Gauge& distrusted =
      gauge("lazypull_distrusted_blobs", "Blobs that a mirror was found to serve wrong").Add({});
  Gauge& broken = gauge("lazypull_broken_hosts", "Hosts that are left out because they failed").Add({});
  Gauge& tasks = gauge("lazypull_live_tasks", "Steps of pulls that are under way").Add({});
  Counter& cpu = counter("process_cpu_seconds_total", "CPU time, user and system").Add({});
  Gauge& resident = gauge("process_resident_memory_bytes", "Memory in RAM").Add({});
  Gauge& virtual_memory = gauge("process_virtual_memory_bytes", "Address space").Add({});
  Gauge& open_fds = gauge("process_open_fds", "Open file descriptors").Add({});
  Gauge& max_fds = gauge("process_max_fds", "Limit of open file descriptors").Add({});
  Gauge& threads = gauge("process_threads", "Threads").Add({});
};

Metrics::Metrics(std::string version, std::function<MetricsSnapshot()> snapshot)
    : impl_(std::make_unique<Impl>(std::move(version), std::move(snapshot))) {}

Metrics::~Metrics() = default;

void Metrics::pull_requested(bool shared) {
  impl_->requested.Add({{"shared", shared ? "true" : "false"}}).Increment();
}

void Metrics::pull_started(PullClass pull_class) {
  impl_->started.Add({{"class", name_of(pull_class)}}).Increment();
}

void Metrics::pull_ended(const PullEnd& end, const PullReport& report) {
  auto& impl = *impl_;
  const std::string pull_class = name_of(end.pull_class);
  const std::string result = result_of(end.failure);
  impl.ended.Add({{"class", pull_class}, {"result", result}}).Increment();
  impl.of_ended.add_fetched(report);
  // A pull that failed has not got by without the layers that it did not come to.
  if (!end.failure) impl.of_ended.avoided += report.avoided_bytes();
  impl.count_layers(report);
  impl.totals.Add({{"class", pull_class}, {"result", result}}, durations()).Observe(seconds(end.duration));
  for (const auto& phase : report.phases) {
    impl.phases.Add({{"phase", phase.name}}, durations()).Observe(seconds(phase.duration));
  }
  if (end.failure && end.failure->code() != Errc::cancelled) {
    const auto kind = label_of(to_string(end.failure->code()));
    impl.errors.Add({{"host", impl.host_label(end.host)}, {"kind", kind}}).Increment();
  }
}

void Metrics::image_removed() {
  impl_->removed.Increment();
}

void Metrics::request_ended(const RequestLog& request) {
  const auto host = impl_->host_label(host_of(request.url));
  impl_->requests.Add({{"host", host}, {"status", status_class(request.status)}}).Increment();
  if (request.body_bytes > 0) {
    impl_->bodies.Add({{"host", host}}).Increment(static_cast<double>(request.body_bytes));
  }
}

std::string Metrics::text() {
  impl_->update(impl_->snapshot());
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace lazypull
