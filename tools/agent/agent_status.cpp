#include "tools/agent/agent_status.hpp"

#include "engine/error.hpp"
#include "engine/task_group.hpp"
#include "tools/agent/debug_output.hpp"
#include "tools/agent/listen_address.hpp"

#include <map>
#include <utility>

namespace lazypull {

namespace {

ListenAddress local_address(const std::string& text) {
  auto address = parse_listen_address(text, "debug.address");
  if (address.is_local()) return address;
  throw Error(
      Errc::invalid_argument,
      "debug.address: '" + text + "' is neither a Unix socket nor an address of the loopback network");
}

}  // namespace

AgentStatus::AgentStatus(const asio::any_io_executor& home, const AgentConfig& config, const Tracer& tracer,
                         AgentLog& log, std::string version)
    : tracer_(tracer),
      log_(log),
      metrics_(std::move(version), [this] { return snapshot(); }),
      count_(metrics_),
      write_(log_) {
  if (!config.metrics_address.empty()) {
    std::map<std::string, StatusPage> pages;
    pages["/metrics"] = {Metrics::content_type, [this] { return metrics_.text(); }};
    metrics_server_.emplace(home, parse_listen_address(config.metrics_address, "metrics.address"),
                            std::move(pages));
    log_.info("serving metrics", {{"address", metrics_server_->address().str()}});
  }
  if (!config.debug_address.empty()) {
    std::map<std::string, StatusPage> pages;
    pages["/debug/tasks"] = {"text/plain; charset=utf-8", [this] { return debug_page(); }};
    debug_server_.emplace(home, local_address(config.debug_address), std::move(pages));
    log_.info("serving debug output", {{"address", debug_server_->address().str()}});
  }
}

RequestLogger AgentStatus::request_logger() {
  return [this](const RequestLog& request) { metrics_.request_ended(request); };
}

void AgentStatus::watch(AgentPulls& pulls, AgentRegistries& registries) {
  pulls_ = &pulls;
  registries_ = &registries;
  pulls.add_observer(count_);
  pulls.add_observer(write_);
}

Awaitable<> AgentStatus::serve() {
  co_await with_task_group([this](TaskGroup& group) -> Awaitable<> {
    if (metrics_server_) group.spawn(metrics_server_->serve());
    if (debug_server_) group.spawn(debug_server_->serve());
    co_return;
  });
}

MetricsSnapshot AgentStatus::snapshot() const {
  return pulls_ == nullptr ? MetricsSnapshot() : metrics_snapshot(*pulls_, *registries_, tracer_);
}

std::string AgentStatus::debug_page() const {
  return pulls_ == nullptr ? std::string("starting\n") : debug_text(tracer_, *pulls_);
}

}  // namespace lazypull
