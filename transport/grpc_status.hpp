#pragma once

#include "engine/error.hpp"

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

namespace lazypull {

/// What a daemon's refusal means to us. containerd reports what it cannot classify as UNKNOWN with Go's text,
/// so the text decides where it says that the disk is full. `code` must not be OK.
Errc errc_of(grpc::StatusCode code, std::string_view message) noexcept;

/// The other way round: what a client of ours is told, with the codes that containerd's errdefs have and, for
/// what they do not know, the one that says most.
grpc::StatusCode code_of(Errc code) noexcept;

/// A message cut to what fits into a header.
std::string bounded_message(std::string text);

/// "Snapshots/Prepare key: message of the daemon".
Error error_of(const grpc::Status& status, std::string_view name);

/// Throws error_of(status, name) unless the status is OK.
void require_ok(const grpc::Status& status, std::string_view name);

}  // namespace lazypull
