#pragma once

#include "engine/error.hpp"
#include "snapshot/embedded/store.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace lazypull::test {

/// Bytes that look random and are other ones at each call, but the same ones in each run of a test.
std::string make_content(std::size_t size);

std::span<const std::byte> bytes_of(std::string_view text);
Descriptor descriptor_of_content(std::string_view content);
ExpectedContent expect(std::string_view content);

/// Puts content into the store's namespace through an ingest of its own.
Digest add_content(EmbeddedStore& store, std::string_view content, const Labels& labels = {});
/// A committed snapshot with one file, which says "from NAME".
void add_snapshot(EmbeddedStore& store, const std::string& name, const std::string& parent = {},
                  const Labels& labels = {});
/// An image record that leads to the content.
void add_image(EmbeddedStore& store, const std::string& name, const Digest& target, std::uint64_t size);

/// What the ingest has, read back.
std::string bytes_in(const IngestFile& ingest);

/// The kind of failure of a function that must fail; throws std::logic_error if it does not.
template <class Function>
Errc failure_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error.code();
  }
  throw std::logic_error("it did not fail");
}

/// The number of entries in a directory; 0 if there is none.
std::size_t entries_in(const std::filesystem::path& directory);

}  // namespace lazypull::test
