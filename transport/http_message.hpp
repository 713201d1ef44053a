#pragma once

#include "engine/trace.hpp"
#include "transport/url.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Header fields in the order they came, names compared without regard to case.
class HttpFields {
 public:
  void add(std::string name, std::string value) { fields_.push_back({std::move(name), std::move(value)}); }
  /// The first field of that name.
  std::optional<std::string_view> find(std::string_view name) const noexcept;
  /// The values of all fields of that name; they live as long as this.
  std::vector<std::string_view> all(std::string_view name) const;

  struct Field {
    std::string name;
    std::string value;
  };
  auto begin() const noexcept { return fields_.begin(); }
  auto end() const noexcept { return fields_.end(); }

 private:
  std::vector<Field> fields_;
};

class HostAccess;
class RetryBudget;

/// Host, User-Agent and Content-Length are added when it is sent.
struct HttpRequest {
  HttpRequest(std::string request_method, Url request_url)
      : method(std::move(request_method)), url(std::move(request_url)) {}

  std::string method;
  Url url;
  HttpFields fields;
  std::string body;
  std::shared_ptr<HostAccess> access;   ///< null: as the client's options say
  TracePoint trace;                     ///< what its spans belong to
  bool patient = true;                  ///< whether waiting and trying again is better than a failure
  std::shared_ptr<RetryBudget> budget;  ///< of the pull that it is for; null is no limit

  /// For messages: "GET https://registry.example.com/v2/app/manifests/1".
  std::string display() const { return method + " " + url.display(); }
};

struct HttpHead {
  int status = 0;
  HttpFields fields;

  /// The value of Content-Length, if there is one that is a number.
  std::optional<std::uint64_t> content_length() const noexcept;
  /// "404 Not Found", with the registered reason phrase and not the server's.
  std::string status_line() const;
};

/// One exchange with a server, for logs: told when its body has been read, or given up, or when it failed.
struct RequestLog {
  std::string method;
  std::string url;  ///< without userinfo and query
  int status = 0;   ///< 0: there was no response
  std::uint64_t body_bytes = 0;
  std::chrono::nanoseconds duration{0};
  std::string failure;  ///< why there was no response, empty otherwise
};

using RequestLogger = std::function<void(const RequestLog&)>;

/// Compares ASCII without regard to case.
bool iequals(std::string_view left, std::string_view right) noexcept;

/// Without spaces and tabs at either end.
std::string_view trim(std::string_view text) noexcept;

/// A decimal number of digits only, nothing else and no overflow.
std::optional<std::uint64_t> parse_decimal(std::string_view text) noexcept;

/// Text of a peer made fit for a message: control characters and broken UTF-8 replaced, at most `limit`
/// bytes.
std::string sanitise(std::string_view text, std::size_t limit);

}  // namespace lazypull
