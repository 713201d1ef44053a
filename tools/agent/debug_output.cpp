#include "tools/agent/debug_output.hpp"

#include "tools/agent/agent_observers.hpp"
#include "tools/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>

namespace lazypull {

namespace {

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

std::string limit_text(std::size_t limit) {
  return limit == 0 ? std::string("no limit") : "limit " + std::to_string(limit);
}

}  // namespace

std::string task_tree(const Tracer& tracer) {
  fmt::memory_buffer out;
  const auto to = std::back_inserter(out);
  const auto spans = tracer.live();
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const auto& span = spans[i];
    const bool leaf = i + 1 == spans.size() || spans[i + 1].depth <= span.depth;
    fmt::format_to(to, "{:10.3f} s  {:{}}{} {}", seconds(span.age), "",
                   2 * std::min<std::size_t>(span.depth, 40), leaf ? "*" : "-", span.name);
    if (!span.object.empty()) fmt::format_to(to, " {}", printable(span.object));
    fmt::format_to(to, " [{}]\n", span.category);
  }
  return fmt::to_string(out);
}

std::string debug_text(const Tracer& tracer, AgentPulls& pulls) {
  fmt::memory_buffer out;
  const auto to = std::back_inserter(out);
  fmt::format_to(to, "queues\n");
  for (const auto& queue : agent_queues(pulls)) {
    fmt::format_to(to, "  {}: {} running, {} waiting ({})\n", queue.name, queue.running, queue.waiting,
                   limit_text(queue.limit));
  }
  fmt::format_to(to, "\npulls\n");
  for (const auto& pull : pulls.running()) {
    fmt::format_to(to, "{:10.3f} s  {} for {} ({}), {}\n", seconds(pull.age), pull.subject.reference.name(),
                   pull.subject.asker, name_of(pull.subject.rank.pull_class),
                   pull.queued ? std::string("waits for its turn") : pull.report.phase);
  }
  fmt::format_to(to, "\ntasks (age, what it does, its object; * is what those above wait for)\n");
  out.append(task_tree(tracer));
  if (tracer.dropped() > 0) fmt::format_to(to, "{} more were too many to be kept\n", tracer.dropped());
  return fmt::to_string(out);
}

}  // namespace lazypull
