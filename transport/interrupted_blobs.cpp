#include "transport/interrupted_blobs.hpp"

#include <algorithm>

namespace lazypull {

namespace {

constexpr std::size_t max_known = 1000;
constexpr std::size_t max_etag_bytes = 256;

bool is_etag_character(char c) {
  const auto code = static_cast<unsigned char>(c);
  return code == 0x21 || (code >= 0x23 && code != 0x7f);
}

}  // namespace

void BlobTail::add(std::span<const std::byte> piece) {
  end += piece.size();
  const auto last = piece.last(std::min(piece.size(), longest));
  bytes.append(reinterpret_cast<const char*>(last.data()), last.size());
  if (bytes.size() > longest) bytes.erase(0, bytes.size() - longest);
}

std::optional<std::string> strong_etag(const HttpFields& fields) {
  const auto field = fields.find("ETag");
  if (!field) return std::nullopt;
  const auto text = trim(*field);
  if (text.size() < 2 || text.size() > max_etag_bytes) return std::nullopt;
  if (text.front() != '"' || text.back() != '"') return std::nullopt;  // weak ones begin with W/
  const auto inner = text.substr(1, text.size() - 2);
  if (!std::all_of(inner.begin(), inner.end(), is_etag_character)) return std::nullopt;
  return std::string(text);
}

void InterruptedBlobs::note_etag(const Origin& host, const Digest& digest, const HttpFields& fields) {
  auto etag = strong_etag(fields);
  if (!etag) return;
  if (etags_.size() >= max_known) etags_.clear();
  etags_.insert_or_assign({digest.str(), host}, std::move(*etag));
}

std::optional<std::string> InterruptedBlobs::etag(const Origin& host, const Digest& digest) const {
  const auto found = etags_.find({digest.str(), host});
  if (found == etags_.end()) return std::nullopt;
  return found->second;
}

void InterruptedBlobs::broke_off(const Digest& digest, BlobTail tail) {
  if (tails_.size() >= max_known) tails_.clear();
  tails_.insert_or_assign(digest.str(), std::move(tail));
}

BlobTail InterruptedBlobs::tail(const Digest& digest, std::uint64_t offset) const {
  const auto found = tails_.find(digest.str());
  if (found != tails_.end() && found->second.end == offset) return found->second;
  BlobTail unknown;
  unknown.end = offset;
  return unknown;
}

void InterruptedBlobs::complete(const Digest& digest) {
  tails_.erase(digest.str());
  const auto first = etags_.lower_bound({digest.str(), Origin()});
  auto last = first;
  while (last != etags_.end() && last->first.first == digest.str()) ++last;
  etags_.erase(first, last);
}

}  // namespace lazypull
