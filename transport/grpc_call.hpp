#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace lazypull {

/// What a call over gRPC needs besides its request. Free of gRPC, so that it may appear in public headers.
struct CallOptions {
  /// The RPC and the object that it is about, for messages: "Snapshots/Prepare extract-… sha256:…".
  std::string name;
  /// Of the whole call where it is unary, of each step (a read, a write, the end) where it is a stream.
  std::chrono::milliseconds deadline{10'000};
  std::vector<std::pair<std::string, std::string>> metadata;
};

}  // namespace lazypull
