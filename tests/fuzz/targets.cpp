#include "tests/fuzz/fuzz_target.hpp"

#include <array>

namespace lazypull::fuzz {

std::span<const Target> targets() noexcept {
  static constexpr std::array<Target, 11> all{{{"challenge", fuzz_challenge},
                                               {"docker_config", fuzz_docker_config},
                                               {"hosts_toml", fuzz_hosts_toml},
                                               {"http", fuzz_http},
                                               {"labels", fuzz_labels},
                                               {"layer_record", fuzz_layer_record},
                                               {"manifest", fuzz_manifest},
                                               {"platform", fuzz_platform},
                                               {"reference", fuzz_reference},
                                               {"tar", fuzz_tar},
                                               {"url", fuzz_url}}};
  return all;
}

}  // namespace lazypull::fuzz
