#include "tools/snapshotter_notify.hpp"

#include "snapshot/unpack/unique_fd.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

namespace lazypull {

bool notify_service_manager(const std::string& socket, std::string_view state) {
  sockaddr_un address{};
  const bool usable = !socket.empty() && (socket.front() == '/' || socket.front() == '@');
  if (!usable || socket.size() >= sizeof address.sun_path) return false;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket.data(), socket.size());
  if (socket.front() == '@') address.sun_path[0] = '\0';
  const UniqueFd file(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!file) return false;
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket.size());
  const auto sent = ::sendto(file.get(), state.data(), state.size(), MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&address), length);
  return sent == static_cast<::ssize_t>(state.size());
}

}  // namespace lazypull
