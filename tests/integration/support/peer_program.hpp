#pragma once

#include <string>

namespace lazypull::test {

/// The path of a program that was built from peers/NAME.
inline std::string peer_program(const std::string& name) {
  return std::string(LAZYPULL_PEERS_BUILD) + "/" + name;
}

}  // namespace lazypull::test
