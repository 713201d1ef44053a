#include "tests/integration/support/unix_socket.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <unistd.h>

namespace lazypull::test {

bool accepts_connections(const std::filesystem::path& socket) {
  const int file = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket.c_str(), sizeof address.sun_path - 1);
  const bool connected = ::connect(file, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(file);
  return connected;
}

}  // namespace lazypull::test
