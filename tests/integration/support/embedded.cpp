#include "tests/integration/support/embedded.hpp"

#include "tests/integration/support/image.hpp"

#include <boost/json/parse.hpp>
#include <sys/mount.h>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;

ProcessOptions without_credentials(ProcessOptions options) {
  for (const auto* name : {"DOCKER_CONFIG", "HOME"}) options.env.emplace(name, "/nonexistent");
  for (const auto* name : {"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "CONTAINERD_ADDRESS", "LAZYPULL_STORE"}) {
    options.env.emplace(name, "");
  }
  return options;
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  if (!fs::exists(folder)) return names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

}  // namespace

Argv StoreLazypull::command_line(Argv arguments) const {
  Argv argv{LAZYPULL_BINARY, "--store", directory()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

PullOutcome StoreLazypull::run(Argv arguments, ProcessOptions options) {
  arguments.insert(arguments.end(), {"--output", "json"});
  PullOutcome outcome;
  outcome.process = test::run(command_line(std::move(arguments)), without_credentials(std::move(options)));
  outcome.json = boost::json::parse(outcome.process.out);
  return outcome;
}

PullOutcome StoreLazypull::run_ok(Argv arguments, ProcessOptions options) {
  auto outcome = run(std::move(arguments), std::move(options));
  if (outcome.process.exit_code != 0) throw std::runtime_error("lazypull: " + outcome.process.err);
  return outcome;
}

Process StoreLazypull::start(Argv arguments, ProcessOptions options) {
  return Process(command_line(std::move(arguments)), without_credentials(std::move(options)));
}

std::string StoreLazypull::text(Argv arguments) {
  return test::run_ok(command_line(std::move(arguments)), without_credentials({}));
}

TreeManifest read_snapshot_tree(EmbeddedStore& store, const std::string& chain_id) {
  const TempDir folder("merged");
  const auto layers = store.snapshots().layers(chain_id);
  std::string lower;
  for (const auto& layer : layers) lower += (lower.empty() ? "" : ":") + layer.string();
  if (layers.size() == 1) return read_tree(layers.front());
  const std::string options = "lowerdir=" + lower;
  if (::mount("overlay", folder.path().c_str(), "overlay", MS_RDONLY, options.c_str()) != 0) {
    throw std::runtime_error("overlay cannot be mounted: " + options);
  }
  auto tree = read_tree(folder.path());
  ::umount2(folder.path().c_str(), MNT_DETACH);
  return tree;
}

std::vector<std::string> faults(EmbeddedStore& store) {
  std::vector<std::string> found;
  const auto& layout = store.layout();
  std::set<std::string> known;
  for (const auto& content : store.content().list()) known.insert(std::string(content.info.digest.hex()));
  for (const auto& name : names_in(layout.blobs() / "sha256")) {
    if (digest_of(read_file(layout.blobs() / "sha256" / name)) != "sha256:" + name) {
      found.push_back("blob " + name + " has other bytes");
    }
    if (known.erase(name) == 0) found.push_back("blob " + name + " has no record");
  }
  for (const auto& name : known) found.push_back("record of " + name + " has no blob");
  for (const auto& name : names_in(layout.trash())) found.push_back("trash " + name);
  for (const auto& name : names_in(layout.leases())) found.push_back("lease " + name);
  for (const auto& name : names_in(layout.ingests())) found.push_back("ingest " + name);
  const auto snapshots = store.snapshots().list();
  if (names_in(layout.snapshots()).size() != snapshots.size()) {
    found.push_back(std::to_string(names_in(layout.snapshots()).size()) + " snapshot folders for " +
                    std::to_string(snapshots.size()) + " snapshots");
  }
  for (const auto& snapshot : snapshots) {
    if (snapshot.info.kind != SnapshotKind::committed) found.push_back("active " + snapshot.info.name);
  }
  return found;
}

}  // namespace lazypull::test
