#include "tools/exit_code.hpp"

namespace lazypull {

ExitCode exit_code(Errc failure, FailureSource source) noexcept {
  if (source == FailureSource::set_up && failure != Errc::out_of_space) return ExitCode::containerd;
  const bool by_registry = source == FailureSource::registry;
  switch (failure) {
    case Errc::invalid_argument:
      return ExitCode::usage;
    case Errc::platform_not_found:
      return ExitCode::not_found;
    case Errc::not_found:
      return by_registry ? ExitCode::not_found : ExitCode::containerd;
    case Errc::unauthorized:
    case Errc::forbidden:
      return by_registry ? ExitCode::denied : ExitCode::containerd;
    case Errc::too_many_requests:
    case Errc::host_not_found:
    case Errc::tls_failure:
      return ExitCode::registry;
    case Errc::server_error:
    case Errc::unavailable:
    case Errc::timed_out:
      return by_registry ? ExitCode::registry : ExitCode::containerd;
    case Errc::bad_response:
    case Errc::digest_mismatch:
    case Errc::size_mismatch:
    case Errc::unsupported:
    case Errc::invalid_image:
      return ExitCode::content;
    case Errc::permission_denied:
    case Errc::failed_precondition:
      return ExitCode::containerd;
    case Errc::out_of_space:
      return ExitCode::out_of_space;
    case Errc::already_exists:
    case Errc::locked:
    case Errc::cancelled:
    case Errc::internal:
      return ExitCode::failure;
  }
  return ExitCode::failure;
}

std::string exit_code_help() {
  return R"(Exit codes:
  0    done
  1    any failure that has no code of its own
  2    usage: bad flags, bad reference, bad platform
  3    not found: image, tag, or nothing for the platform
  4    the registry wants other credentials
  5    the registry cannot be reached or fails (DNS, TCP, TLS, HTTP 429 or 5xx)
  6    the content does not verify, or is not an image
  7    containerd or the snapshotter cannot be reached, refuses or fails
  8    out of space
  11+  prewarm: 10 and the number of images that failed, at most 110
  124  --timeout or --deadline passed
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)
)";
}

}  // namespace lazypull
