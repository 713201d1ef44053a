#pragma once

#include <string>

namespace lazypull {

struct UserAndPassword {
  std::string user;
  std::string password;
};

/// Splits "name:password"; asks on the terminal, without echo, for a password that is left out. Throws
/// Error{invalid_argument} if standard input is no terminal, Error{cancelled} if a signal comes while it
/// waits.
UserAndPassword complete_credentials(const std::string& text);

}  // namespace lazypull
