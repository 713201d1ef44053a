#pragma once

#include "tools/experiment/spec.hpp"

#include <boost/json/object.hpp>

#include <filesystem>

namespace lazypull::experiment {

/// What is written down with every run: {"machine": {…}, "versions": {…}}. A program that does not tell its
/// version is left out. `work` is where the experiment runs.
boost::json::object describe_environment(const Programs& programs, const std::filesystem::path& work);

}  // namespace lazypull::experiment
