#include "tools/agent/agent_messages.hpp"

#include "engine/error.hpp"
#include "tools/agent/agent_observers.hpp"
#include "tools/text.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

namespace lazypull {

namespace {

constexpr int most_items = 10'000;
constexpr int most_layers = 1'000;
constexpr int most_priority = 1'000;
/// Messages within messages that clients take; protobuf's own limit is 100.
constexpr std::size_t most_depth = 60;

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

int checked_priority(int priority, const std::string& reference) {
  if (priority >= -most_priority && priority <= most_priority) return priority;
  throw Error(Errc::invalid_argument,
              reference + ": priority " + std::to_string(priority) + " is not from -1000 to 1000");
}

agent::v1::PullClass message_of(PullClass pull_class) {
  return pull_class == PullClass::serving ? agent::v1::PULL_CLASS_SERVING : agent::v1::PULL_CLASS_PREWARM;
}

/// Protobuf takes UTF-8 only.
std::string text_of(std::string_view text) {
  return printable(text);
}

std::string digest_text(const Digest& digest) {
  return digest.empty() ? std::string() : digest.str();
}

std::string phase_of(const RunningPull& pull) {
  return pull.queued || pull.report.phase.empty() ? std::string("queued") : text_of(pull.report.phase);
}

void fill(agent::v1::LayerState& message, const LayerReport& layer) {
  message.set_digest(digest_text(layer.digest));
  message.set_size(layer.size);
  message.set_state(std::string(to_string(layer.state)));
  message.set_decision(std::string(to_string(layer.decision)));
  message.set_bytes_done(layer.bytes_done);
  message.set_bytes_fetched(layer.bytes_fetched);
}

void fill_layers(agent::v1::PullState& message, const PullReport& report) {
  for (const auto& image : report.images) {
    for (const auto& layer : image.layers) {
      if (message.layers_size() == most_layers) return;
      fill(*message.add_layers(), layer);
    }
  }
}

}  // namespace

PullClass pull_class_of(agent::v1::PullClass message) {
  switch (message) {
    case agent::v1::PULL_CLASS_UNSPECIFIED:
    case agent::v1::PULL_CLASS_SERVING:
      return PullClass::serving;
    case agent::v1::PULL_CLASS_PREWARM:
      return PullClass::prewarm;
    default:
      throw Error(Errc::invalid_argument, "pull_class: there is no class " + std::to_string(message));
  }
}

AgentPullRequest pull_request(const agent::v1::PullRequest& message) {
  AgentPullRequest request(Reference::parse(message.reference()));
  request.rank.pull_class = pull_class_of(message.pull_class());
  request.rank.priority = checked_priority(message.priority(), request.reference.name());
  if (!message.platform().empty()) request.platform = Platform::parse(message.platform());
  if (message.has_credentials()) {
    Credentials credentials;
    credentials.username = message.credentials().username();
    credentials.password = message.credentials().password();
    credentials.identity_token = message.credentials().identity_token();
    credentials.registry_token = message.credentials().registry_token();
    request.credentials = std::move(credentials);
  }
  return request;
}

std::vector<PrewarmItem> prewarm_items(const agent::v1::PrewarmRequest& message) {
  if (message.items().empty()) throw Error(Errc::invalid_argument, "items: there is none");
  if (message.items_size() > most_items) {
    throw Error(Errc::invalid_argument, "items: " + std::to_string(message.items_size()) + " are more than " +
                                            std::to_string(most_items));
  }
  std::vector<PrewarmItem> items;
  items.reserve(static_cast<std::size_t>(message.items_size()));
  for (const auto& wanted : message.items()) {
    PrewarmItem item{Reference::parse(wanted.reference()), {}, 0};
    item.priority = checked_priority(wanted.priority(), item.reference.name());
    if (!wanted.platform().empty()) item.platforms.push_back(Platform::parse(wanted.platform()));
    items.push_back(std::move(item));
  }
  return items;
}

void fill(agent::v1::PullState& message, const RunningPull& pull, WithLayers layers) {
  const auto& report = pull.report;
  message.set_reference(pull.subject.reference.name());
  message.set_phase(phase_of(pull));
  message.set_digest(digest_text(report.target.digest));
  message.set_pull_class(message_of(pull.subject.rank.pull_class));
  message.set_fetched_bytes(report.fetched_bytes() + report.metadata_bytes);
  message.set_avoided_bytes(report.avoided_bytes());
  message.set_seconds(seconds(pull.age));
  message.set_waiters(static_cast<std::uint32_t>(pull.waiters));
  if (layers == WithLayers::yes) fill_layers(message, report);
}

void fill(agent::v1::PrewarmProgress& message, const PrewarmReport& report, std::chrono::nanoseconds age) {
  message.set_total(static_cast<std::uint32_t>(report.images.size()));
  message.set_ready(static_cast<std::uint32_t>(report.ready));
  message.set_failed(static_cast<std::uint32_t>(report.failed));
  message.set_fetched_bytes(report.fetched_bytes);
  message.set_avoided_bytes(report.avoided_bytes);
  message.set_seconds(seconds(age));
}

void fill(agent::v1::PrewarmOutcome& message, const PrewarmImage& image) {
  message.set_reference(image.item.reference.name());
  message.set_state(std::string(to_string(image.state)));
  message.set_digest(digest_text(image.digest));
  if (image.failure) {
    constexpr std::size_t longest = 2000;
    message.set_error_kind(std::string(to_string(image.failure->code())));
    message.set_error(text_of(std::string_view(image.failure->message()).substr(0, longest)));
  }
  message.set_fetched_bytes(image.fetched_bytes);
  message.set_avoided_bytes(image.avoided_bytes);
  message.set_seconds(seconds(image.duration));
}

void fill_queues(google::protobuf::RepeatedPtrField<agent::v1::Queue>& messages, AgentPulls& pulls) {
  for (const auto& queue : agent_queues(pulls)) {
    auto& message = *messages.Add();
    message.set_name(queue.name);
    message.set_running(queue.running);
    message.set_waiting(queue.waiting);
    message.set_limit(queue.limit);
  }
}

void fill_bandwidths(google::protobuf::RepeatedPtrField<agent::v1::Bandwidth>& messages,
                     const Bandwidth& bandwidth) {
  for (const auto pull_class : {PullClass::serving, PullClass::prewarm}) {
    auto& message = *messages.Add();
    message.set_pull_class(message_of(pull_class));
    message.set_bytes_per_second(bandwidth.rate(pull_class));
  }
}

void fill_tasks(google::protobuf::RepeatedPtrField<agent::v1::Task>& messages,
                const std::vector<LiveSpan>& spans) {
  std::vector<google::protobuf::RepeatedPtrField<agent::v1::Task>*> levels{&messages};
  for (const auto& span : spans) {
    const auto depth = std::min({span.depth, levels.size() - 1, most_depth});
    levels.resize(depth + 1);
    auto& task = *levels.back()->Add();
    task.set_name(std::string(span.name));
    task.set_category(std::string(span.category));
    task.set_object(text_of(span.object));
    task.set_age_seconds(seconds(span.age));
    levels.push_back(task.mutable_children());
  }
}

}  // namespace lazypull
