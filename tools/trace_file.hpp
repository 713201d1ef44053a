#pragma once

#include "engine/trace.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// What a trace says about itself.
struct TraceHead {
  std::string process;   ///< "lazypull pull registry.example.com/app:1"
  std::string version;   ///< "lazypull 0.1.0"
  std::string trace_id;  ///< 32 hex digits, those of OTLP
};

/// The spans that have ended, in the Trace Event format (JSON object form): complete events with microseconds
/// since the tracer's start, and metadata that names the process and its tracks. Arguments `id` and `parent`
/// give the tree, `object` what the span is about.
std::string trace_events_json(const Tracer& tracer, const TraceHead& head);

/// Throws Error that names the file: `not_found` or `invalid_argument` if it can hardly be written. Asked
/// before a pull begins.
void require_writable(const std::filesystem::path& file);
/// Writes the file as a whole or not at all; what is no regular file, such as a pipe, is written to.
void write_trace(const std::filesystem::path& file, std::string_view text);

/// A complete event of a trace file.
struct TraceEvent {
  std::string name;
  std::string object;
  std::chrono::nanoseconds start{0};  ///< since the first event
  std::chrono::nanoseconds duration{0};
  std::size_t parent = none;  ///< index of the event that it belongs to
  std::size_t depth = 0;
  bool failed = false;

  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  std::chrono::nanoseconds end() const noexcept { return start + duration; }
};

struct TraceFile {
  std::string process;
  std::vector<TraceEvent> events;  ///< in the order in which they began, parents before their children
  std::uint64_t dropped = 0;       ///< spans that were not kept
};

inline constexpr std::uint64_t max_trace_bytes = 128U << 20U;
inline constexpr std::size_t max_trace_events = 500'000;

/// Reads the Trace Event format: an object with `traceEvents`, or the array itself. Of events only complete
/// ones (`X`) count. Parents are those of the arguments `id` and `parent`; in files without them, as other
/// programs write them, those that contain an event on its track. `what` names the file in messages. Throws
/// Error{bad_response}.
TraceFile parse_trace(std::string_view text, const std::string& what);

/// The same of a file. Throws also Error{not_found}, {size_mismatch}.
TraceFile read_trace(const std::filesystem::path& file);

}  // namespace lazypull
