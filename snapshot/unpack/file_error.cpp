#include "snapshot/unpack/file_error.hpp"

#include "engine/error.hpp"

#include <system_error>

#include <cerrno>
#include <string>

namespace lazypull {
namespace {

Errc code_of(int error_number) noexcept {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:  // of the file system, or RLIMIT_FSIZE
      return Errc::out_of_space;
    case EACCES:
    case EPERM:
    case EROFS:
      return Errc::permission_denied;
    case ENOSYS:
      return Errc::unsupported;
    case E2BIG:
    case EEXIST:
    case EILSEQ:
    case EINVAL:
    case EISDIR:
    case ELOOP:
    case EMLINK:
    case ENAMETOOLONG:
    case ENOENT:
    case ENOTDIR:
    case ERANGE:
    case EXDEV:
      return Errc::invalid_image;
    default:
      return Errc::internal;
  }
}

}  // namespace

void throw_file_error(std::string_view path, std::string_view doing, int error_number) {
  std::string message(path);
  message += ": ";
  message += doing;
  message += ": ";
  message += std::generic_category().message(error_number);
  if (error_number == ENOSYS) message += " (Linux 5.8 or later is needed)";
  throw Error(code_of(error_number), message);
}

void throw_bad_entry(std::string_view path, std::string_view why) {
  std::string message(path);
  message += ": ";
  message += why;
  throw Error(Errc::invalid_image, message);
}

}  // namespace lazypull
