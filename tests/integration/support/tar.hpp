#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

/// Layer archives, written entry by entry exactly as told: nothing is sorted, completed or checked.
namespace lazypull::test::tar {

/// One entry. Make it with the functions below and refine: `file("bin/su", "…").mode(04755).owner(0, 5)`.
struct Entry {
  std::string path_;
  char type_ = '0';  ///< tar's type flag
  std::uint32_t mode_ = 0644;
  std::uint64_t uid_ = 0;
  std::uint64_t gid_ = 0;
  std::int64_t mtime_ = 1'600'000'000;  ///< seconds
  std::uint32_t mtime_ns_ = 0;          ///< written as a PAX record when not 0
  std::string content_;
  std::string link_;
  std::uint32_t major_ = 0;
  std::uint32_t minor_ = 0;
  std::map<std::string, std::string> xattrs_;  ///< written as SCHILY.xattr PAX records
  std::map<std::string, std::string> pax_;     ///< further PAX records, as they are

  Entry mode(std::uint32_t bits) && { return mode_ = bits, std::move(*this); }
  Entry owner(std::uint64_t uid, std::uint64_t gid) && { return uid_ = uid, gid_ = gid, std::move(*this); }
  Entry mtime(std::int64_t seconds, std::uint32_t ns = 0) && {
    return mtime_ = seconds, mtime_ns_ = ns, std::move(*this);
  }
  Entry xattr(std::string name, std::string value) && {
    return xattrs_[std::move(name)] = std::move(value), std::move(*this);
  }
  Entry pax(std::string key, std::string value) && {
    return pax_[std::move(key)] = std::move(value), std::move(*this);
  }
};

Entry file(std::string path, std::string content);      ///< mode 0644
Entry directory(std::string path);                      ///< mode 0755
Entry symlink(std::string path, std::string target);    ///< mode 0777
Entry hard_link(std::string path, std::string target);  ///< target is a path of the archive
Entry char_device(std::string path, std::uint32_t major, std::uint32_t minor);
Entry block_device(std::string path, std::uint32_t major, std::uint32_t minor);
Entry fifo(std::string path);
Entry whiteout(std::string_view path);  ///< "etc/x" becomes the empty file etc/.wh.x
Entry opaque(std::string_view folder);  ///< the empty file FOLDER/.wh..wh..opq

/// POSIX ustar with PAX headers where ustar does not suffice, and the two zero blocks at the end.
std::string archive(const std::vector<Entry>& entries);

/// A bit of everything that a layer can hold, in the folder bin.
std::vector<Entry> one_of_each();

/// `size` bytes that do not compress, the same for the same seed.
std::string noise(std::size_t size, std::uint64_t seed = 1);

}  // namespace lazypull::test::tar
