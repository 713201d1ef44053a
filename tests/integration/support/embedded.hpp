#pragma once

#include "snapshot/embedded/store.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/tree.hpp"
#include "tests/support/temp_dir.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace lazypull::test {

/// Runs the `lazypull` command that was built, on an embedded store of its own.
class StoreLazypull {
 public:
  std::filesystem::path directory() const { return folder_ / "store"; }

  /// `lazypull COMMAND ARGS… --output json`.
  PullOutcome run(Argv arguments, ProcessOptions options = {});
  PullOutcome run_ok(Argv arguments, ProcessOptions options = {});
  Process start(Argv arguments, ProcessOptions options = {});
  /// Without `--output json`: what a person would get. Throws unless it exits with 0.
  std::string text(Argv arguments);

  /// The same store, in this process.
  std::shared_ptr<EmbeddedStore> open() const { return EmbeddedStore::open(directory(), "default"); }

 private:
  Argv command_line(Argv arguments) const;

  TempDir folder_{"embedded"};
};

/// The merged tree of a committed snapshot, through an overlay mount.
TreeManifest read_snapshot_tree(EmbeddedStore& store, const std::string& chain_id);

/// What is wrong with the store: blobs whose bytes are not their digest's, and files and directories of which
/// no record knows. Empty if nothing is.
std::vector<std::string> faults(EmbeddedStore& store);

}  // namespace lazypull::test
