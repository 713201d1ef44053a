#include "tools/registry_command.hpp"

#include "engine/error.hpp"
#include "tools/faults/proxy.hpp"
#include "transport/http_message.hpp"
#include "transport/registry_server.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/this_coro.hpp>
#include <system_error>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <utility>

namespace lazypull {

namespace {

asio::ip::tcp::endpoint parse_address(const std::string& text, const std::string& flag) {
  const auto colon = text.rfind(':');
  const auto port = colon == std::string::npos ? std::nullopt : parse_decimal(text.substr(colon + 1));
  auto host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  boost::system::error_code failure;
  const auto address = asio::ip::make_address(host, failure);
  if (failure || !port || *port > 65535) {
    throw Error(Errc::invalid_argument,
                flag + ": '" + text + "' is no address with a port, such as 127.0.0.1:5000 or [::1]:0");
  }
  return {address, static_cast<asio::ip::port_type>(*port)};
}

struct CloseFile {
  void operator()(std::FILE* file) const noexcept {
    if (file != nullptr && file != stderr) std::fclose(file);
  }
};

/// Where is logged to, line by line; nothing for "none".
std::function<void(std::string_view)> open_log(const std::string& path, const std::string& flag) {
  if (path == "none") return nullptr;
  std::shared_ptr<std::FILE> file(path == "-" ? stderr : std::fopen(path.c_str(), "ae"), CloseFile());
  if (!file) {
    const int reason = errno;
    const auto code = reason == EACCES ? Errc::permission_denied : Errc::unavailable;
    throw Error(code, flag + " " + path + ": " + std::generic_category().message(reason));
  }
  return [file](std::string_view line) {
    std::fwrite(line.data(), 1, line.size(), file.get());
    std::fputc('\n', file.get());
    std::fflush(file.get());
  };
}

void add_proxy(CLI::App& registry, RegistryCommand& command, const std::function<void()>& chosen) {
  auto& proxy = add_fault_proxy_command(registry, command.proxy);
  proxy.parse_complete_callback([&command, chosen] {
    command.is_proxy = true;
    chosen();
  });
  proxy
      .add_option("--listen,--address", command.address,
                  "Address and port to listen on; port 0 is any that is free")
      ->type_name("IP:PORT")
      ->default_str(command.address);
  proxy
      .add_option("--log,--access-log", command.access_log,
                  "File to append to, a JSON object a line; '-' is standard error; or none")
      ->type_name("FILE")
      ->default_str(command.access_log);
}

void greet(const std::string& url) {
  const auto greeting = "listening on " + url + "\n";
  if (std::fputs(greeting.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
    throw Error(Errc::unavailable, "standard output cannot be written");
  }
}

Awaitable<> run_proxy(const RegistryCommand& command) {
  const auto home = co_await asio::this_coro::executor;
  auto options = fault_proxy_options(command.proxy, open_log(command.access_log, "--log"));
  options.address = parse_address(command.address, "--listen");
  FaultProxy proxy(home, std::move(options));
  greet(proxy.url());
  co_await proxy.serve();
}

}  // namespace

void add_registry_command(CLI::App& app, RegistryCommand& command, std::function<void()> chosen) {
  auto* registry = app.add_subcommand("registry", "An embedded registry, for tests and experiments");
  registry->require_subcommand(1);
  auto* serve = registry->add_subcommand(
      "serve", "Serve OCI image layouts read-only, over HTTP without TLS, until interrupted");
  serve->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  serve->footer(
      "Images are named by the annotation org.opencontainers.image.ref.name in index.json: a tag, or\n"
      "'repository:tag'. Blobs are found under any repository name.");
  add_proxy(*registry, command, chosen);
  serve->parse_complete_callback(std::move(chosen));
  serve
      ->add_option("LAYOUT", command.layouts, "Folder with oci-layout, index.json and blobs; may be repeated")
      ->type_name("")
      ->required()
      ->take_all();
  serve
      ->add_option("--repository", command.repository,
                   "Repository of names that are tags only; else the folder's name")
      ->type_name("NAME");
  serve->add_option("--address", command.address, "Address and port to listen on; port 0 is any that is free")
      ->type_name("IP:PORT")
      ->default_str(command.address);
  serve->add_option("--access-log", command.access_log, "File to append to; '-' is standard error; or none")
      ->type_name("FILE")
      ->default_str(command.access_log);
}

Awaitable<> run_registry_command(const RegistryCommand& command) {
  if (command.is_proxy) {
    co_await run_proxy(command);
    co_return;
  }
  const auto home = co_await asio::this_coro::executor;
  RegistryServerOptions options;
  options.address = parse_address(command.address, "--address");
  options.access_log = open_log(command.access_log, "--access-log");
  std::vector<LayoutSource> sources;
  sources.reserve(command.layouts.size());
  for (const auto& folder : command.layouts) sources.push_back({folder, command.repository});
  RegistryServer server(home, ServedLayouts::load(sources), std::move(options));
  greet(server.url());
  co_await server.serve();
}

}  // namespace lazypull
