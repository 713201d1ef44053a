#include "tests/integration/support/agent_process.hpp"

#include "tests/integration/support/unix_socket.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <sstream>
#include <stdexcept>

namespace lazypull::test {

namespace json = boost::json;

Scrape::Scrape(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto blank = line.rfind(' ');
    if (line.starts_with('#') || blank == std::string::npos) continue;
    values_[line.substr(0, blank)] = std::stod(line.substr(blank + 1));
  }
}

double Scrape::operator()(const std::string& series) const {
  const auto found = values_.find(series);
  return found == values_.end() ? 0 : found->second;
}

double Scrape::sum(const std::string& name) const {
  double sum = 0;
  for (const auto& [series, value] : values_) {
    if (series == name || series.starts_with(name + "{")) sum += value;
  }
  return sum;
}

AgentProcess::AgentProcess(Containerd& containerd, AgentOptions options) {
  const auto config = folder_ / "agent.toml";
  write_file(config, "socket = \"" + socket().string() + "\"\n" + options.top +
                         "\n[containerd]\naddress = \"" + containerd.socket().string() +
                         "\"\n[metrics]\naddress = \"unix:" + (folder_ / "metrics.sock").string() +
                         "\"\n[debug]\naddress = \"unix:" + debug_socket().string() +
                         "\"\n[log]\nformat = \"json\"\nlevel = \"" + options.log_level + "\"\n" +
                         options.sections);
  ProcessOptions process;
  // Whoever runs the tests may have credentials; they are none of the tests' business.
  process.env = {{"DOCKER_CONFIG", "/nonexistent"}, {"HOME", "/nonexistent"}, {"NOTIFY_SOCKET", ""}};
  process_.emplace(Argv{LAZYPULL_BINARY, "agent", "--config", config}, process);
  wait_until(
      [&] {
        if (!process_->running()) throw std::runtime_error("the agent ended: " + process_->err());
        return accepts_connections(socket()) && accepts_connections(folder_ / "metrics.sock");
      },
      "the agent to serve");
}

Scrape AgentProcess::scrape() const {
  return Scrape(http_get(folder_ / "metrics.sock", "/metrics"));
}

std::string AgentProcess::debug_tasks() const {
  return http_get(debug_socket(), "/debug/tasks");
}

std::vector<json::object> AgentProcess::log_lines(std::string_view event) const {
  std::vector<json::object> found;
  std::istringstream lines(log());
  for (std::string line; std::getline(lines, line);) {
    auto object = json::parse(line).as_object();
    if (std::string(object.at("event").as_string()) == event) found.push_back(std::move(object));
  }
  return found;
}

std::string http_get(const std::filesystem::path& socket, const std::string& path) {
  return run_ok({"curl", "--silent", "--show-error", "--fail", "--max-time", "20", "--unix-socket", socket,
                 "http://agent" + path});
}

GenericClient::GenericClient(std::string target) : target_(std::move(target)) {
  for (const std::string proto : {"reflection/v1alpha/reflection.proto", "health/v1/health.proto"}) {
    const auto file = std::filesystem::path("/usr/share/grpc-proto/grpc") / proto;
    run_ok({"protoc", "--proto_path", file.parent_path(), "--python_out", folder_.path(), file});
  }
}

Argv GenericClient::command_line() const {
  return {"/usr/bin/python3", std::string(LAZYPULL_PEERS_SOURCE) + "/grpc_client.py", folder_.path(),
          target_};
}

std::vector<json::object> GenericClient::run(const std::vector<json::object>& lines) {
  ProcessOptions options;
  options.timeout = std::chrono::seconds(120);
  for (const auto& line : lines) options.input += json::serialize(line) + "\n";
  std::istringstream output(run_ok(command_line(), options));
  std::vector<json::object> answers;
  for (std::string line; std::getline(output, line);) answers.push_back(json::parse(line).as_object());
  if (answers.size() != lines.size()) throw std::runtime_error("the client has not answered everything");
  return answers;
}

namespace {

std::vector<std::string> names(const json::object& answer) {
  std::vector<std::string> all;
  for (const auto& name : answer.at("names").as_array()) all.emplace_back(name.as_string());
  return all;
}

json::object line_of(const GenericCall& call) {
  return {{"method", call.method},
          {"request", call.request},
          {"pause", call.pause},
          {"cancel_after", call.cancel_after}};
}

}  // namespace

std::vector<std::string> GenericClient::services() {
  return names(run({{{"services", true}}}).at(0));
}

std::vector<std::string> GenericClient::methods(const std::string& service) {
  return names(run({{{"methods", service}}}).at(0));
}

GenericAnswer GenericClient::call(const GenericCall& call) {
  return calls({call}).at(0);
}

std::vector<GenericAnswer> GenericClient::calls(const std::vector<GenericCall>& calls) {
  std::vector<json::object> lines;
  for (const auto& call : calls) lines.push_back(line_of(call));
  std::vector<GenericAnswer> answers;
  for (const auto& answer : run(lines)) {
    answers.push_back({std::string(answer.at("code").as_string()),
                       std::string(answer.at("details").as_string()), answer.at("messages").as_array()});
  }
  return answers;
}

Process GenericClient::start(const GenericCall& call) {
  ProcessOptions options;
  options.input = json::serialize(line_of(call)) + "\n";
  return Process(command_line(), options);
}

}  // namespace lazypull::test
