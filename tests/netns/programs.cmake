# Programs that need a kernel of their own, and the tests that run them there. Included by CMakeLists.txt.

# The laws of a datapath, held against the kernel's ip_vs, in the running kernel or a guest.
add_executable(ipvs_kernel_laws ${CMAKE_CURRENT_LIST_DIR}/ipvs_kernel_laws.cpp)
target_link_libraries(ipvs_kernel_laws PRIVATE koi_flags koi_ipvs GTest::gtest GTest::gmock)
add_test(NAME ipvs_kernel_laws COMMAND ${CMAKE_CURRENT_LIST_DIR}/engine/run --timeout 200 -- $<TARGET_FILE:ipvs_kernel_laws>)
set_tests_properties(ipvs_kernel_laws PROPERTIES LABELS netns TIMEOUT 240 SKIP_RETURN_CODE 77
                     ENVIRONMENT "KOI_BUILD=${CMAKE_BINARY_DIR}")

# What lets User Mode Linux run on processors with a wide register file (engine/uml.sh).
enable_language(C)
add_executable(wide_registers_test ${CMAKE_CURRENT_LIST_DIR}/engine/wide_registers_test.cpp ${CMAKE_CURRENT_LIST_DIR}/engine/wide_registers.c)
target_link_libraries(wide_registers_test PRIVATE koi_flags GTest::gtest_main)
add_test(NAME wide_registers COMMAND wide_registers_test)
set_tests_properties(wide_registers PROPERTIES LABELS unit)
