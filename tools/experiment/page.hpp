#pragma once

#include <string_view>

namespace lazypull::experiment {

/// The files of tools/experiment/page, built in. The page has the placeholders @TITLE@, @STYLE@, @DATA@ and
/// @SCRIPT@.
extern const std::string_view page_html;
extern const std::string_view page_css;
extern const std::string_view page_js;

}  // namespace lazypull::experiment
