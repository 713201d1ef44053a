#include "transport/registry_core.hpp"

namespace lazypull {

RegistryCore::RegistryCore(asio::any_io_executor home_executor, RegistryOptions registry_options)
    : home(std::move(home_executor)),
      options(std::move(registry_options)),
      transport(home, options.http, options.retry, options.max_redirects),
      hosts(options),
      health(options.breaker) {}

Awaitable<RegistryCall> RegistryCore::make_call(RegistryHost host, Reference reference, std::string method,
                                                std::string path, bool is_last) {
  Url url(host.origin, host.api_root + "/" + reference.repository() + path);
  if (!host.upstream) url = url.with_parameter("ns", reference.domain());
  RegistryCall call(std::move(method), std::move(url));
  call.repository = reference.repository();
  call.host_fields = host.headers;
  call.access = host.access;
  call.patient = is_last;
  if (options.tracer != nullptr) {
    const auto object = std::string_view(path).substr(path.rfind('/') + 1);
    call.trace = options.tracer->taker_of(object, reference.name());
  }
  if (host.upstream && options.user) {
    call.credentials = *options.user;
  } else if (options.credentials) {
    const Span span(call.trace, "credentials", "auth", host.origin.host);
    auto domain = host.upstream ? reference.domain() : host.origin.authority();
    call.credentials = co_await options.credentials->find(std::move(domain), reference.repository());
  }
  co_return call;
}

}  // namespace lazypull
