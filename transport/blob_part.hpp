#pragma once

#include "engine/descriptor.hpp"
#include "transport/blob_reader.hpp"
#include "transport/host_blob.hpp"
#include "transport/registry_core.hpp"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>

namespace lazypull {

/// A blob whose parts are fetched beside each other.
struct PartedBlob : RemoteBlob {
  PartedBlob(RemoteBlob blob, Origin its_first_host)
      : RemoteBlob(std::move(blob)), first_host(std::move(its_first_host)) {}

  Origin first_host;  ///< the one that has begun to serve it
};

/// A range of a blob's bytes, and those that have come of it.
class BlobPart {
 public:
  /// `added` is called whenever bytes have come.
  BlobPart(ByteRange range, std::function<void()> added)
      : range_(range),
        added_(std::move(added)),
        bytes_(std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(range.size()))) {}

  std::size_t size() const noexcept { return static_cast<std::size_t>(range_.size()); }
  bool complete() const noexcept { return filled_ == size(); }
  std::span<const std::byte> bytes() const noexcept { return {bytes_.get(), filled_}; }
  std::span<std::byte> space() noexcept { return std::span(bytes_.get(), size()).subspan(filled_); }
  void add(std::size_t count) {
    filled_ += count;
    added_();
  }
  /// Not of a complete part.
  ByteRange missing() const noexcept { return {range_.first + filled_, range_.last}; }

 private:
  ByteRange range_;
  std::function<void()> added_;
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t filled_ = 0;
};

/// Asks a host for a range. Throws what a refusal means; 200 and 206 are responses.
Awaitable<RegistryResponse> request_range(PartedBlob blob, RegistryHost host, bool is_last, ByteRange range);

/// Like `check_partial`; messages begin with `response.what`, and the host, which will do so again, is
/// remembered not to answer as it should.
void check_range(const PartedBlob& blob, const Origin& host, const RegistryResponse& response,
                 ByteRange range);

/// Reads the body of a response that has been checked.
Awaitable<> read_part(const RegistryResponse& response, BlobPart& part);

/// Gets what is missing of a part from the first host that serves it, beginning with the blob's, over as many
/// connections as it takes. `broken` is what the blob's first host has just failed with, if it has.
Awaitable<> fetch_part(PartedBlob blob, BlobPart& part, std::exception_ptr broken = nullptr);

}  // namespace lazypull
