#pragma once

#include "snapshot/embedded/store.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lazypull {

/// What of the store, in all namespaces, is as it should be, and what is not.
struct StoreVerdict {
  std::size_t blobs = 0;  ///< whose bytes are those of their digest
  std::uint64_t bytes = 0;
  std::size_t images = 0;  ///< that lead to nothing which is missing
  std::size_t snapshots = 0;

  /// What an image or a snapshot would suffer from: bytes that are others, files and records that are
  /// missing.
  std::vector<std::string> damage;
  /// What nothing leads to, and the next garbage collection removes: leases of dead processes, snapshots that
  /// were not finished, files without a record.
  std::vector<std::string> leftovers;
  std::vector<IngestStatus> partial;  ///< of the store's own namespace; the next pull goes on from there
};

/// Reads every blob. Blocking; safe while others use the store: what they change meanwhile is no damage.
StoreVerdict verify_store(EmbeddedStore& store);

/// As text, or as one JSON object. Throws Error{digest_mismatch} that names the damage, if there is any.
std::string verify_text(EmbeddedStore& store, bool quiet, bool as_json);

}  // namespace lazypull
