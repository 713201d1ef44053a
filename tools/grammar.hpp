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
  std::string max_concurrent_downloads = "3";
  std::string fetch_policy = "auto";
  std::string unpack = "auto";
  std::string progress = "auto";
  std::string user;
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
  void add_choice_flags(CLI::App& app);
  void add_snapshot_flags(CLI::App& app);
  void add_unpack_flags(CLI::App& app);
  void add_registry_flags(CLI::App& app);
  void add_output_flags(CLI::App& app);

  RawOptions& raw_;
  CLI::App app_;
  std::vector<Fallback> fallbacks_;
  std::vector<const std::string*> from_environment_;
};

}  // namespace lazypull
