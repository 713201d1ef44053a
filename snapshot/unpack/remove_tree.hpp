#pragma once

#include <string>
#include <vector>

namespace lazypull {

/// Removes what `folder` has under the name `name`, a directory with all that is in it. Symbolic links are
/// not followed. Any depth needs only two descriptors. Throws the errors of throw_file_error, about `path`.
void remove_tree(int folder, const std::string& name, const std::string& path);

/// The names in an open directory, without "." and "..", in no order.
std::vector<std::string> names_in(int directory, const std::string& path);

}  // namespace lazypull
