#include "engine/error.hpp"
#include "tools/experiment/container.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <charconv>

namespace lazypull::experiment {
namespace {

namespace json = boost::json;

json::array words(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts) array.push_back(json::value(text));
  return array;
}

std::uint32_t parse_id(const std::string& user, std::string_view text) {
  if (text == "root") return 0;
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
    throw Error(Errc::unsupported, "user '" + user + "': only numbers are understood; give start.user");
  }
  return id;
}

json::object user_of(const ContainerRequest& request) {
  const auto& user = request.spec.user.empty() ? request.image.user : request.spec.user;
  if (user.empty()) return {{"uid", 0}, {"gid", 0}};
  const auto colon = user.find(':');
  const auto uid = parse_id(user, std::string_view(user).substr(0, colon));
  const auto gid = colon == std::string::npos ? 0 : parse_id(user, std::string_view(user).substr(colon + 1));
  return {{"uid", uid}, {"gid", gid}};
}

/// Later variables go before earlier ones of the same name.
json::array environment_of(const ContainerRequest& request) {
  std::vector<std::string> all = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  const auto add = [&](const std::string& variable) {
    const auto name = variable.substr(0, variable.find('=') + 1);
    std::erase_if(all, [&](const std::string& other) { return other.starts_with(name); });
    all.push_back(variable);
  };
  for (const auto& variable : request.image.env) add(variable);
  for (const auto& variable : request.spec.env) add(variable);
  return words(all);
}

json::object process_of(const ContainerRequest& request, const std::vector<std::string>& command) {
  const json::array capabilities =
      words({"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
             "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
             "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"});
  return {{"terminal", false},
          {"user", user_of(request)},
          {"args", words(command)},
          {"env", environment_of(request)},
          {"cwd", request.image.folder.empty() ? "/" : request.image.folder},
          {"capabilities",
           {{"bounding", capabilities}, {"effective", capabilities}, {"permitted", capabilities}}},
          {"noNewPrivileges", true}};
}

json::object mount(const char* target, const char* type, const char* source,
                   const std::vector<std::string>& options) {
  return {{"destination", target}, {"type", type}, {"source", source}, {"options", words(options)}};
}

}  // namespace

std::string process_spec(const ContainerRequest& request, const std::vector<std::string>& command) {
  return json::serialize(process_of(request, command));
}

std::string runtime_spec(const ContainerRequest& request) {
  const auto& command = request.spec.command.empty() ? request.image.command : request.spec.command;
  if (command.empty()) {
    throw Error(Errc::invalid_argument,
                "image " + request.spec.name + ": it names no command; give start.command");
  }
  json::array namespaces;
  for (const char* type : {"pid", "ipc", "uts", "mount"}) namespaces.push_back(json::object{{"type", type}});
  const json::array mounts{
      mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
      mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
      mount("/dev/pts", "devpts", "devpts",
            {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
      mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=262144k"}),
      mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
      mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
      mount("/run", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"})};
  const json::object devices{{"allow", false}, {"access", "rwm"}};
  const json::object spec{{"ociVersion", "1.0.2"},
                          {"process", process_of(request, command)},
                          {"root", {{"path", "rootfs"}, {"readonly", false}}},
                          {"hostname", request.id},
                          {"mounts", mounts},
                          {"linux",
                           {{"cgroupsPath", "/lazypull-experiment/" + request.id},
                            {"namespaces", namespaces},
                            {"resources", {{"devices", json::array{devices}}}}}}};
  return json::serialize(spec);
}

}  // namespace lazypull::experiment
