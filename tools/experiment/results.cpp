#include "tools/experiment/results.hpp"

#include "engine/error.hpp"
#include "engine/json_reader.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>

#include <cerrno>
#include <cmath>
#include <fcntl.h>
#include <unistd.h>

namespace lazypull::experiment {
namespace {

namespace json = boost::json;

using Metrics = std::vector<std::pair<std::string, double>>;

constexpr std::int64_t format_version = 1;

[[noreturn]] void fail(const std::string& file, int reason) {
  const auto code = reason == ENOENT                      ? Errc::not_found
                    : reason == EACCES || reason == EPERM ? Errc::permission_denied
                    : reason == ENOSPC                    ? Errc::out_of_space
                                                          : Errc::unavailable;
  throw Error(code, file + ": " + std::generic_category().message(reason));
}

/// To a millionth, so that lines stay short and numbers are the same after reading.
double rounded(double value) {
  return std::round(value * 1e6) / 1e6;
}

json::object metrics_json(const Metrics& metrics) {
  json::object object;
  for (const auto& [name, value] : metrics) object[name] = rounded(value);
  return object;
}

json::array spans_json(const std::vector<SpanRow>& spans) {
  json::array array;
  for (const auto& span : spans) {
    array.push_back(json::array{json::value(span.name), json::value(span.category), json::value(span.object),
                                rounded(span.start_ms), rounded(span.duration_ms), span.depth});
  }
  return array;
}

/// Reads one row; `what` names its line.
class RowReader {
 public:
  RowReader(const json::object& object, const std::string& what) : object_(object), what_(what) {}

  Row read() {
    if (integer("v") != format_version) refuse("v", "is of another version");
    Row row;
    row.experiment = text("experiment");
    row.at = {text("image"),
              text("puller"),
              text("snapshotter"),
              text("unpack"),
              text("network"),
              text("cache"),
              static_cast<std::size_t>(integer("repetition"))};
    row.order = static_cast<std::size_t>(integer("order"));
    row.started = text("started");
    row.error = text("error");
    row.times = metrics("times_ms");
    row.phases = metrics("phases_ms");
    row.amounts = metrics("amounts");
    row.spans = spans();
    row.environment = object("environment");
    return row;
  }

 private:
  [[noreturn]] void refuse(std::string_view key, const std::string& why) const {
    throw Error(Errc::bad_response, what_ + ": " + std::string(key) + " " + why);
  }
  const json::value& find(std::string_view key) const {
    const auto* value = object_.if_contains(key);
    if (value == nullptr) refuse(key, "is missing");
    return *value;
  }
  std::string text(std::string_view key) const {
    const auto* value = find(key).if_string();
    if (value == nullptr || value->size() > 16'384) refuse(key, "is no short text");
    return {value->data(), value->size()};
  }
  std::int64_t integer(std::string_view key) const {
    const auto* value = find(key).if_int64();
    if (value == nullptr || *value < 0 || *value > 1'000'000'000) refuse(key, "is no small number");
    return *value;
  }
  const json::object& object(std::string_view key) const {
    const auto* value = find(key).if_object();
    if (value == nullptr) refuse(key, "is no object");
    return *value;
  }
  double number(std::string_view key, const json::value& value) const {
    const auto* integer = value.if_int64();
    const auto* real = value.if_double();
    if (integer == nullptr && real == nullptr) refuse(key, "has something that is no number");
    const double read = integer != nullptr ? static_cast<double>(*integer) : *real;
    if (!std::isfinite(read) || read < 0) refuse(key, "has a number that is negative or infinite");
    return read;
  }
  Metrics metrics(std::string_view key) const {
    const auto& from = object(key);
    if (from.size() > ResultLimits::metrics) refuse(key, "has too many members");
    Metrics read;
    for (const auto& member : from) {
      if (member.key().size() > 64) refuse(key, "has a long name");
      read.emplace_back(member.key(), number(key, member.value()));
    }
    return read;
  }
  static std::string word(const json::value& value) {
    const auto* string = value.if_string();
    return string == nullptr ? "" : std::string(string->data(), std::min<std::size_t>(string->size(), 512));
  }
  std::vector<SpanRow> spans() const {
    const auto* value = object_.if_contains("spans");
    if (value == nullptr) return {};
    const auto* array = value->if_array();
    if (array == nullptr || array->size() > ResultLimits::spans) refuse("spans", "is no list, or too long");
    std::vector<SpanRow> read;
    for (const auto& item : *array) {
      const auto* span = item.if_array();
      if (span == nullptr || span->size() != 6) refuse("spans", "has something that is no span");
      const double depth = number("spans", (*span)[5]);
      read.push_back({word((*span)[0]), word((*span)[1]), word((*span)[2]), number("spans", (*span)[3]),
                      number("spans", (*span)[4]), static_cast<std::size_t>(std::min(depth, 64.0))});
    }
    return read;
  }

  const json::object& object_;
  const std::string& what_;
};

std::string read_all(int descriptor, const std::string& name) {
  std::string text;
  std::string piece(1U << 20U, '\0');
  for (;;) {
    const auto got = ::read(descriptor, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(name, errno);
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.size() > ResultLimits::file_bytes) throw Error(Errc::bad_response, name + ": is too long");
  }
}

/// The rows of all complete lines, of which the bytes are counted.
std::vector<Row> parse_rows(const std::string& text, const std::string& name, std::size_t& complete) {
  std::vector<Row> rows;
  std::size_t number = 0;
  complete = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', complete)) {
    const std::string_view line(text.data() + complete, end - complete);
    ++number;
    complete = end + 1;
    if (line.empty()) continue;
    rows.push_back(parse_row(line, name + ":" + std::to_string(number)));
    if (rows.size() > ResultLimits::rows) throw Error(Errc::bad_response, name + ": has too many rows");
  }
  return rows;
}

}  // namespace

std::optional<double> Row::metric(std::string_view name) const {
  for (const auto* metrics : {&times, &amounts}) {
    for (const auto& [key, value] : *metrics) {
      if (key == name) return value;
    }
  }
  return std::nullopt;
}

std::string row_json(const Row& row) {
  json::object object{{"v", format_version},
                      {"experiment", row.experiment},
                      {"image", row.at.image},
                      {"puller", row.at.puller},
                      {"snapshotter", row.at.snapshotter},
                      {"unpack", row.at.unpack},
                      {"network", row.at.network},
                      {"cache", row.at.cache},
                      {"repetition", row.at.repetition},
                      {"order", row.order},
                      {"started", row.started},
                      {"error", row.error},
                      {"times_ms", metrics_json(row.times)},
                      {"phases_ms", metrics_json(row.phases)},
                      {"amounts", metrics_json(row.amounts)},
                      {"environment", row.environment}};
  if (!row.spans.empty()) object["spans"] = spans_json(row.spans);
  return json::serialize(object);
}

Row parse_row(std::string_view line, const std::string& what) {
  const auto object = parse_json_object(line, what, ResultLimits::line_bytes);
  return RowReader(object, what).read();
}

std::vector<Row> read_results(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(file.string(), errno);
  std::string text;
  try {
    text = read_all(descriptor, file.string());
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  ::close(descriptor);
  std::size_t complete = 0;
  return parse_rows(text, file.string(), complete);
}

ResultsFile::ResultsFile(const std::filesystem::path& file, const std::string& experiment)
    : name_(file.string()), descriptor_(::open(file.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0) fail(name_, errno);
  try {
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      throw Error(Errc::failed_precondition, name_ + ": another experiment is writing to it");
    }
    std::size_t complete = 0;
    const auto text = read_all(descriptor_, name_);
    for (const auto& row : parse_rows(text, name_, complete)) {
      if (row.experiment != experiment) {
        throw Error(Errc::failed_precondition, name_ + ": has results of the experiment '" + row.experiment +
                                                   "', not of '" + experiment + "'");
      }
      ++rows_;
      if (row.ok()) done_.insert(row.at.id());
    }
    if (complete != text.size() && ::ftruncate(descriptor_, static_cast<off_t>(complete)) != 0) {
      fail(name_, errno);
    }
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

ResultsFile::~ResultsFile() {
  ::close(descriptor_);
}

void ResultsFile::append(const Row& row) {
  const auto line = row_json(row) + "\n";
  for (std::size_t done = 0; done < line.size();) {
    const auto written = ::write(descriptor_, line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(name_, errno);
    done += static_cast<std::size_t>(written);
  }
  if (::fdatasync(descriptor_) != 0) fail(name_, errno);
  ++rows_;
  if (row.ok()) done_.insert(row.at.id());
}

}  // namespace lazypull::experiment
