#pragma once

#include <string>
#include <string_view>

namespace lazypull {

/// Tells the service manager about this process, as sd_notify(3) has it: `state` is "READY=1" or
/// "STOPPING=1". `socket` is the value of $NOTIFY_SOCKET: a path, or "@" and a name without a file; nothing
/// happens if it is empty. A manager that does not listen is no error. False if it was not told.
bool notify_service_manager(const std::string& socket, std::string_view state);

}  // namespace lazypull
