#pragma once

#include "tools/options.hpp"

#include <CLI/App.hpp>

#include <string>
#include <utility>
#include <vector>

namespace lazypull {

/// What the parser reads, before it is checked.
struct RawOptions {
  Options options;
  std::string timeout = "0s";
  std::string connect_timeout = "10s";
  std::string output = "text";
  std::string reference;
  std::vector<std::string> platforms;
  std::vector<std::string> labels;
  std::vector<std::string> remote_labels;
  std::vector<std::string> remotes;
  std::string remotes_of_environment;
  std::string max_concurrent_downloads = "3";
  std::string fetch_policy = "auto";
  std::string unpack = "auto";
  std::string progress = "auto";
  std::string user;
  std::string concurrent_layer_fetch_buffer = "0";
  std::string max_connections_per_host = "16";
  std::string limit_rate = "0";
  std::string progress_timeout = "5m";
  std::string mirror_timeout = "30s";
  std::string min_speed = "0";
  std::string retry_budget = "100";
  struct {
    std::string max_concurrent_images = "8";
    std::string max_concurrent_downloads = "8";
    std::string max_concurrent_downloads_per_registry = "0";
    std::string max_concurrent_unpacks = "8";
    std::string max_bytes_in_flight = "0";
    std::vector<std::string> class_rates;
    std::string format = "auto";
    std::string deadline = "0s";
    std::string min_free = "0";
    bool keep_going = false;
  } prewarm;
};

/// Declares the commands and their flags, all of them on the variables of one RawOptions.
class Grammar {
 public:
  explicit Grammar(RawOptions& raw);

  CLI::App& app() { return app_; }

  /// Fills in from the environment what no flag has set.
  void read_environment(const Environment& environment);

  /// Whether a flag or the environment has set the variable. After read_environment.
  bool is_set(const std::string& variable) const;

 private:
  using Fallback = std::pair<std::string*, std::pair<const CLI::Option*, std::string>>;

  bool belongs_to_command(const CLI::Option& option) const;
  CLI::Option* text(CLI::App& app, const char* names, std::string& variable, std::string help,
                    const char* placeholder, const char* environment = nullptr);
  void add_global_flags();
  CLI::App& add_command(Command command, const char* name, const char* help);
  void add_version_command();
  void add_other_commands();
  void add_image_command(Command command, const char* name, const char* help);
  void add_prewarm_command();
  void add_prewarm_limits(CLI::App& app);
  void add_choice_flags(CLI::App& app);
  void add_snapshot_flags(CLI::App& app);
  void add_unpack_flags(CLI::App& app);
  void add_registry_flags(CLI::App& app);
  void add_transfer_flags(CLI::App& app);
  void add_output_flags(CLI::App& app);

  RawOptions& raw_;
  CLI::App app_;
  std::vector<Fallback> fallbacks_;
  std::vector<const std::string*> from_environment_;
};

}  // namespace lazypull
