#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// What a pull has spent its time with. Everything here is of the home thread. Where nothing is traced, a
/// span costs the test of a pointer.
namespace lazypull {

using SpanId = std::uint64_t;  ///< 0 is none

struct SpanArgument {
  std::string_view name;  ///< of static storage
  std::variant<std::uint64_t, std::string> value;
};

/// Something that took time. Its name and category are of static storage, so only literals.
struct SpanRecord {
  using Time = std::chrono::steady_clock::time_point;

  SpanId id = 0;
  SpanId parent = 0;
  std::string_view name;      ///< "resolve", "connect", "Prepare"
  std::string_view category;  ///< "pull", "layer", "registry", "snapshotter", "content", "unpack"
  std::string object;         ///< what it is about: a reference, digest, ChainID or host
  Time start;
  Time end;             ///< not before its start
  bool failed = false;  ///< ended by an exception, cancellation included
  std::vector<SpanArgument> arguments;
};

/// A span that has not ended yet, as a line of a tree: parents come before their children, siblings in the
/// order in which they began.
struct LiveSpan {
  SpanId id = 0;
  std::size_t depth = 0;
  std::string_view name;
  std::string_view category;
  std::string object;
  std::chrono::nanoseconds age{0};
};

/// When another thread has worked on something; handed back to the home thread with the result.
struct WorkTime {
  SpanRecord::Time start;
  SpanRecord::Time end;
  std::chrono::nanoseconds waited{0};  ///< of that, for input or for room to write to
};

class Tracer;

/// Where new spans belong: what functions that are traced are given. Empty where nothing is traced.
struct TracePoint {
  Tracer* tracer = nullptr;
  SpanId span = 0;
};

enum class TraceMode {
  live,       ///< only what has not ended is known, for looking at a process that hangs
  recording,  ///< what has ended is kept too
};

struct TraceLimits {
  std::size_t live = 10'000;  ///< beyond it, spans are counted and not kept
  std::size_t ended = 250'000;
};

/// Keeps the spans. Must outlive them all.
class Tracer {
 public:
  explicit Tracer(TraceMode mode, TraceLimits limits = {});
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  /// For spans without a parent.
  TracePoint root() noexcept { return {this, 0}; }
  /// The span that requests for this object belong to (`Span::take_requests`), so that they find the download
  /// that they are made for however they came about.
  TracePoint taker_of(std::string_view object, std::string_view or_else) noexcept;

  std::vector<LiveSpan> live(SpanRecord::Time now = std::chrono::steady_clock::now()) const;
  std::size_t live_count() const noexcept { return live_.size(); }
  /// In the order in which they ended; of TraceMode::recording only.
  const std::vector<SpanRecord>& ended() const noexcept { return ended_; }
  /// Spans that the limits left no room for.
  std::size_t dropped() const noexcept { return dropped_; }

  SpanRecord::Time started() const noexcept { return started_; }
  /// The time of day at `started`.
  std::chrono::system_clock::time_point started_at() const noexcept { return started_at_; }

 private:
  friend class Span;
  friend void record_work(TracePoint, std::string_view, std::string_view, std::string_view, const WorkTime&);

  SpanRecord* begin(SpanId parent, std::string_view name, std::string_view category, std::string_view object);
  void end(SpanRecord& record) noexcept;
  void keep(SpanRecord&& record) noexcept;

  TraceMode mode_;
  TraceLimits limits_;
  SpanId last_id_ = 0;
  std::size_t dropped_ = 0;
  std::map<SpanId, SpanRecord> live_;  // stable addresses; in the order in which they began
  std::vector<SpanRecord> ended_;
  std::map<std::string, SpanId, std::less<>> takers_;
  SpanRecord::Time started_;
  std::chrono::system_clock::time_point started_at_;
};

/// From its construction to its end. Move-only.
class Span {
 public:
  Span() = default;
  Span(TracePoint parent, std::string_view name, std::string_view category, std::string_view object = {}) {
    if (parent.tracer != nullptr) begin(parent, name, category, object);
  }
  Span(Span&& other) noexcept
      : point_(other.point_), record_(std::exchange(other.record_, nullptr)), thrown_(other.thrown_) {}
  Span& operator=(Span&& other) noexcept {
    if (this != &other) {
      end();
      point_ = other.point_;
      record_ = std::exchange(other.record_, nullptr);
      thrown_ = other.thrown_;
    }
    return *this;
  }
  ~Span() { end(); }

  /// Where its children belong; its parent's children once it has ended, or if there was no room for it.
  TracePoint point() const noexcept { return point_; }
  bool open() const noexcept { return record_ != nullptr; }

  /// As long as it lasts, requests for its object are its children.
  void take_requests() {
    if (record_ != nullptr) register_taker();
  }
  void argument(std::string_view name, std::uint64_t value) {
    if (record_ != nullptr) record_->arguments.push_back({name, value});
  }
  void argument(std::string_view name, std::string_view value) {
    if (record_ != nullptr) record_->arguments.push_back({name, std::string(value)});
  }
  void failed() noexcept {
    if (record_ != nullptr) record_->failed = true;
  }
  void end() noexcept {
    if (record_ != nullptr) finish();
  }

 private:
  void begin(TracePoint parent, std::string_view name, std::string_view category, std::string_view object);
  void register_taker();
  void finish() noexcept;

  TracePoint point_;
  SpanRecord* record_ = nullptr;
  int thrown_ = 0;
};

/// A span that another thread has spent.
void record_work(TracePoint parent, std::string_view name, std::string_view category, std::string_view object,
                 const WorkTime& time);

}  // namespace lazypull
