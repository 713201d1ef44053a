#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lazypull {

/// One challenge of a WWW-Authenticate header (RFC 9110 section 11.6.1).
struct Challenge {
  std::string scheme;   ///< lower case: "bearer", "basic", or one that we do not know
  std::string token68;  ///< instead of parameters
  std::vector<std::pair<std::string, std::string>> parameters;  ///< names in lower case

  /// The value of the first parameter of that name.
  std::optional<std::string_view> parameter(std::string_view name) const noexcept;

  friend bool operator==(const Challenge&, const Challenge&) = default;
};

/// All challenges of all such headers, in order. Lenient where servers are known to be sloppy (values without
/// quotes, parameters without commas); what cannot be understood ends a header, without the parameter at
/// fault. At most 16 challenges of 32 parameters, and 16 KiB a header, are looked at.
std::vector<Challenge> parse_challenges(const std::vector<std::string_view>& headers);

}  // namespace lazypull
