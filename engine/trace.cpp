#include "engine/trace.hpp"

#include <algorithm>
#include <exception>

namespace lazypull {

Tracer::Tracer(TraceMode mode, TraceLimits limits)
    : mode_(mode),
      limits_(limits),
      started_(std::chrono::steady_clock::now()),
      started_at_(std::chrono::system_clock::now()) {}

TracePoint Tracer::taker_of(std::string_view object, std::string_view or_else) noexcept {
  auto found = takers_.find(object);
  if (found == takers_.end()) found = takers_.find(or_else);
  return {this, found == takers_.end() ? 0 : found->second};
}

std::vector<LiveSpan> Tracer::live(SpanRecord::Time now) const {
  std::map<SpanId, std::vector<const SpanRecord*>> children;
  // The youngest first, since what is taken off the stack is shown first. Whose parent has ended is a root.
  for (auto entry = live_.rbegin(); entry != live_.rend(); ++entry) {
    const auto& record = entry->second;
    children[live_.contains(record.parent) ? record.parent : 0].push_back(&record);
  }
  std::vector<LiveSpan> lines;
  lines.reserve(live_.size());
  std::vector<std::pair<const SpanRecord*, std::size_t>> next;
  const auto descend = [&](SpanId parent, std::size_t depth) {
    const auto found = children.find(parent);
    if (found == children.end()) return;
    for (const auto* child : found->second) next.emplace_back(child, depth);
  };
  descend(0, 0);
  while (!next.empty()) {
    const auto [record, depth] = next.back();
    next.pop_back();
    lines.push_back({record->id, depth, record->name, record->category, record->object, now - record->start});
    descend(record->id, depth + 1);
  }
  return lines;
}

SpanRecord* Tracer::begin(SpanId parent, std::string_view name, std::string_view category,
                          std::string_view object) {
  if (live_.size() >= limits_.live) {
    ++dropped_;
    return nullptr;
  }
  const auto id = ++last_id_;
  auto& record = live_.emplace_hint(live_.end(), id, SpanRecord())->second;
  record.id = id;
  record.parent = parent;
  record.name = name;
  record.category = category;
  record.object = object;
  record.start = std::chrono::steady_clock::now();
  return &record;
}

void Tracer::end(SpanRecord& record) noexcept {
  record.end = std::chrono::steady_clock::now();
  const auto taker = takers_.find(record.object);
  if (taker != takers_.end() && taker->second == record.id) takers_.erase(taker);
  const auto id = record.id;
  if (mode_ == TraceMode::recording) keep(std::move(record));
  live_.erase(id);
}

void Tracer::keep(SpanRecord&& record) noexcept {
  try {
    if (ended_.size() < limits_.ended) {
      ended_.push_back(std::move(record));
      return;
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory, which is no reason to end a pull
  }
  ++dropped_;
}

void Span::begin(TracePoint parent, std::string_view name, std::string_view category,
                 std::string_view object) {
  point_ = parent;
  thrown_ = std::uncaught_exceptions();
  record_ = parent.tracer->begin(parent.span, name, category, object);
  if (record_ != nullptr) point_.span = record_->id;
}

void Span::register_taker() {
  point_.tracer->takers_.insert_or_assign(record_->object, record_->id);
}

void Span::finish() noexcept {
  auto& record = *std::exchange(record_, nullptr);
  if (std::uncaught_exceptions() > thrown_) record.failed = true;
  point_.span = record.parent;
  point_.tracer->end(record);
}

void record_work(TracePoint parent, std::string_view name, std::string_view category, std::string_view object,
                 const WorkTime& time) {
  if (parent.tracer == nullptr || time.start == SpanRecord::Time()) return;
  auto& tracer = *parent.tracer;
  if (tracer.mode_ != TraceMode::recording) return;
  SpanRecord record;
  record.id = ++tracer.last_id_;
  record.parent = parent.span;
  record.name = name;
  record.category = category;
  record.object = object;
  record.start = time.start;
  record.end = std::max(time.start, time.end);
  using std::chrono::microseconds;
  const auto waited = std::chrono::duration_cast<microseconds>(time.waited).count();
  record.arguments.push_back({"waited_us", static_cast<std::uint64_t>(std::max<std::int64_t>(waited, 0))});
  tracer.keep(std::move(record));
}

}  // namespace lazypull
