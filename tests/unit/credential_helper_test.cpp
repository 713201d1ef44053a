// Docker's credential helpers: programs that know passwords.
#include "transport/credential_helper.hpp"

#include "engine/task_group.hpp"
#include "tests/support/registry_fixture.hpp"
#include "tests/support/temp_dir.hpp"
#include "transport/child_process.hpp"
#include "transport/docker_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

/// Helpers are shell scripts in a folder that PATH begins with.
class CredentialHelper : public ::testing::Test {
 protected:
  CredentialHelper() : path_(std::getenv("PATH")) {
    ::setenv("PATH", (bin.path().string() + ":" + path_).c_str(), 1);
  }
  ~CredentialHelper() override { ::setenv("PATH", path_.c_str(), 1); }

  void helper(const std::string& name, const std::string& script) {
    const auto file = bin / ("docker-credential-" + name);
    test::write_file(file, "#!/bin/sh\n" + script);
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }
  Credentials ask(const std::string& name, const std::string& server = "registry.example.com") {
    return test::value_of(home, ask_credential_helper(name, server));
  }
  Error refusal(const std::string& name, milliseconds limit = std::chrono::minutes(1)) {
    return test::error_of(home, ask_credential_helper(name, "registry.example.com", limit));
  }
  static void expect_no_children() {
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD) << "neither a process nor a zombie is left";
  }

  asio::io_context home{1};
  test::TempDir bin{"helpers"};

 private:
  std::string path_;
};

TEST_F(CredentialHelper, IsToldTheServerAndAnswersWithNameAndPassword) {
  helper("test", R"(read -r server; echo "{\"Username\": \"$1 $server\", \"Secret\": \"pass\"}")");
  const auto found = ask("test");
  EXPECT_EQ(found.username, "get registry.example.com");
  EXPECT_EQ(found.password, "pass");
  expect_no_children();
}

TEST_F(CredentialHelper, MayAnswerWithAnIdentityToken) {
  helper("test", R"(cat >&2; echo '{"ServerURL": "x", "Username": "<token>", "Secret": "it"}')");
  EXPECT_EQ(ask("test"), (Credentials{{}, {}, "it", {}}));
}

TEST_F(CredentialHelper, MayKnowNothing) {
  helper("test", "echo 'credentials not found in native keychain'; exit 1");
  EXPECT_TRUE(ask("test").empty());
}

TEST_F(CredentialHelper, MayLeaveItsInputUnread) {
  helper("test", R"(exec <&-; echo '{"Username": "u", "Secret": "p"}')");
  EXPECT_EQ(ask("test").username, "u");
}

TEST_F(CredentialHelper, ThatFailsIsQuotedInOneCleanLine) {
  helper("test", "printf 'the keychain\\tis locked\\nand more'; exit 3");
  const auto error = refusal("test");
  EXPECT_EQ(error.code(), Errc::unauthorized);
  EXPECT_EQ(error.message(),
            "credential helper docker-credential-test for registry.example.com: it ended with "
            "exit code 3: the keychain is locked");
}

TEST_F(CredentialHelper, ThatIsMissingIsNamed) {
  const auto error = refusal("nonexistent");
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_THAT(error.message(), HasSubstr("docker-credential-nonexistent: No such file or directory"));
  expect_no_children();
}

TEST_F(CredentialHelper, IsNeverLookedForElsewhere) {
  for (const auto* name : {"", "../x", "/bin/sh", "a b", "a;b", "a\nb"}) {
    const auto error = refusal(name);
    EXPECT_EQ(error.code(), Errc::invalid_argument) << name;
    EXPECT_THAT(error.message(), HasSubstr("is not a plain file name")) << name;
  }
}

TEST_F(CredentialHelper, ThatAnswersNonsenseIsNotQuoted) {
  for (const auto* answer :
       {"s3cret", "[\"s3cret\"]", "{\"Secret\": \"s3cret\"}", "{\"Username\": \"s3cret\"}"}) {
    helper("test", std::string("echo '") + answer + "'");
    const auto error = refusal("test");
    EXPECT_EQ(error.code(), Errc::bad_response) << answer;
    EXPECT_THAT(error.message(), Not(HasSubstr("s3cret")));
  }
}

TEST_F(CredentialHelper, ThatNeverEndsIsKilledWithItsChildren) {
  helper("test", "sleep 1000 & sleep 1000");
  const auto error = refusal("test", milliseconds(200));
  EXPECT_EQ(error.code(), Errc::timed_out);
  expect_no_children();
}

TEST_F(CredentialHelper, ThatTalksWithoutEndIsKilled) {
  helper("test", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
  EXPECT_EQ(refusal("test").code(), Errc::bad_response);
  expect_no_children();
}

TEST_F(CredentialHelper, ThatIsKilledIsAFailure) {
  helper("test", "kill -9 $$");
  EXPECT_THAT(refusal("test").message(), HasSubstr("exit code 137"));
}

TEST_F(CredentialHelper, CanBeCancelled) {
  const auto started = bin / "started";
  helper("test", "echo > " + started.string() + "; sleep 1000");
  const auto when = [&] { return std::filesystem::exists(started); };
  const auto error =
      test::error_after_cancel(home, ask_credential_helper("test", "registry.example.com"), when);
  EXPECT_EQ(error.code(), Errc::cancelled);
  expect_no_children();
}

/// Helpers as a config.json names them.
class ConfiguredHelper : public CredentialHelper {
 protected:
  ConfiguredHelper() {
    for (const auto* name : {"one", "two"}) {
      helper(name, std::string("read -r server; echo x >> ") + (bin / "runs").string() +
                       "; echo \"{\\\"Username\\\": \\\"" + name +
                       " $server\\\", \\\"Secret\\\": \\\"p\\\"}\"");
    }
    helper("empty", "echo 'credentials not found in native keychain'; exit 1");
  }
  Credentials find(const std::string& config, const std::string& domain) {
    test::write_file(bin / "config.json", config);
    return test::value_of(home, store.find(domain, "app"));
  }
  std::size_t runs() const { return test::read_file(bin / "runs").size() / 2; }

  DockerConfigCredentials store{{bin / "config.json"}};
};

TEST_F(ConfiguredHelper, IsThatOfTheHostOrTheOneForAll) {
  const std::string config = R"({"credHelpers": {"registry.example.com": "one"}, "credsStore": "two"})";
  EXPECT_EQ(find(config, "registry.example.com").username, "one registry.example.com");
  EXPECT_EQ(find(config, "other.example.com:5000").username, "two other.example.com:5000");
}

TEST_F(ConfiguredHelper, KnowsDockerHubByItsOldUrl) {
  const std::string config = R"({"credHelpers": {"https://index.docker.io/v1/": "one"}})";
  EXPECT_EQ(find(config, "docker.io").username, "one https://index.docker.io/v1/");
}

TEST_F(ConfiguredHelper, GoesBeforeAuthsWhichCountWhereItKnowsNothing) {
  const std::string auths = R"("auths": {"h.example.com": {"username": "file", "password": "p"}})";
  EXPECT_EQ(find("{\"credsStore\": \"one\", " + auths + "}", "h.example.com").username, "one h.example.com");
  EXPECT_EQ(find("{\"credsStore\": \"empty\", " + auths + "}", "h.example.com").username, "file");
}

TEST_F(ConfiguredHelper, RunsOnceForThoseWhoWantTheSame) {
  test::write_file(bin / "config.json", R"({"credsStore": "one"})");
  test::run_on(home, with_task_group([&](TaskGroup& group) -> Awaitable<> {
                 const auto one = [](DockerConfigCredentials& from) -> Awaitable<> {
                   const auto found = co_await from.find("h.example.com", "app");
                   EXPECT_EQ(found.username, "one h.example.com");
                 };
                 for (int i = 0; i < 5; ++i) group.spawn(one(store));
                 co_return;
               }));
  find(R"({"credsStore": "one"})", "h.example.com");
  EXPECT_EQ(runs(), 1U);
  find(R"({"credsStore": "one"})", "other.example.com");
  EXPECT_EQ(runs(), 2U);
}

}  // namespace
}  // namespace lazypull
