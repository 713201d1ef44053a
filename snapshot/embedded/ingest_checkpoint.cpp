#include "snapshot/embedded/ingest_checkpoint.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/durability.hpp"
#include "snapshot/embedded/files.hpp"

#include <sys/stat.h>
#include <system_error>

#include <array>
#include <charconv>
#include <cstdio>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

constexpr std::uint64_t max_record_bytes = 1024;
constexpr std::size_t chain_digits = 64;
constexpr std::string_view state_mark = "\nstate ";

/// Always of the same length, since a record is written over the one before.
std::string padded(std::uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "%020llu", static_cast<unsigned long long>(number));
  return text;
}

/// Without it there are no records.
std::string boot_id_or_none() {
  try {
    static const std::string boot_id = current_boot_id();
    return boot_id;
  } catch (const Error&) {
    return {};
  }
}

std::optional<std::array<std::uint32_t, 8>> parse_chain(std::string_view text) {
  std::array<std::uint32_t, 8> chain{};
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const auto word = text.substr(i * 8, 8);
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), chain[i], 16);
    if (parsed.ec != std::errc{} || parsed.ptr != word.data() + word.size()) return std::nullopt;
  }
  return chain;
}

}  // namespace

IngestCheckpoint::IngestCheckpoint(const std::filesystem::path& data, Digest expected, std::string boot_id)
    : record_(data.parent_path() / "checkpoint"),
      expected_(std::move(expected)),
      boot_id_(std::move(boot_id)) {}

IngestCheckpoint::IngestCheckpoint(const std::filesystem::path& data, Digest expected)
    : IngestCheckpoint(data, std::move(expected), boot_id_or_none()) {}

std::string IngestCheckpoint::text_of(const UniqueFd& data, std::uint64_t offset,
                                      const Sha256State& state) const {
  struct ::stat status{};
  if (::fstat(data.get(), &status) != 0) throw_errno("stat the file of " + record_.string());
  const auto changed = static_cast<std::uint64_t>(status.st_ctim.tv_sec) * 1'000'000'000U +
                       static_cast<std::uint64_t>(status.st_ctim.tv_nsec);
  std::string text = "lazypull sha256 checkpoint 1\n" + expected_.str() + "\nboot " + boot_id_;
  text += "\nfile " + padded(status.st_dev) + " " + padded(status.st_ino);
  text += " " + padded(static_cast<std::uint64_t>(status.st_size)) + " " + padded(changed);
  text += "\noffset " + padded(offset);
  text += state_mark;
  for (const auto word : state.chain) {
    char hex[12];
    std::snprintf(hex, sizeof hex, "%08x", word);
    text += hex;
  }
  text += "\n";
  text += Digest::sha256_of(text).hex();
  return text + "\n";
}

std::optional<Sha256State> IngestCheckpoint::load(const UniqueFd& data, std::uint64_t offset) const {
  try {
    if (offset < min_bytes || boot_id_.empty() || !stat_of(record_)) return std::nullopt;
    const auto text = read_text(record_, max_record_bytes);
    const auto mark = text.find(state_mark);
    if (mark == std::string::npos || text.size() < mark + state_mark.size() + chain_digits)
      return std::nullopt;
    const auto chain = parse_chain(std::string_view(text).substr(mark + state_mark.size(), chain_digits));
    if (!chain) return std::nullopt;
    const Sha256State state{*chain, offset / ResumableSha256::block_bytes * ResumableSha256::block_bytes};
    struct ::stat status{};
    if (::fstat(data.get(), &status) != 0 || static_cast<std::uint64_t>(status.st_size) != offset)
      return std::nullopt;
    // What it would say about the file as it is now, with this state.
    if (text != text_of(data, offset, state)) return std::nullopt;
    return state;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void IngestCheckpoint::save(const UniqueFd& data, std::uint64_t offset, const Sha256State& state) noexcept {
  if (offset < min_bytes || boot_id_.empty()) return;
  try {
    const auto text = text_of(data, offset, state);
    if (!file_) file_ = open_file(record_, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    write_at(file_, std::as_bytes(std::span(text)), 0, record_);
  } catch (...) {
    remove();
  }
}

void IngestCheckpoint::remove() noexcept {
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(record_, ignored);
}

}  // namespace lazypull
