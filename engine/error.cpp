#include "engine/error.hpp"

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <system_error>

#include <cerrno>
#include <new>
#include <utility>

namespace lazypull {

namespace {

class Category final : public boost::system::error_category {
 public:
  const char* name() const noexcept override { return "lazypull"; }
  std::string message(int value) const override { return std::string(to_string(static_cast<Errc>(value))); }
};

Errc from_errno(int value) noexcept {
  switch (value) {
    case ECANCELED:
      return Errc::cancelled;
    case ETIMEDOUT:
      return Errc::timed_out;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENETRESET:
    case ENOTCONN:
    case ESHUTDOWN:
    case EPIPE:
      return Errc::unavailable;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Errc::out_of_space;
    case EACCES:
    case EPERM:
    case EROFS:
      return Errc::permission_denied;
    case ENOENT:
      return Errc::not_found;
    case EEXIST:
      return Errc::already_exists;
    case EOPNOTSUPP:
    case ENOSYS:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
      return Errc::unsupported;
    default:
      return Errc::internal;
  }
}

/// Categories of libraries that the engine does not know, by their names.
Errc from_named_category(std::string_view name, int value) noexcept {
  if (name == "asio.ssl") return Errc::tls_failure;
  if (name == "asio.ssl.stream") {
    constexpr int stream_truncated = 1;  // the peer hung up without a TLS farewell
    return value == stream_truncated ? Errc::unavailable : Errc::tls_failure;
  }
  if (name == "boost.beast") {
    constexpr int timeout = 1;
    return value == timeout ? Errc::timed_out : Errc::internal;
  }
  if (name == "beast.http") {
    constexpr int end_of_stream = 1;
    constexpr int partial_message = 2;
    return value == end_of_stream || value == partial_message ? Errc::unavailable : Errc::bad_response;
  }
  if (name == "boost.json") return Errc::bad_response;
  return Errc::internal;
}

Errc from_netdb(int value) noexcept {
  namespace netdb = boost::asio::error;
  // A name server that does not answer now may do so later; a name that does not exist will not.
  return value == netdb::host_not_found_try_again ? Errc::unavailable : Errc::host_not_found;
}

Errc classify(const boost::system::error_code& code) noexcept {
  const auto& category = code.category();
  if (category == error_category()) return static_cast<Errc>(code.value());
  if (category == boost::system::system_category() || category == boost::system::generic_category()) {
    return from_errno(code.value());
  }
  if (category == boost::asio::error::get_netdb_category()) return from_netdb(code.value());
  if (category == boost::asio::error::get_addrinfo_category()) return Errc::host_not_found;
  if (category == boost::asio::error::get_misc_category()) {
    return code.value() == boost::asio::error::eof ? Errc::unavailable : Errc::internal;
  }
  return from_named_category(category.name(), code.value());
}

Errc classify(const std::error_code& code) noexcept {
  const auto& category = code.category();
  if (category == std::system_category() || category == std::generic_category()) {
    return from_errno(code.value());
  }
  return from_named_category(category.name(), code.value());
}

/// What the thrower said, without the category, number and source location that Boost appends.
std::string without_location(const boost::system::system_error& failure) {
  std::string text = failure.what();
  const auto appended = failure.code().what();
  if (!text.ends_with(appended)) return text;
  text.resize(text.size() - appended.size());
  return text + failure.code().message();
}

Error describe_current_exception() {
  try {
    throw;
  } catch (const Error& failure) {
    return failure;
  } catch (const boost::system::system_error& failure) {
    return {classify(failure.code()), without_location(failure)};
  } catch (const std::system_error& failure) {
    return {classify(failure.code()), failure.what()};
  } catch (const std::bad_alloc&) {
    return {Errc::internal, "out of memory"};
  } catch (const std::exception& failure) {
    return {Errc::internal, failure.what()};
  } catch (...) {
    return {Errc::internal, "an exception of an unknown type"};
  }
}

}  // namespace

const boost::system::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

boost::system::error_code make_error_code(Errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}

std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument:
      return "invalid argument";
    case Errc::not_found:
      return "not found";
    case Errc::already_exists:
      return "already exists";
    case Errc::unauthorized:
      return "unauthorized";
    case Errc::forbidden:
      return "forbidden";
    case Errc::too_many_requests:
      return "too many requests";
    case Errc::server_error:
      return "server error";
    case Errc::bad_response:
      return "bad response";
    case Errc::digest_mismatch:
      return "digest mismatch";
    case Errc::size_mismatch:
      return "size mismatch";
    case Errc::unsupported:
      return "unsupported";
    case Errc::platform_not_found:
      return "platform not found";
    case Errc::invalid_image:
      return "invalid image";
    case Errc::host_not_found:
      return "host not found";
    case Errc::unavailable:
      return "unavailable";
    case Errc::permission_denied:
      return "permission denied";
    case Errc::tls_failure:
      return "TLS failure";
    case Errc::timed_out:
      return "timed out";
    case Errc::cancelled:
      return "cancelled";
    case Errc::locked:
      return "locked";
    case Errc::failed_precondition:
      return "failed precondition";
    case Errc::out_of_space:
      return "out of space";
    case Errc::internal:
      return "internal error";
  }
  return "unknown error";
}

Error::Error(Errc code, std::string message) : code_(code), message_(std::move(message)) {}

Error Error::with_context(std::string_view context) const {
  std::string message(context);
  message += ": ";
  message += message_;
  return {code_, std::move(message)};
}

bool is_transient(Errc code) noexcept {
  switch (code) {
    case Errc::too_many_requests:
    case Errc::server_error:
    case Errc::unavailable:
    case Errc::timed_out:
    case Errc::locked:
      return true;
    default:
      return false;
  }
}

Error as_error(const std::exception_ptr& failure) {
  if (!failure) return {Errc::internal, "a failure without an exception"};
  try {
    std::rethrow_exception(failure);
  } catch (...) {
    return describe_current_exception();
  }
}

void rethrow_with_context(const std::exception_ptr& failure, std::string_view context) {
  throw as_error(failure).with_context(context);
}

}  // namespace lazypull
