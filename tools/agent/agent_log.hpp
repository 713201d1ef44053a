#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lazypull {

enum class LogFormat {
  text,  ///< a time, a level, what happened, and `name=value` for the rest
  json,  ///< the same as a JSON object a line
};

enum class LogLevel { debug, info, warning, error, off };

/// "debug", "info", "warning", "error" or "off"; else Error{invalid_argument}.
LogLevel parse_log_level(std::string_view text);
/// "text" or "json"; else Error{invalid_argument}.
LogFormat parse_log_format(std::string_view text);

struct LogField {
  std::string_view name;  ///< of static storage: lower_case
  std::variant<std::string, std::uint64_t, double> value;
};

/// The daemon's log: an event a line. What peers have written is escaped, so that no text makes a second line
/// or moves a terminal's cursor, and is cut at 2 KiB; what looks like credentials is left out. For any
/// thread.
class AgentLog {
 public:
  using Sink = std::function<void(std::string_view line)>;

  /// A line, with its line end, is one call of `sink`; without one it is one write to standard error.
  AgentLog(LogFormat format, LogLevel level, Sink sink = {});
  AgentLog(const AgentLog&) = delete;
  AgentLog& operator=(const AgentLog&) = delete;
  ~AgentLog();

  bool enabled(LogLevel level) const noexcept;
  /// `event` is of static storage, such as "pull ended".
  void write(LogLevel level, std::string_view event, const std::vector<LogField>& fields = {});

  void debug(std::string_view event, const std::vector<LogField>& fields = {}) {
    write(LogLevel::debug, event, fields);
  }
  void info(std::string_view event, const std::vector<LogField>& fields = {}) {
    write(LogLevel::info, event, fields);
  }
  void warning(std::string_view event, const std::vector<LogField>& fields = {}) {
    write(LogLevel::warning, event, fields);
  }
  void error(std::string_view event, const std::vector<LogField>& fields = {}) {
    write(LogLevel::error, event, fields);
  }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The text without what may be a secret: userinfo in URLs, and what comes after "Bearer" or "Basic".
std::string without_credentials(std::string_view text);

}  // namespace lazypull
