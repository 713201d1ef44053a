#include "transport/registry_server_log.hpp"

#include <array>
#include <ctime>
#include <string_view>

namespace lazypull {

namespace {

constexpr std::size_t max_text = 1024;

std::string escaped(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  if (text.empty()) return "-";
  std::string result;
  for (const char c : text.substr(0, max_text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      result += c;
      continue;
    }
    result += "\\x";
    result += digits[byte >> 4U];
    result += digits[byte & 15U];
  }
  return text.size() > max_text ? result + "..." : result;
}

std::string timestamp(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const auto size = std::strftime(text.data(), text.size(), "%d/%b/%Y:%H:%M:%S +0000", &parts);
  return std::string(text.data(), size);
}

}  // namespace

std::string access_log_line(const AccessRecord& record) {
  std::string request = "-";
  if (!record.method.empty()) {
    request = escaped(record.method) + " " + escaped(record.target);
    request += record.version == 10 ? " HTTP/1.0" : " HTTP/1.1";
  }
  return record.client + " - - [" + timestamp(record.time) + "] \"" + request + "\" " +
         std::to_string(record.status) + " " + std::to_string(record.bytes) + " \"" +
         escaped(record.referer) + "\" \"" + escaped(record.user_agent) + "\"";
}

}  // namespace lazypull
