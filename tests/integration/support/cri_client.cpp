#include "tests/integration/support/cri_client.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <sstream>
#include <stdexcept>

namespace lazypull::test {

namespace json = boost::json;

ContainerdOptions containerd_with_cri(const std::string& sandbox_image) {
  ContainerdOptions options;
  options.cri = true;
  options.extra_config = R"(
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = ")" + sandbox_image +
                         R"("
disable_apparmor = true
restrict_oom_score_adj = true
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/nonexistent/bin"
conf_dir = "/nonexistent/net.d"
)";
  return options;
}

CriClient::CriClient(const std::filesystem::path& socket) : target_("unix:" + socket.string()) {
  const std::filesystem::path protos = LAZYPULL_PROTO_SOURCE;
  run_ok({"protoc", "--proto_path", protos, "--python_out", folder_.path(), protos / "cri/api.proto"});
}

std::vector<GenericAnswer> CriClient::calls(const std::vector<std::pair<std::string, json::object>>& calls) {
  ProcessOptions options;
  options.timeout = std::chrono::seconds(120);
  for (const auto& [method, request] : calls) {
    options.input += json::serialize(json::object{{"method", method}, {"request", request}}) + "\n";
  }
  std::istringstream output(run_ok(
      {"/usr/bin/python3", std::string(LAZYPULL_PEERS_SOURCE) + "/cri_client.py", folder_.path(), target_},
      options));
  std::vector<GenericAnswer> answers;
  for (std::string line; std::getline(output, line);) {
    const auto answer = json::parse(line).as_object();
    answers.push_back({std::string(answer.at("code").as_string()),
                       std::string(answer.at("details").as_string()), answer.at("messages").as_array()});
  }
  if (answers.size() != calls.size()) throw std::runtime_error("the client has not answered everything");
  return answers;
}

GenericAnswer CriClient::call(const std::string& method, json::object request) {
  return calls({{method, std::move(request)}}).at(0);
}

json::object CriClient::ok(const std::string& method, json::object request) {
  const auto answer = call(method, std::move(request));
  if (answer.code != "OK") throw std::runtime_error(method + ": " + answer.code + ": " + answer.details);
  return answer.messages.at(0).as_object();
}

}  // namespace lazypull::test
