#include "tools/trace_file.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "tools/text.hpp"
#include "tools/trace_tracks.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace lazypull {
namespace {

std::string json_text(std::string_view text) {
  return boost::json::serialize(boost::json::string(printable(text)));
}

/// Nanoseconds as microseconds, exactly.
std::string microseconds(std::chrono::nanoseconds time) {
  const auto count = std::max<std::int64_t>(time.count(), 0);
  char text[40];
  std::snprintf(text, sizeof text, "%lld.%03d", static_cast<long long>(count / 1000),
                static_cast<int>(count % 1000));
  return text;
}

/// Of the process, or with a track of that.
void append_metadata(std::string& out, const char* name, std::size_t track, const std::string& value) {
  out += R"({"ph":"M","pid":1,"tid":)" + std::to_string(track) + R"(,"ts":0,"name":")" + name +
         R"(","args":{)" + value + "}},\n";
}

void append_event(std::string& out, const SpanRecord& span, std::size_t track, SpanRecord::Time origin) {
  out += R"({"ph":"X","pid":1,"tid":)" + std::to_string(track) + R"(,"ts":)" +
         microseconds(span.start - origin) + R"(,"dur":)" + microseconds(span.end - span.start) +
         R"(,"name":)" + json_text(span.name) + R"(,"cat":)" + json_text(span.category) +
         R"(,"args":{"id":)" + std::to_string(span.id);
  if (span.parent != 0) out += R"(,"parent":)" + std::to_string(span.parent);
  if (!span.object.empty()) out += R"(,"object":)" + json_text(span.object);
  if (span.failed) out += R"(,"failed":true)";
  for (const auto& [name, value] : span.arguments) {
    out += "," + json_text(name) + ":";
    if (const auto* number = std::get_if<std::uint64_t>(&value)) {
      out += std::to_string(*number);
    } else {
      out += json_text(std::get<std::string>(value));
    }
  }
  out += "}},\n";
}

std::string time_of_day(std::chrono::system_clock::time_point time) {
  const auto seconds = std::chrono::system_clock::to_time_t(time);
  const auto part = std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char date[32];
  char text[48];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text, sizeof text, "%s.%06dZ", date, static_cast<int>(part % 1'000'000));
  return text;
}

}  // namespace

std::string trace_events_json(const Tracer& tracer, const TraceHead& head) {
  const auto layout = put_on_tracks(tracer.ended());
  std::string out = "{\"traceEvents\":[\n";
  out.reserve(400 * (layout.items.size() + layout.tracks.size() + 1));
  append_metadata(out, "process_name", 0, R"("name":)" + json_text(head.process));
  for (std::size_t i = 0; i < layout.tracks.size(); ++i) {
    append_metadata(out, "thread_name", i + 1, R"("name":)" + json_text(layout.tracks[i]));
    append_metadata(out, "thread_sort_index", i + 1, R"("sort_index":)" + std::to_string(i + 1));
  }
  for (const auto& [span, track] : layout.items) append_event(out, *span, track + 1, tracer.started());
  out.erase(out.size() - 2);  // the last comma
  out += "\n],\"displayTimeUnit\":\"ms\",\"otherData\":{\"version\":" + json_text(head.version) +
         R"(,"started":")" + time_of_day(tracer.started_at()) + R"(","traceId":)" + json_text(head.trace_id) +
         R"(,"droppedSpans":")" + std::to_string(tracer.dropped()) + "\"}}\n";
  return out;
}

namespace {

bool is_special(const std::filesystem::path& file) {
  struct stat info{};
  return ::stat(file.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
}

[[noreturn]] void refuse(const std::filesystem::path& file, int number) {
  throw Error(number == ENOENT ? Errc::not_found : Errc::invalid_argument,
              "trace " + file.string() + ": " + std::strerror(number));
}

}  // namespace

void require_writable(const std::filesystem::path& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) refuse(file, EISDIR);
    if (::access(file.c_str(), W_OK) != 0) refuse(file, errno);
    if (!S_ISREG(info.st_mode)) return;
  }
  const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  if (::access(folder.c_str(), W_OK | X_OK) != 0) refuse(file, errno);
}

void write_trace(const std::filesystem::path& file, std::string_view text) {
  if (!is_special(file)) {
    replace_text(std::filesystem::weakly_canonical(file), text);
    return;
  }
  const auto descriptor = open_file(file, O_WRONLY | O_NOCTTY);
  while (!text.empty()) {
    const auto written = ::write(descriptor.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_errno("write " + file.string());
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace lazypull
