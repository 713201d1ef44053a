#pragma once

#include "engine/digest.hpp"
#include "snapshot/remote/remote_layers.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// What a layer's unpacked files are.
struct TreeSurvey {
  /// Of names, kinds, modes, owners, times (to the second), sizes, contents, link targets, devices, hard
  /// links and extended attributes of everything, but for security.selinux and the root's own time. Empty
  /// unless contents were read.
  Digest digest;
  std::vector<LayerAttribute>
      attributes;              ///< one place of each kind of attribute, as far as they fit a record
  bool overlay_marks = false;  ///< there are whiteouts or opaque directories
  std::int64_t newest = 0;     ///< the latest modification time but for the root's, seconds
  std::optional<std::string> access_list;  ///< a path that has a POSIX access control list
};

struct SurveyOptions {
  bool contents = true;           ///< read the files, for the digest
  bool settle_whiteouts = false;  ///< give whiteouts the time 0 instead of that at which they were made
};

/// Looks at everything below an open directory. Symbolic links are not followed. `name` is for messages.
/// Throws Error for what cannot be read.
TreeSurvey survey_tree(int root, const std::string& name, SurveyOptions options = {});

}  // namespace lazypull
