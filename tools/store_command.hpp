#pragma once

#include "engine/error.hpp"
#include "snapshot/embedded/store.hpp"
#include "tools/exit_code.hpp"

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lazypull {

enum class StoreAction {
  images_list,
  images_remove,
  images_inspect,
  content_list,
  content_get,
  content_remove,
  content_verify,
  snapshots_list,
  snapshots_mounts,
  mount,
  unmount,
  export_image,
  collect_garbage,
};

/// A command that looks at the embedded store or changes it: nothing of it needs a network.
struct StoreCommand {
  StoreAction action = StoreAction::images_list;
  std::vector<std::string> names;      ///< images, digests or a snapshot's key
  std::string directory;               ///< where to mount, or what to unmount
  std::string file;                    ///< where to export to; "-" is standard output
  std::vector<std::string> platforms;  ///< empty is the host's, or for an export whatever is there
  bool all_platforms = false;
  bool quiet = false;
  bool json = false;
  bool writable = false;  ///< mount
  bool copy = false;      ///< mount: copy the files even if they could be mounted
};

/// Declares `images`, `content`, `snapshots`, `mount`, `unmount`, `export` and `gc`, with the aliases that
/// ctr has for them. `chosen` is called once one of them has been parsed. What it refers to must outlive
/// `app`.
void add_store_commands(CLI::App& app, StoreCommand& command, std::function<void()> chosen);

/// Carries the command out, blocking, and returns what is to be printed. Blobs and archives that are meant
/// for standard output are written to the file descriptor `standard_output` instead. Throws Error: not_found
/// for an image, content, snapshot or mount that is not there, platform_not_found, invalid_argument,
/// failed_precondition (busy, or something is in the way), and what the store throws.
std::string run_store_command(const StoreCommand& command, EmbeddedStore& store, int standard_output);

/// What the process ends with after such a failure.
ExitCode store_exit_code(Errc failure) noexcept;

}  // namespace lazypull
