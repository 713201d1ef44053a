#pragma once

#include "engine/error.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/scripted_server.hpp"
#include "transport/registry_client.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>

namespace lazypull::test {

/// Runs a coroutine on `home` and returns what it did.
template <class T>
T value_of(asio::io_context& home, Awaitable<T> coroutine) {
  std::optional<T> value;
  auto keep = [](Awaitable<T> inner, std::optional<T>& out) -> Awaitable<> {
    auto result = co_await std::move(inner);
    out.emplace(std::move(result));
  };
  run_on(home, keep(std::move(coroutine), value));
  return std::move(*value);
}

/// The Error that a coroutine must end with.
template <class T>
Error error_of(asio::io_context& home, Awaitable<T> coroutine) {
  try {
    value_of(home, std::move(coroutine));
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "there was no error";
  return {Errc::internal, "there was no error"};
}

/// Runs a coroutine until `when` holds, cancels it, and returns the Error that it ends with.
template <class T>
Error error_after_cancel(asio::io_context& home, Awaitable<T> coroutine, const std::function<bool()>& when) {
  asio::cancellation_signal signal;
  std::optional<std::exception_ptr> end;
  auto ended = [&end](std::exception_ptr failure, auto&&...) { end = std::move(failure); };
  asio::co_spawn(home, std::move(coroutine), asio::bind_cancellation_slot(signal.slot(), std::move(ended)));
  home.restart();
  while (!when() && !end) home.run_one_for(std::chrono::milliseconds(5));
  signal.emit(asio::cancellation_type::terminal);
  home.restart();
  home.run_for(std::chrono::seconds(30));
  if (!end || !*end) {
    ADD_FAILURE() << "the coroutine was not cancelled";
    return {Errc::internal, "not cancelled"};
  }
  return as_error(*end);
}

/// Everything that a reader gives.
inline Awaitable<std::string> read_everything(std::unique_ptr<BlobReader> reader) {
  std::string bytes;
  for (;;) {
    const auto piece = co_await reader->read();
    if (piece.empty()) co_return bytes;
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
}

inline Awaitable<std::string> fetch(Fetcher& fetcher, Reference reference, Descriptor descriptor,
                                    std::uint64_t offset = 0) {
  auto reader = co_await fetcher.open(reference, descriptor, offset);
  auto bytes = co_await read_everything(std::move(reader));
  co_return bytes;
}

inline Awaitable<Descriptor> resolve(Resolver& resolver, Reference reference) {
  auto descriptor = co_await resolver.resolve(reference);
  co_return descriptor;
}

/// A registry on the loopback that says what the test wants, and a client that does not wait long.
class RegistryFixture : public ::testing::Test {
 protected:
  RegistryFixture() {
    options.retry.base_delay = std::chrono::milliseconds(1);
    options.retry.max_delay = std::chrono::milliseconds(5);
  }

  RegistryClient& client() {
    if (!client_) client_ = std::make_unique<RegistryClient>(home.get_executor(), options);
    return *client_;
  }

  Reference reference(const std::string& rest = "app:1") const {
    return Reference::parse(server.host() + "/" + rest);
  }

  Descriptor blob(const std::string& content) const {
    Descriptor descriptor;
    descriptor.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    descriptor.digest = Digest::sha256_of(std::string_view(content));
    descriptor.size = content.size();
    return descriptor;
  }

  static std::string blob_key(const Descriptor& descriptor) {
    return "GET /v2/app/blobs/" + descriptor.digest.str();
  }

  std::string fetched(const Descriptor& descriptor, std::uint64_t offset = 0) {
    return value_of(home, fetch(client(), reference(), descriptor, offset));
  }
  Error fetch_error(const Descriptor& descriptor, std::uint64_t offset = 0) {
    return error_of(home, fetch(client(), reference(), descriptor, offset));
  }
  Descriptor resolved(const Reference& which) { return value_of(home, resolve(client(), which)); }
  Error resolve_error(const Reference& which) { return error_of(home, resolve(client(), which)); }

  asio::io_context home{1};
  ScriptedServer server;
  RegistryOptions options;

 private:
  std::unique_ptr<RegistryClient> client_;
};

}  // namespace lazypull::test
