#pragma once

#include "engine/error.hpp"

#include <grpcpp/support/status.h>

#include <string_view>

namespace lazypull {

/// What a daemon's refusal means to us. containerd reports what it cannot classify as UNKNOWN with Go's text,
/// so the text decides where it says that the disk is full. `code` must not be OK.
Errc errc_of(grpc::StatusCode code, std::string_view message) noexcept;

/// "Snapshots/Prepare key: message of the daemon".
Error error_of(const grpc::Status& status, std::string_view name);

/// Throws error_of(status, name) unless the status is OK.
void require_ok(const grpc::Status& status, std::string_view name);

}  // namespace lazypull
