#include "snapshot/embedded/layout.hpp"

#include "snapshot/embedded/files.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

namespace lazypull {

namespace {

void make_directory(const std::filesystem::path& directory, ::mode_t mode) {
  if (::mkdir(directory.c_str(), mode) != 0 && errno != EEXIST) throw_errno("mkdir " + directory.string());
}

}  // namespace

std::filesystem::path StoreLayout::blob(const Digest& digest) const {
  return blobs() / digest.algorithm() / digest.hex();
}

std::filesystem::path StoreLayout::ingest(std::string_view name_space, std::string_view ref) const {
  std::string name(name_space);
  name.append("/").append(ref);
  return ingests() / Digest::sha256_of(name).hex();
}

std::filesystem::path StoreLayout::lease_lock(std::string_view id) const {
  return leases() / (std::string(id) + ".lock");
}

void StoreLayout::create() const {
  make_directory(blobs(), 0755);
  make_directory(blobs() / "sha256", 0755);
  make_directory(blobs() / "sha512", 0755);
  // Images bring files that are set-uid, which nobody else is to reach.
  for (const auto& directory : {ingests(), snapshots(), leases(), trash()}) make_directory(directory, 0700);
}

std::filesystem::path StoreLayout::discard(const std::filesystem::path& victim) const {
  auto place = trash() / random_name();
  if (::rename(victim.c_str(), place.c_str()) != 0) {
    throw_errno("rename " + victim.string() + " to " + place.string());
  }
  return place;
}

}  // namespace lazypull
