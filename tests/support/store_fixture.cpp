#include "tests/support/store_fixture.hpp"

#include <array>
#include <iterator>
#include <random>
#include <thread>

namespace lazypull::test {

std::string make_content(std::size_t size) {
  static unsigned seed = 0;
  std::mt19937 generator(++seed);
  std::string content(size, '\0');
  for (auto& byte : content) byte = static_cast<char>(generator());
  return content;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

Descriptor descriptor_of_content(std::string_view content) {
  Descriptor descriptor;
  descriptor.media_type = "application/octet-stream";
  descriptor.digest = Digest::sha256_of(content);
  descriptor.size = content.size();
  return descriptor;
}

ExpectedContent expect(std::string_view content) {
  return {.digest = Digest::sha256_of(content), .size = content.size()};
}

namespace {

/// Waits while another process has the ingest.
std::unique_ptr<IngestFile> open_ingest(EmbeddedStore& store, const std::string& ref,
                                        std::string_view content) {
  for (;;) {
    try {
      return store.content().ingest(ref, expect(content), {});
    } catch (const Error& error) {
      if (error.code() != Errc::locked) throw;
      std::this_thread::yield();
    }
  }
}

}  // namespace

Digest add_content(EmbeddedStore& store, std::string_view content, const Labels& labels) {
  const auto digest = Digest::sha256_of(content);
  const auto ingest = open_ingest(store, "add-" + digest.str(), content);
  if (!ingest) return digest;
  const auto rest = content.substr(static_cast<std::size_t>(ingest->offset()));
  if (!rest.empty()) ingest->write(bytes_of(rest));
  ingest->commit(digest, labels);
  return digest;
}

void add_snapshot(EmbeddedStore& store, const std::string& name, const std::string& parent,
                  const Labels& labels) {
  auto& snapshots = store.snapshots();
  snapshots.prepare("making " + name, parent, {}, {});
  const auto id = snapshots.stat("making " + name)->id;
  write_file(store.layout().upper(id) / name, "from " + name);
  snapshots.commit(name, "making " + name, labels, {});
}

void add_image(EmbeddedStore& store, const std::string& name, const Digest& target, std::uint64_t size) {
  ImageRecord image;
  image.name = name;
  image.target.media_type = media_type::oci_manifest;
  image.target.digest = target;
  image.target.size = size;
  store.images().put(image);
}

std::string bytes_in(const IngestFile& ingest) {
  std::string text(static_cast<std::size_t>(ingest.offset()), '\0');
  text.resize(ingest.read(0, std::as_writable_bytes(std::span(text))));
  return text;
}

std::size_t entries_in(const std::filesystem::path& directory) {
  if (!std::filesystem::exists(directory)) return 0;
  const std::filesystem::directory_iterator entries(directory);
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

}  // namespace lazypull::test
