#include "tools/store_command.hpp"

#include "snapshot/embedded/files.hpp"
#include "tools/store_export.hpp"
#include "tools/store_image.hpp"
#include "tools/store_listing.hpp"
#include "tools/store_mount.hpp"
#include "tools/store_verify.hpp"
#include "tools/text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <optional>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

namespace json = boost::json;

std::string to_text(const json::object& object) {
  return json::serialize(object) + "\n";
}

json::array to_array(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts) array.emplace_back(text);
  return array;
}

json::object to_json(const GarbageReport& report) {
  json::object object;
  object["contents"] = report.contents;
  object["blobs"] = report.blobs;
  object["snapshots"] = report.snapshots;
  object["directories"] = report.directories;
  object["ingests"] = report.ingests;
  object["leases"] = report.leases;
  object["bytes"] = report.bytes;
  return object;
}

std::string lines(const std::vector<std::string>& texts) {
  std::string all;
  for (const auto& text : texts) all += printable(text) + "\n";
  return all;
}

/// Blocks until all is written.
void write_out(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(file, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_errno("write the output");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

std::optional<Platform> one_platform(const StoreCommand& command) {
  if (command.platforms.empty()) return std::nullopt;
  return Platform::parse(command.platforms.front());
}

std::string removed_text(const StoreCommand& command, const std::vector<std::string>& removed,
                         const GarbageReport& garbage) {
  if (!command.json) return lines(removed);
  json::object object;
  object["removed"] = to_array(removed);
  object["garbage"] = to_json(garbage);
  return to_text(object);
}

/// Removes what is there of the names, then fails for the first that is not.
template <class Remove>
std::string remove_all(const StoreCommand& command, EmbeddedStore& store, Remove remove) {
  std::vector<std::string> removed;
  std::exception_ptr missing;
  for (const auto& name : command.names) {
    try {
      removed.push_back(remove(name));
    } catch (const Error& error) {
      if (error.code() != Errc::not_found) throw;
      if (!missing) missing = std::current_exception();
    }
  }
  const auto garbage = store.collect_garbage();
  if (missing) std::rethrow_exception(missing);
  return removed_text(command, removed, garbage);
}

std::string remove_images(const StoreCommand& command, EmbeddedStore& store) {
  return remove_all(command, store, [&](const std::string& text) {
    auto name = find_image(store, text).record.name;
    store.images().remove(name);
    return name;
  });
}

std::string remove_content(const StoreCommand& command, EmbeddedStore& store) {
  for (const auto& text : command.names) Digest::parse(text);  // before anything is removed
  return remove_all(command, store, [&](const std::string& text) {
    const auto digest = Digest::parse(text);
    if (!store.content().remove(digest)) {
      throw Error(Errc::not_found, "content " + text + " is not in the store");
    }
    return text;
  });
}

std::string get_content(const StoreCommand& command, EmbeddedStore& store, int standard_output) {
  std::vector<std::byte> buffer(1U << 20U);
  for (const auto& text : command.names) {
    const auto digest = Digest::parse(text);
    const auto file = store.content().open(digest);
    for (std::uint64_t offset = 0;;) {
      const auto got = read_at(file, buffer, offset, store.layout().blob(digest));
      if (got == 0) break;
      write_out(standard_output, std::span(buffer).first(got));
      offset += got;
    }
  }
  return {};
}

std::string mount(const StoreCommand& command, EmbeddedStore& store) {
  MountOptions options;
  options.platform = one_platform(command);
  options.writable = command.writable;
  options.copy = command.copy;
  const auto row = mount_image(store, command.names.front(), command.directory, options);
  if (!command.json) return lines({row.target});
  json::object object;
  object["target"] = row.target;
  object["kind"] = row.kind;
  object["snapshot"] = row.snapshot;
  return to_text(object);
}

std::string unmount(const StoreCommand& command, EmbeddedStore& store) {
  const auto row = unmount_image(store, command.directory);
  if (!command.json) return lines({row.target});
  json::object object;
  object["target"] = row.target;
  object["kind"] = row.kind;
  return to_text(object);
}

/// Under another name at first, so that there is never half an archive under the one that was asked for.
void export_to_file(const StoreCommand& command, EmbeddedStore& store, const ExportOptions& options) {
  const auto beside = command.file + "." + random_name();
  std::exception_ptr failure;
  try {
    const auto file = open_file(beside, O_WRONLY | O_CREAT | O_EXCL, 0644);
    export_image(store, command.names.front(), options,
                 [&](std::span<const std::byte> bytes) { write_out(file.get(), bytes); });
    if (std::rename(beside.c_str(), command.file.c_str()) != 0) throw_errno("rename to " + command.file);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) return;
  ::unlink(beside.c_str());
  std::rethrow_exception(failure);
}

std::string export_command(const StoreCommand& command, EmbeddedStore& store, int standard_output) {
  ExportOptions options;
  options.all_platforms = command.all_platforms;
  for (const auto& text : command.platforms) options.platforms.push_back(Platform::parse(text));
  if (options.all_platforms && !options.platforms.empty()) {
    throw Error(Errc::invalid_argument, "--all-platforms and --platform exclude each other");
  }
  if (command.file == "-") {
    if (command.json) throw Error(Errc::invalid_argument, "--output json has no place beside an archive");
    export_image(store, command.names.front(), options,
                 [&](std::span<const std::byte> bytes) { write_out(standard_output, bytes); });
    return {};
  }
  export_to_file(command, store, options);
  if (!command.json) return {};
  json::object object;
  object["file"] = command.file;
  return to_text(object);
}

std::string collect(const StoreCommand& command, EmbeddedStore& store) {
  const auto report = store.collect_garbage();
  if (command.json) {
    json::object object;
    object["garbage"] = to_json(report);
    return to_text(object);
  }
  return "removed " + format_count(report.contents, "content") + ", " +
         format_count(report.snapshots, "snapshot") + ", " + format_count(report.ingests, "ingest") + ", " +
         format_count(report.leases, "lease") + "; " + format_bytes(report.bytes) + " freed\n";
}

}  // namespace

std::string run_store_command(const StoreCommand& command, EmbeddedStore& store, int standard_output) {
  switch (command.action) {
    case StoreAction::images_list:
      return list_images(store, command.quiet, command.json);
    case StoreAction::images_remove:
      return remove_images(command, store);
    case StoreAction::images_inspect:
      return inspect_image(store, command.names.front(), command.json);
    case StoreAction::content_list:
      return list_content(store, command.quiet, command.json);
    case StoreAction::content_get:
      return get_content(command, store, standard_output);
    case StoreAction::content_remove:
      return remove_content(command, store);
    case StoreAction::content_verify:
      return verify_text(store, command.quiet, command.json);
    case StoreAction::snapshots_list:
      return list_snapshots(store, command.quiet, command.json);
    case StoreAction::snapshots_mounts:
      return mount_commands(store, command.names.front(), command.directory, command.json);
    case StoreAction::mount:
      return mount(command, store);
    case StoreAction::unmount:
      return unmount(command, store);
    case StoreAction::export_image:
      return export_command(command, store, standard_output);
    case StoreAction::collect_garbage:
      return collect(command, store);
  }
  throw Error(Errc::internal, "a command of the store that does not exist");
}

ExitCode store_exit_code(Errc failure) noexcept {
  switch (failure) {
    case Errc::not_found:
    case Errc::platform_not_found:
      return ExitCode::not_found;
    case Errc::invalid_argument:
      return ExitCode::usage;
    case Errc::bad_response:
    case Errc::digest_mismatch:
    case Errc::size_mismatch:
    case Errc::unsupported:
    case Errc::invalid_image:
      return ExitCode::content;
    case Errc::out_of_space:
      return ExitCode::out_of_space;
    default:
      return ExitCode::failure;
  }
}

}  // namespace lazypull
