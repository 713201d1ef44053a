#include "tools/agent/agent_log.hpp"

#include "engine/error.hpp"
#include "tools/text.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <mutex>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

namespace json = boost::json;

constexpr std::size_t longest_value = 2048;

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::off:
      break;
  }
  return spdlog::level::off;
}

/// One write, so that lines of several processes do not mix either.
void write_to_stderr(std::string_view line) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

class CallingSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit CallingSink(AgentLog::Sink sink) : sink_(std::move(sink)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    sink_(std::string_view(line.data(), line.size()));
  }
  void flush_() override {}

  AgentLog::Sink sink_;
};

std::string shown(std::string_view text) {
  auto value = without_credentials(text.substr(0, longest_value));
  if (text.size() > longest_value) value += "...";
  return printable(value);
}

bool is_plain(std::string_view text) {
  constexpr std::string_view marks = "._:/@+-";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || marks.find(c) != std::string_view::npos;
  });
}

void append_text(fmt::memory_buffer& out, const LogField& field) {
  const auto to = std::back_inserter(out);
  fmt::format_to(to, " {}=", field.name);
  if (const auto* text = std::get_if<std::string>(&field.value)) {
    const auto value = shown(*text);
    fmt::format_to(to, "{}", is_plain(value) ? value : json::serialize(json::string(value)));
  } else if (const auto* number = std::get_if<std::uint64_t>(&field.value)) {
    fmt::format_to(to, "{}", *number);
  } else {
    fmt::format_to(to, "{:.3f}", std::get<double>(field.value));
  }
}

std::string text_line(std::string_view event, const std::vector<LogField>& fields) {
  fmt::memory_buffer out;
  fmt::format_to(std::back_inserter(out), "{}", event);
  for (const auto& field : fields) append_text(out, field);
  return fmt::to_string(out);
}

/// Without the opening brace, which comes with the time.
std::string json_line(std::string_view event, const std::vector<LogField>& fields) {
  json::object object;
  object["event"] = event;
  for (const auto& field : fields) {
    auto& value = object[json::string_view(field.name.data(), field.name.size())];
    if (const auto* text = std::get_if<std::string>(&field.value)) {
      value = shown(*text);
    } else if (const auto* number = std::get_if<std::uint64_t>(&field.value)) {
      value = *number;
    } else {
      value = std::get<double>(field.value);
    }
  }
  return json::serialize(object).substr(1);
}

/// Hides what comes after `scheme` and a blank.
void hide_after(std::string& text, std::string_view scheme) {
  const auto differs = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  };
  auto from = text.begin();
  for (;;) {
    from = std::search(from, text.end(), scheme.begin(), scheme.end(), differs);
    if (from == text.end()) return;
    from += static_cast<std::ptrdiff_t>(scheme.size());
    const auto end = std::find_if(from, text.end(), [](char c) { return c == ' ' || c == '"' || c == ','; });
    // "Basic authentication" is no secret: secrets are base64 of some length.
    if (end - from < 8 || std::string_view(from, end).starts_with("realm=")) continue;
    const auto position = from - text.begin();
    text.replace(from, end, "***");
    from = text.begin() + position;
  }
}

void hide_userinfo(std::string& text) {
  for (auto at = text.find("://"); at != std::string::npos; at = text.find("://", at + 3)) {
    const auto begin = at + 3;
    const auto end = std::min(text.find_first_of("/?# \"", begin), text.size());
    const auto userinfo = std::string_view(text).substr(begin, end - begin).rfind('@');
    if (userinfo != std::string_view::npos) text.replace(begin, userinfo, "***");
  }
}

}  // namespace

LogLevel parse_log_level(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, LogLevel>, 5> levels{{{"debug", LogLevel::debug},
                                                                         {"info", LogLevel::info},
                                                                         {"warning", LogLevel::warning},
                                                                         {"error", LogLevel::error},
                                                                         {"off", LogLevel::off}}};
  for (const auto& [name, level] : levels) {
    if (name == text) return level;
  }
  throw Error(Errc::invalid_argument,
              "log level '" + printable(text) + "' is none of debug, info, warning, error and off");
}

LogFormat parse_log_format(std::string_view text) {
  if (text == "text") return LogFormat::text;
  if (text == "json") return LogFormat::json;
  throw Error(Errc::invalid_argument, "log format '" + printable(text) + "' is neither text nor json");
}

std::string without_credentials(std::string_view text) {
  std::string clean(text);
  hide_userinfo(clean);
  hide_after(clean, "bearer ");
  hide_after(clean, "basic ");
  return clean;
}

struct AgentLog::Impl {
  Impl(LogFormat as, LogLevel level, Sink sink)
      : format(as),
        logger("lazypull", std::make_shared<CallingSink>(sink ? std::move(sink) : Sink(write_to_stderr))) {
    const std::string time = "%Y-%m-%dT%H:%M:%S.%fZ";
    const auto pattern =
        format == LogFormat::json ? R"({"time":")" + time + R"(","level":"%l",%v)" : time + " %l %v";
    logger.set_formatter(
        std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc, "\n"));
    logger.set_level(spdlog_level(level));
  }

  LogFormat format;
  spdlog::logger logger;
};

AgentLog::AgentLog(LogFormat format, LogLevel level, Sink sink)
    : impl_(std::make_unique<Impl>(format, level, std::move(sink))) {}

AgentLog::~AgentLog() = default;

bool AgentLog::enabled(LogLevel level) const noexcept {
  return impl_->logger.should_log(spdlog_level(level));
}

void AgentLog::write(LogLevel level, std::string_view event, const std::vector<LogField>& fields) {
  if (level == LogLevel::off || !enabled(level)) return;
  const auto line = impl_->format == LogFormat::json ? json_line(event, fields) : text_line(event, fields);
  // As a view, so that spdlog takes it for no format string.
  impl_->logger.log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace lazypull
