# find_package(lazypull) gives lazypull::lazypull: the engine, the registry client and the containerd backend.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set_target_properties(lazypull_engine PROPERTIES EXPORT_NAME engine)
set_target_properties(lazypull_transport PROPERTIES EXPORT_NAME transport)
set_target_properties(lazypull_snapshot PROPERTIES EXPORT_NAME snapshot)

# The last three are there only because static libraries must name what they were built with.
install(TARGETS lazypull lazypull_engine lazypull_transport lazypull_snapshot lazypull_proto lazypull_grpc lazypull_files lazypull_options
        EXPORT lazypull-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS lazypull_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES tools/systemd/lazypull-agent.service tools/systemd/lazypull-agent.socket DESTINATION lib/systemd/system)
install(FILES tools/systemd/agent.toml DESTINATION ${CMAKE_INSTALL_DATADIR}/lazypull)

# Those left out include generated code, which stays private.
install(DIRECTORY engine transport snapshot
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lazypull
        FILES_MATCHING PATTERN "*.hpp"
        PATTERN "content_impl.hpp" EXCLUDE PATTERN "convert.hpp" EXCLUDE PATTERN "mounts.hpp" EXCLUDE PATTERN "snapshot_calls.hpp" EXCLUDE PATTERN "toml.hpp" EXCLUDE PATTERN "snapshot_service.hpp" EXCLUDE)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/lazypull)
install(EXPORT lazypull-targets NAMESPACE lazypull:: DESTINATION ${package})
configure_package_config_file(cmake/lazypull-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/lazypull-config.cmake
                              INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/lazypull-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lazypull-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/lazypull-config-version.cmake
        DESTINATION ${package})
