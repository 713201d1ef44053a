// Where the agent listens, and who may connect.

#include "tools/agent/agent_socket.hpp"

#include "engine/error.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <string>
#include <unistd.h>

namespace lazypull {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

::mode_t mode_of(const fs::path& path) {
  struct ::stat status{};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

sockaddr_un address_of(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

UniqueFd connect_to(const fs::path& path) {
  UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = address_of(path);
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    client.reset();
  return client;
}

Errc refusal(const fs::path& path) {
  try {
    const auto socket = AgentSocket::listen(path);
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr(path.parent_path().string()));
    return error.code();
  }
  return Errc::internal;
}

TEST(AgentSocket, IsForItsOwnerOnly) {
  const TempDir folder("agent-socket");
  const auto before = ::umask(0);
  const auto socket = AgentSocket::listen(folder / "run/agent.sock");
  ::umask(before);
  EXPECT_EQ(mode_of(folder / "run/agent.sock"), 0600U);
  EXPECT_EQ(mode_of(folder / "run"), 0700U);
}

TEST(AgentSocket, TakesConnectionsAndThenHasNoMore) {
  const TempDir folder("agent-socket");
  const auto socket = AgentSocket::listen(folder / "agent.sock");
  const auto client = connect_to(socket.path());
  ASSERT_TRUE(client);
  std::optional<::uid_t> refused;
  const auto connection = accept_connection(socket.fd(), refused);
  EXPECT_TRUE(connection);
  EXPECT_FALSE(refused);
  EXPECT_NE(::fcntl(connection.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_FALSE(accept_connection(socket.fd(), refused));
}

TEST(AgentSocket, IsRemovedInTheEnd) {
  const TempDir folder("agent-socket");
  {
    const auto socket = AgentSocket::listen(folder / "agent.sock");
  }
  EXPECT_FALSE(fs::exists(folder / "agent.sock"));
}

TEST(AgentSocket, ReplacesOneThatADeadProcessHasLeft) {
  const TempDir folder("agent-socket");
  const auto address = address_of(folder / "agent.sock");
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  const auto socket = AgentSocket::listen(folder / "agent.sock");
  EXPECT_TRUE(connect_to(socket.path()));
}

TEST(AgentSocket, LeavesALivingOneAlone) {
  const TempDir folder("agent-socket");
  const auto first = AgentSocket::listen(folder / "agent.sock");
  EXPECT_EQ(refusal(folder / "agent.sock"), Errc::failed_precondition);
  EXPECT_TRUE(connect_to(first.path()));
}

TEST(AgentSocket, DoesNotTakeThePlaceOfAFile) {
  const TempDir folder("agent-socket");
  test::write_file(folder / "agent.sock", "precious");
  EXPECT_EQ(refusal(folder / "agent.sock"), Errc::failed_precondition);
  EXPECT_EQ(test::read_file(folder / "agent.sock"), "precious");
}

TEST(AgentSocket, IsNotMadeWhereOthersMayWrite) {
  const TempDir folder("agent-socket");
  fs::create_directory(folder / "open");
  ::chmod((folder / "open").c_str(), 0777);
  EXPECT_EQ(refusal(folder / "open/agent.sock"), Errc::permission_denied);
  ::chmod((folder / "open").c_str(), 01777);
  EXPECT_EQ(refusal(folder / "open/agent.sock"), Errc::internal)
      << "nobody can replace it in a sticky folder";
}

TEST(AgentSocket, HasAnAbsolutePathThatFits) {
  EXPECT_THROW(AgentSocket::listen("agent.sock"), Error);
  EXPECT_THROW(AgentSocket::listen("/tmp/" + std::string(200, 'x')), Error);
}

TEST(AgentSocket, IsTakenFromNobodyWhoMeansAnotherProcess) {
  std::map<std::string, std::string> variables{{"LISTEN_FDS", "1"}, {"LISTEN_PID", "1"}};
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  EXPECT_FALSE(AgentSocket::inherited(environment));
  variables = {};
  EXPECT_FALSE(AgentSocket::inherited(environment));
  variables = {{"LISTEN_FDS", "2"}, {"LISTEN_PID", std::to_string(::getpid())}};
  EXPECT_THROW(AgentSocket::inherited(environment), Error);
}

}  // namespace
}  // namespace lazypull
