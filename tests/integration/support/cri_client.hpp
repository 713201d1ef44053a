#pragma once

#include "tests/integration/support/agent_process.hpp"
#include "tests/integration/support/containerd.hpp"

#include <boost/json/value.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace lazypull::test {

/// What containerd needs to have its CRI plugin, for pods in the host's network.
ContainerdOptions containerd_with_cri(const std::string& sandbox_image);

/// Python's gRPC client with the messages of the CRI, for containerd's plugin, which has no reflection.
class CriClient {
 public:
  explicit CriClient(const std::filesystem::path& socket);

  /// `method` is "RuntimeService/RunPodSandbox".
  GenericAnswer call(const std::string& method, boost::json::object request = {});
  std::vector<GenericAnswer> calls(const std::vector<std::pair<std::string, boost::json::object>>& calls);
  /// The answer; throws unless it succeeds.
  boost::json::object ok(const std::string& method, boost::json::object request = {});

 private:
  std::string target_;
  TempDir folder_{"cri-client"};
};

}  // namespace lazypull::test
