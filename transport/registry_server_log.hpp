#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace lazypull {

/// One exchange as an access log shows it.
struct AccessRecord {
  std::string client;  ///< its address
  std::chrono::system_clock::time_point time;
  std::string method;  ///< empty if there was no request to be understood
  std::string target;
  int version = 11;  ///< of HTTP: 10 or 11
  int status = 0;
  std::uint64_t bytes = 0;  ///< of the body, that were sent
  std::string referer;
  std::string user_agent;
};

/// The "combined" format of web servers, without a line feed. Quotes, backslashes and whatever is not
/// printable ASCII are escaped as \xHH, and long texts are cut, so that no client can forge a line.
std::string access_log_line(const AccessRecord& record);

}  // namespace lazypull
