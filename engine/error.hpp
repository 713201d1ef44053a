#pragma once

#include <boost/system/error_category.hpp>
#include <boost/system/error_code.hpp>

#include <exception>
#include <string>
#include <string_view>

namespace lazypull {

/// What kind of failure it is; decides the exit code and whether trying again can help.
enum class Errc {
  invalid_argument = 1,  ///< the caller's request makes no sense (flags, platform or reference syntax)
  not_found,             ///< the registry or the store does not have it
  already_exists,        ///< only where it is a failure; expected cases are values
  unauthorized,          ///< no or wrong credentials (HTTP 401)
  forbidden,             ///< the credentials do not suffice (HTTP 403)
  too_many_requests,     ///< HTTP 429
  server_error,          ///< HTTP 5xx, or an internal error of a daemon
  bad_response,          ///< the peer broke its protocol: malformed HTTP, JSON or a body cut short
  digest_mismatch,       ///< content is not what its digest says
  size_mismatch,         ///< content is not as long as its descriptor says
  unsupported,           ///< a media type, scheme or feature that is not supported
  platform_not_found,    ///< the index has nothing for the wanted platform
  invalid_image,         ///< manifest and config contradict each other, or exceed a limit
  host_not_found,        ///< name resolution failed
  unavailable,           ///< nobody answers: connection refused or lost, daemon not running
  permission_denied,     ///< this process may not, for example open the daemon's socket
  tls_failure,           ///< handshake or certificate verification failed
  timed_out,             ///< a deadline passed
  cancelled,             ///< the caller cancelled
  locked,                ///< somebody else is writing the same ingest
  failed_precondition,   ///< the daemon is not in the state that the call needs
  out_of_space,          ///< disk or quota is full
  internal,              ///< a bug of ours
};

const boost::system::error_category& error_category() noexcept;
boost::system::error_code make_error_code(Errc code) noexcept;
std::string_view to_string(Errc code) noexcept;

/// The one exception type of awaitable functions. `what()` names the object concerned (reference, digest,
/// host or RPC), outermost first: "pull docker.io/library/a:1: layer sha256:…: GET https://…: 404 Not Found".
class Error : public std::exception {
 public:
  Error(Errc code, std::string message);

  Errc code() const noexcept { return code_; }
  boost::system::error_code error_code() const noexcept { return make_error_code(code_); }
  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& message() const noexcept { return message_; }

  /// The same failure, seen from one level further out.
  Error with_context(std::string_view context) const;

 private:
  Errc code_;
  std::string message_;
};

/// True where the same request may succeed later without anybody changing anything.
bool is_transient(Errc code) noexcept;

/// Turns whatever was thrown into an Error: an Error as it is, Asio's operation_aborted into `cancelled`,
/// other system errors by their category, anything else into `internal`.
Error as_error(const std::exception_ptr& failure);

/// Throws as_error(failure) with `context` before its message.
[[noreturn]] void rethrow_with_context(const std::exception_ptr& failure, std::string_view context);

}  // namespace lazypull

namespace boost::system {
template <>
struct is_error_code_enum<lazypull::Errc> : std::true_type {};
}  // namespace boost::system
