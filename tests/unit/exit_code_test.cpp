#include "tools/exit_code.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace lazypull {
namespace {

using enum ExitCode;

struct Row {
  Errc failure;
  ExitCode from_registry;
  ExitCode from_elsewhere;
};

const std::vector<Row>& table() {
  static const std::vector<Row> rows{
      {Errc::invalid_argument, usage, usage},
      {Errc::not_found, not_found, containerd},
      {Errc::already_exists, failure, failure},
      {Errc::unauthorized, denied, containerd},
      {Errc::forbidden, denied, containerd},
      {Errc::too_many_requests, registry, registry},
      {Errc::server_error, registry, containerd},
      {Errc::bad_response, content, content},
      {Errc::digest_mismatch, content, content},
      {Errc::size_mismatch, content, content},
      {Errc::unsupported, content, content},
      {Errc::platform_not_found, not_found, not_found},
      {Errc::invalid_image, content, content},
      {Errc::host_not_found, registry, registry},
      {Errc::unavailable, registry, containerd},
      {Errc::permission_denied, containerd, containerd},
      {Errc::tls_failure, registry, registry},
      {Errc::timed_out, registry, containerd},
      {Errc::cancelled, failure, failure},
      {Errc::locked, failure, failure},
      {Errc::failed_precondition, containerd, containerd},
      {Errc::out_of_space, out_of_space, out_of_space},
      {Errc::internal, failure, failure},
  };
  return rows;
}

TEST(ExitCode, EveryKindOfFailureHasItsCode) {
  for (const auto& row : table()) {
    EXPECT_EQ(exit_code(row.failure, FailureSource::registry), row.from_registry) << to_string(row.failure);
    EXPECT_EQ(exit_code(row.failure, FailureSource::other), row.from_elsewhere) << to_string(row.failure);
  }
}

TEST(ExitCode, TheTableLeavesNoKindOut) {
  std::set<Errc> kinds;
  for (const auto& row : table()) kinds.insert(row.failure);
  EXPECT_EQ(kinds.size(), static_cast<std::size_t>(Errc::internal));
}

TEST(ExitCode, SettingUpTheBackendFailsAsContainerdUnlessTheDiskIsFull) {
  for (const auto& row : table()) {
    const auto expected = row.failure == Errc::out_of_space ? out_of_space : containerd;
    EXPECT_EQ(exit_code(row.failure, FailureSource::set_up), expected) << to_string(row.failure);
  }
}

TEST(ExitCode, NoFailureExitsWithZero) {
  for (const auto& row : table()) {
    EXPECT_NE(row.from_registry, ok);
    EXPECT_NE(row.from_elsewhere, ok);
  }
}

TEST(ExitCode, HelpDocumentsEveryCode) {
  const std::string help = "\n" + exit_code_help();
  for (const auto code : {ok, failure, usage, not_found, denied, registry, content, containerd, out_of_space,
                          timed_out, interrupted, terminated}) {
    EXPECT_NE(help.find("\n  " + std::to_string(static_cast<int>(code)) + " "), std::string::npos)
        << static_cast<int>(code);
  }
}

}  // namespace
}  // namespace lazypull
