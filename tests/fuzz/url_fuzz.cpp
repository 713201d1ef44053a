#include "engine/error.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "transport/retry_policy.hpp"
#include "transport/url.hpp"

namespace lazypull::fuzz {

namespace {

void check(const Url& url) {
  const auto text = url.str();
  require(Url::parse(text) == url, "what is printed is parsed to the same", text);
  require(url.target().starts_with('/'), "a target begins with a slash", text);
  require(!url.origin().host.empty() && url.origin().port != 0, "an origin is whole", text);
  for (const char c : url.target()) require(c > ' ' && c <= '~', "a target is visible ASCII", text);
  require(url.target().find('#') == std::string::npos, "a fragment is not sent", text);
  require_message(url.display(), 100'000);
}

template <class Parse>
void attempt(Parse parse) {
  try {
    check(parse());
  } catch (const Error& error) {
    require(error.code() == Errc::bad_response, "refused as an answer", error.message());
    require_message(error.message());
  }
}

}  // namespace

void fuzz_url(Bytes input) {
  const auto text = text_of(input);
  attempt([&] { return Url::parse(text); });
  const auto base = Url::parse("https://registry.example.com:5000/v2/team/app/blobs/x?a=b");
  attempt([&] { return base.resolve(text); });
  attempt([&] { return base.with_parameter("scope", text); });
  try {
    const auto origin = parse_origin(true, text);
    require(parse_origin(true, origin.host_port()) == origin, "an origin is parsed as printed", text);
  } catch (const Error& error) {
    require(error.code() == Errc::invalid_argument, "refused as an argument", error.message());
    require_message(error.message());
  }
  require_message(printable_url(text), 100'000);
  const auto wait = parse_retry_after(text, std::chrono::system_clock::time_point());
  require(!wait || wait->count() >= 0, "nobody waits for the past", text);
}

}  // namespace lazypull::fuzz
