// The node agent as a daemon: its socket and who may use it, service managers, changes of its files, and how
// it ends.

#include "tests/integration/support/agent_process.hpp"
#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <poll.h>
#include <string>
#include <unistd.h>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

constexpr const char* space = "k8s.io";
const std::string service = "runtime.v1.ImageService/";
const std::string own = "lazypull.agent.v1.Agent/";

json::object spec(const std::string& image) {
  return {{"image", json::object{{"image", image}}}};
}

json::object bandwidth(std::uint64_t rate) {
  return {{"bandwidths",
           json::array{json::object{{"pull_class", "PULL_CLASS_SERVING"}, {"bytes_per_second", rate}}}}};
}

Image small_image(std::uint64_t seed) {
  return ImageBuilder().layer({tar::file("own", tar::noise(60'000, seed))}).build();
}

/// What systemd is for a service of type notify.
class ServiceManager {
 public:
  explicit ServiceManager(const fs::path& path) {
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~ServiceManager() { ::close(socket_); }
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  /// "" if it is told nothing for 20 seconds.
  std::string next() {
    pollfd readable{.fd = socket_, .events = POLLIN, .revents = 0};
    std::array<char, 512> text{};
    if (::poll(&readable, 1, 20'000) <= 0) return {};
    const auto length = ::recv(socket_, text.data(), text.size(), 0);
    return {text.data(), static_cast<std::size_t>(length > 0 ? length : 0)};
  }

 private:
  int socket_ = -1;
};

class AgentDaemonTest : public ::testing::Test {
 protected:
  Argv command_line(Argv more = {}) {
    Argv argv{LAZYPULL_BINARY, "agent", "--socket", socket(), "--address", containerd.socket()};
    argv.insert(argv.end(), more.begin(), more.end());
    return argv;
  }
  fs::path socket() const { return folder / "run/agent.sock"; }
  static void wait_until_it_serves(Process& agent) {
    wait_until(
        [&] {
          if (!agent.running()) throw std::runtime_error("the agent ended: " + agent.err());
          return agent.err().find("serving") != std::string::npos;
        },
        "the agent to serve");
  }
  GenericClient client() const { return GenericClient("unix:" + socket().string()); }

  TempDir folder{"agent-daemon"};
  Containerd containerd;
};

TEST_F(AgentDaemonTest, ItsSocketIsForRootOnly) {
  Process agent(command_line());
  wait_until_it_serves(agent);
  struct ::stat status{};
  ASSERT_EQ(::stat(socket().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  ASSERT_EQ(::stat(socket().parent_path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700U);

  // Even where somebody opens the way by mistake.
  ::chmod(folder.path().c_str(), 0755);
  ::chmod(socket().parent_path().c_str(), 0755);
  ::chmod(socket().c_str(), 0666);
  const auto other = run({"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "curl",
                          "--silent", "--max-time", "5", "--http2-prior-knowledge", "--unix-socket", socket(),
                          "http://agent/runtime.v1.ImageService/ListImages"});
  EXPECT_NE(other.exit_code, 0);
  wait_until([&] { return agent.err().find("a connection is refused") != std::string::npos; },
             "the refusal in the log");
  EXPECT_EQ(client().call({service + "ListImages"}).code, "OK");
  EXPECT_EQ(agent.stop(), 0);
  EXPECT_FALSE(fs::exists(socket()));
}

TEST_F(AgentDaemonTest, OneThatServesIsLeftAloneAndOneThatWasKilledIsReplaced) {
  Process first(command_line());
  wait_until_it_serves(first);
  const auto second = run(command_line());
  EXPECT_NE(second.exit_code, 0);
  EXPECT_THAT(second.err, HasSubstr("is served by another process"));
  first.kill();
  EXPECT_TRUE(fs::exists(socket()));
  Process third(command_line());
  wait_until_it_serves(third);
  EXPECT_EQ(client().call({service + "ListImages"}).code, "OK");
}

TEST_F(AgentDaemonTest, AFolderThatOthersMayWriteToIsRefused) {
  fs::create_directory(folder / "run");
  ::chmod((folder / "run").c_str(), 0777);
  const auto refused = run(command_line());
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("others than root"));
}

TEST_F(AgentDaemonTest, TellsTheServiceManagerWhenItServesReloadsAndStops) {
  ServiceManager manager(folder / "notify");
  ProcessOptions options;
  options.env["NOTIFY_SOCKET"] = folder / "notify";
  Process agent(command_line(), options);
  EXPECT_THAT(manager.next(), StartsWith("READY=1"));
  agent.signal(SIGHUP);
  EXPECT_THAT(manager.next(), StartsWith("RELOADING=1\nMONOTONIC_USEC="));
  EXPECT_THAT(manager.next(), StartsWith("READY=1"));
  agent.signal(SIGTERM);
  EXPECT_THAT(manager.next(), StartsWith("STOPPING=1"));
  EXPECT_EQ(agent.wait(std::chrono::seconds(20)), 0);
}

TEST_F(AgentDaemonTest, ServesASocketThatTheServiceManagerHandsOver) {
  fs::create_directory(folder / "run");
  const auto activate = [&](const std::string& mode) {
    const std::string script =
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o" +
        mode +
        "); s.listen()\n"
        "os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n";
    Argv argv{"/usr/bin/python3",
              "-c",
              script,
              socket(),
              LAZYPULL_BINARY,
              "agent",
              "--socket",
              folder / "not-this.sock",
              "--address",
              containerd.socket()};
    return Process(argv);
  };
  {
    auto agent = activate("600");
    wait_until_it_serves(agent);
    EXPECT_EQ(client().call({service + "ListImages"}).code, "OK");
    EXPECT_FALSE(fs::exists(folder / "not-this.sock"));
    EXPECT_EQ(agent.stop(std::chrono::seconds(20)), 0);
    EXPECT_TRUE(fs::exists(socket())) << "it is the service manager's";
  }
  fs::remove(socket());
  auto open = activate("666");
  const auto code = open.wait(std::chrono::seconds(20));
  ASSERT_TRUE(code);
  EXPECT_NE(*code, 0);
  EXPECT_THAT(open.err(), HasSubstr("others than root may connect"));
}

TEST_F(AgentDaemonTest, WaitsForAContainerdThatComesLater) {
  containerd.stop();
  Process agent(command_line());
  wait_until([&] { return agent.err().find("waiting for containerd") != std::string::npos; },
             "the agent to wait");
  containerd.start();
  wait_until(
      [&] {
        return agent.err().find("\"serving\"") != std::string::npos ||
               agent.err().find(" serving ") != std::string::npos;
      },
      "the agent to serve");
  EXPECT_EQ(client().call({service + "ListImages"}).code, "OK");
}

TEST_F(AgentDaemonTest, CanBeStoppedWhileItWaitsForContainerd) {
  containerd.stop();
  Process agent(command_line());
  wait_until([&] { return agent.err().find("waiting for containerd") != std::string::npos; },
             "the agent to wait");
  agent.signal(SIGTERM);
  EXPECT_EQ(agent.wait(std::chrono::seconds(20)), 0);
}

TEST_F(AgentDaemonTest, CredentialsAndHostsAreReadAnewWhenTheirFilesChange) {
  const Credentials alice{"alice", "wonderland"};
  Registry registry({.basic = alice});
  const auto reference = registry.store(small_image(1), "app:1");
  fs::create_directories(folder / "docker");
  fs::create_directories(folder / "certs.d");
  Process agent(
      command_line({"--docker-config", folder / "docker/config.json", "--hosts-dir", folder / "certs.d"}));
  wait_until_it_serves(agent);
  auto generic = client();
  EXPECT_EQ(generic.call({service + "PullImage", spec(reference)}).code, "UNAUTHENTICATED");

  write_file(
      folder / "docker/config.json",
      "{\"auths\": {\"" + registry.host() + "\": {\"username\": \"alice\", \"password\": \"wonderland\"}}}");
  const auto reloads = [&] {
    const auto log = agent.err();
    std::size_t count = 0;
    for (auto at = log.find("read anew"); at != std::string::npos; at = log.find("read anew", at + 1))
      ++count;
    return count;
  };
  wait_until([&] { return reloads() == 1; }, "the change to be noticed");
  EXPECT_EQ(generic.call({service + "PullImage", spec(reference)}).code, "OK");

  // A name that only hosts.toml knows.
  const std::string alias = "registry.example.com/app:1";
  write_file(folder / "certs.d/registry.example.com/hosts.toml",
             "server = \"http://" + registry.host() + "\"\n[host.\"http://" + registry.host() +
                 "\".header]\nAuthorization = \"Basic YWxpY2U6d29uZGVybGFuZA==\"\n");
  wait_until([&] { return reloads() >= 2; }, "the change to be noticed");
  const auto pulled = generic.call({service + "PullImage", spec(alias)});
  EXPECT_EQ(pulled.code, "OK") << pulled.details;
  EXPECT_THAT(agent.err(), Not(HasSubstr(alice.password)));
}

TEST_F(AgentDaemonTest, PullsUnderWayFinishAfterSigtermAndNewOnesAreRefused) {
  Registry registry;
  const auto reference = registry.store(small_image(2), "app:1");
  const auto other = registry.store(small_image(3), "other:1");
  Process agent(command_line({"--drain-timeout", "60s"}));
  wait_until_it_serves(agent);
  auto generic = client();
  ASSERT_EQ(generic.call({own + "SetBandwidth", bandwidth(20'000)}).code, "OK");
  auto running = generic.start({service + "PullImage", spec(reference)});
  wait_until([&] { return generic.call({own + "ListPulls"}).messages.at(0).as_object().contains("pulls"); },
             "the pull to run");
  agent.signal(SIGTERM);
  wait_until([&] { return agent.err().find("stopping") != std::string::npos; }, "the agent to drain");
  EXPECT_EQ(generic.call({service + "PullImage", spec(other)}).code, "UNAVAILABLE");
  const auto health = generic.call({"grpc.health.v1.Health/Check"});
  EXPECT_EQ(health.messages.at(0).as_object().at("status").as_string(), "NOT_SERVING");
  EXPECT_EQ(running.wait(std::chrono::seconds(30)), 0);
  EXPECT_THAT(running.out(), HasSubstr("\"code\": \"OK\""));
  EXPECT_EQ(agent.wait(std::chrono::seconds(20)), 0);
  EXPECT_THAT(read_state(containerd, "overlayfs", space).images, SizeIs(3));
}

TEST_F(AgentDaemonTest, PullsThatTakeTooLongAreCancelledAndLeaveNothing) {
  Registry registry;
  const auto reference = registry.store(small_image(4), "app:1");
  Process agent(command_line({"--drain-timeout", "100ms"}));
  wait_until_it_serves(agent);
  auto generic = client();
  ASSERT_EQ(generic.call({own + "SetBandwidth", bandwidth(1000)}).code, "OK");
  auto running = generic.start({service + "PullImage", spec(reference)});
  wait_until([&] { return generic.call({own + "ListPulls"}).messages.at(0).as_object().contains("pulls"); },
             "the pull to run");
  agent.signal(SIGTERM);
  EXPECT_EQ(agent.wait(std::chrono::seconds(20)), 0);
  EXPECT_EQ(running.wait(std::chrono::seconds(20)), 0);
  EXPECT_THAT(running.out(), HasSubstr("CANCELLED"));
  const auto state = read_state(containerd, "overlayfs", space);
  EXPECT_THAT(state.images, IsEmpty());
  EXPECT_THAT(state.leases, IsEmpty());
}

TEST_F(AgentDaemonTest, ASecondSignalCancelsPullsAtOnce) {
  Registry registry;
  const auto reference = registry.store(small_image(5), "app:1");
  Process agent(command_line({"--drain-timeout", "10m"}));
  wait_until_it_serves(agent);
  auto generic = client();
  ASSERT_EQ(generic.call({own + "SetBandwidth", bandwidth(1000)}).code, "OK");
  auto running = generic.start({service + "PullImage", spec(reference)});
  wait_until([&] { return generic.call({own + "ListPulls"}).messages.at(0).as_object().contains("pulls"); },
             "the pull to run");
  agent.signal(SIGTERM);
  wait_until([&] { return agent.err().find("stopping") != std::string::npos; }, "the agent to drain");
  agent.signal(SIGTERM);
  EXPECT_EQ(agent.wait(std::chrono::seconds(20)), 0);
  EXPECT_THAT(read_state(containerd, "overlayfs", space).leases, IsEmpty());
}

TEST_F(AgentDaemonTest, GoesOnWhenContainerdIsRestarted) {
  Registry registry;
  const auto first = registry.store(small_image(6), "app:1");
  const auto second = registry.store(small_image(7), "other:1");
  Process agent(command_line());
  wait_until_it_serves(agent);
  auto generic = client();
  EXPECT_EQ(generic.call({service + "PullImage", spec(first)}).code, "OK");
  containerd.restart();
  EXPECT_EQ(generic.call({service + "PullImage", spec(second)}).code, "OK");
  EXPECT_EQ(generic.call({service + "ListImages"}).messages.at(0).as_object().at("images").as_array().size(),
            2U);
}

TEST_F(AgentDaemonTest, ASettingThatIsWrongIsSaidAtOnce) {
  write_file(folder / "agent.toml", "socket = 1\n");
  const auto wrong = run({LAZYPULL_BINARY, "agent", "--config", folder / "agent.toml", "--check"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("agent.toml: line 1: socket: it is not a string"));
  write_file(folder / "agent.toml", "[limits]\nmax_concurrent_pulls = 4\n");
  EXPECT_EQ(run({LAZYPULL_BINARY, "agent", "--config", folder / "agent.toml", "--check"}).exit_code, 0);
}

}  // namespace
}  // namespace lazypull::test
