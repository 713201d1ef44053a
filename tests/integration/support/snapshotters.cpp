#include "tests/integration/support/snapshotters.hpp"

#include "tests/integration/support/peer_program.hpp"
#include "tests/integration/support/unix_socket.hpp"

#include <boost/json.hpp>

#include <fstream>
#include <ostream>
#include <sstream>
#include <stdexcept>

namespace lazypull::test {

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

void wait_for_socket(Process& process, const fs::path& socket) {
  wait_until(
      [&] {
        if (!process.running()) throw std::runtime_error("snapshotter ended: " + process.err());
        return accepts_connections(socket);
      },
      "the snapshotter to listen");
}

json::array array_of(const std::set<std::string>& strings) {
  json::array result;
  for (const auto& text : strings) result.emplace_back(text);
  return result;
}

SnapshotterCall parse_call(const std::string& line) {
  const auto object = json::parse(line);
  const auto text = [&object](const char* member) { return std::string(object.at(member).as_string()); };
  SnapshotterCall call{.method = text("method"),
                       .key = text("key"),
                       .parent = text("parent"),
                       .name = text("name"),
                       .labels = {},
                       .error = text("error")};
  if (const auto* labels = object.at("labels").if_object()) {
    for (const auto& [key, value] : *labels) call.labels.emplace(key, value.as_string());
  }
  return call;
}

fs::path layer_file(const TempDir& folder, const Layer& layer) {
  return folder / "layers" / layer.digest.substr(layer.digest.find(':') + 1);
}

// A file that a daemon may read at any time is replaced, never rewritten.
void replace_file(const fs::path& file, std::string_view content) {
  const fs::path fresh = file.string() + ".new";
  write_file(fresh, content);
  fs::rename(fresh, file);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const SnapshotterCall& call) {
  out << call.method << " key \"" << call.key << '"';
  if (!call.parent.empty()) out << " parent \"" << call.parent << '"';
  if (!call.name.empty()) out << " name \"" << call.name << '"';
  for (const auto& [name, value] : call.labels) out << ' ' << name << "=\"" << value << '"';
  if (!call.error.empty()) out << ": " << call.error;
  return out;
}

StargzSnapshotter::StargzSnapshotter() {
  process_.emplace(Argv{peer_program("stargz"), "-root", folder_ / "root", "-address", socket()});
  wait_for_socket(*process_, socket());
}

std::vector<std::string> StargzSnapshotter::fuse_mounts() const {
  std::vector<std::string> result;
  std::ifstream table("/proc/self/mounts");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string source;
    std::string target;
    std::string type;
    words >> source >> target >> type;
    if (type.starts_with("fuse") && target.starts_with(folder_.path().string())) result.push_back(target);
  }
  return result;
}

RemoteSnapshotter::RemoteSnapshotter(const RemoteBehaviour& behaviour) {
  fs::create_directory(folder_ / "layers");
  behave(behaviour);
  process_.emplace(Argv{peer_program("snapshotter2019"), "-root", folder_ / "root", "-layers",
                        folder_ / "layers", "-control", folder_ / "control.json", "-calls",
                        folder_ / "calls.json", "-address", socket()});
  wait_for_socket(*process_, socket());
}

void RemoteSnapshotter::provide(const Layer& layer) {
  replace_file(layer_file(folder_, layer), layer.blob);
}

void RemoteSnapshotter::withdraw(const Layer& layer) {
  fs::remove(layer_file(folder_, layer));
}

void RemoteSnapshotter::behave(const RemoteBehaviour& behaviour) {
  json::object control{{"today", behaviour.today}};
  control["fail_prepare"] = array_of(behaviour.fail_prepare);
  control["no_label"] = array_of(behaviour.no_label);
  control["fail_commit"] = array_of(behaviour.fail_commit);
  control["staged"] = array_of(behaviour.staged);
  replace_file(folder_ / "control.json", json::serialize(control));
}

std::vector<SnapshotterCall> RemoteSnapshotter::calls() const {
  std::vector<SnapshotterCall> result;
  std::istringstream lines(read_file(folder_ / "calls.json").substr(log_start_));
  for (std::string line; std::getline(lines, line);) result.push_back(parse_call(line));
  return result;
}

void RemoteSnapshotter::reset_calls() {
  log_start_ = read_file(folder_ / "calls.json").size();
}

}  // namespace lazypull::test
