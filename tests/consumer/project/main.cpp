// Uses the installed package as a program of somebody else would: values, a coroutine, and the real
// containerd backend, which must report that nobody listens.
#include "engine/error.hpp"
#include "engine/puller.hpp"
#include "snapshot/containerd_backend.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <exception>
#include <iostream>
#include <string>

namespace {

lazypull::Awaitable<> connect_to_nobody() {
  lazypull::ContainerdOptions options;
  options.address = "/nonexistent/containerd.sock";
  co_await lazypull::ContainerdBackend::connect(options, "overlayfs");
}

}  // namespace

int main() {
  const auto reference = lazypull::Reference::parse("alpine");
  if (reference.name() != "docker.io/library/alpine:latest") return 1;

  lazypull::asio::io_context home(1);
  std::exception_ptr failure;
  lazypull::asio::co_spawn(home, connect_to_nobody(), [&](std::exception_ptr thrown) { failure = thrown; });
  home.run();
  if (!failure) return 2;
  const auto error = lazypull::as_error(failure);
  std::cout << error.what() << '\n';
  return error.code() == lazypull::Errc::unavailable ? 0 : 3;
}
