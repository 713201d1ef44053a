#pragma once

#include "tests/integration/support/containerd.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <boost/json/value.hpp>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lazypull::test {

/// A scrape: values by their time series, exactly as it is written: `name{label="value"}`.
class Scrape {
 public:
  explicit Scrape(const std::string& text);
  /// 0 where there is no such series.
  double operator()(const std::string& series) const;
  bool has(const std::string& series) const { return values_.contains(series); }
  /// Of all series of that name.
  double sum(const std::string& name) const;
  /// Names of all series, for messages.
  const std::map<std::string, double>& values() const { return values_; }

 private:
  std::map<std::string, double> values_;
};

struct AgentOptions {
  /// TOML: settings of the top level, before all sections.
  std::string top = {};
  /// TOML: further sections; [containerd], [metrics], [debug] and [log] are there already.
  std::string sections = {};
  std::string log_level = "info";
};

/// `lazypull agent` as it was built, with containerd's overlayfs snapshotter and the namespace k8s.io. Its
/// log is JSON lines.
class AgentProcess {
 public:
  explicit AgentProcess(Containerd& containerd, AgentOptions options = {});

  std::filesystem::path socket() const { return folder_ / "agent.sock"; }
  std::string target() const { return "unix:" + socket().string(); }
  std::filesystem::path debug_socket() const { return folder_ / "debug.sock"; }
  pid_t pid() const { return process_->pid(); }
  bool running() { return process_->running(); }
  void signal(int number) { process_->signal(number); }
  std::optional<int> wait(std::chrono::milliseconds limit) { return process_->wait(limit); }

  Scrape scrape() const;
  std::string debug_tasks() const;
  std::string log() const { return process_->err(); }
  /// The log's lines of one event.
  std::vector<boost::json::object> log_lines(std::string_view event) const;

  /// SIGTERM and a long patience. Returns the exit code.
  int stop() { return process_->stop(std::chrono::seconds(60)); }

 private:
  TempDir folder_{"agent"};
  std::optional<Process> process_;
};

/// GET over a Unix socket; the body. Throws unless it is answered with 200.
std::string http_get(const std::filesystem::path& socket, const std::string& path);

/// One call of a GenericClient.
struct GenericCall {
  std::string method;  ///< "runtime.v1.ImageService/PullImage"
  boost::json::object request = {};
  double pause = 0;              ///< seconds between the first message and the second one's reading
  std::size_t cancel_after = 0;  ///< messages; 0 is never
};

struct GenericAnswer {
  std::string code;  ///< "OK", "NOT_FOUND", …
  std::string details;
  boost::json::array messages;
};

/// Python's gRPC client, which knows nothing of the services but what the server's reflection tells it.
class GenericClient {
 public:
  explicit GenericClient(std::string target);

  std::vector<std::string> services();
  std::vector<std::string> methods(const std::string& service);
  GenericAnswer call(const GenericCall& call);
  std::vector<GenericAnswer> calls(const std::vector<GenericCall>& calls);
  /// As a process that is still running; its output is one JSON line an answer.
  Process start(const GenericCall& call);

 private:
  Argv command_line() const;
  std::vector<boost::json::object> run(const std::vector<boost::json::object>& lines);

  std::string target_;
  TempDir folder_{"generic-client"};
};

}  // namespace lazypull::test
