# koi_stories(PREFIX LABEL [PREPARED_BY NAME]): the stories in this folder, as tests. Those that the running kernel can tell are
# told one by one; those that need ip_vs are all told in one guest (started once, by the fixture), and one test each looks up
# what became of it. `run --list` says which is which; a new file in stories/ makes CMake ask again. Slow ones have the label
# `slow`. What takes long and serves all of them is made before anybody's time runs, by the test NAME (`run --prepare`).
#
# A story waits for most of its time, a compiler never: `ctest -j` is told four times the processors (./dev test), and each test
# how many of these quarters it wants. The longest begin first, since they would have the others wait at the end.
set(KOI_WHOLE_PROCESSOR 4)
set(KOI_WHOLE_MACHINE 64)  # alone

function(koi_stories prefix label)
    cmake_parse_arguments(STORIES "" "PREPARED_BY" "" ${ARGN})
    file(GLOB story_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/stories/*.py)
    set(runner ${CMAKE_CURRENT_SOURCE_DIR}/run)
    set(results ${CMAKE_BINARY_DIR}/${label}-stories)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${runner} ${story_files})

    execute_process(COMMAND ${runner} --list OUTPUT_VARIABLE listed OUTPUT_STRIP_TRAILING_WHITESPACE
                    RESULT_VARIABLE failed ERROR_VARIABLE complaint)
    if(failed)
        message(FATAL_ERROR "${runner} --list failed:\n${complaint}")
    endif()

    set(told "KOI_BUILD=${CMAKE_BINARY_DIR}")
    set(guest_seconds 300)  # one that is emulated needs minutes to boot
    set(guest_labels ${label})
    set(guest_stories FALSE)
    string(REPLACE ";" "," listed "${listed}")
    string(REPLACE "\n" ";" listed "${listed}")
    foreach(line IN LISTS listed)
        string(REPLACE "," ";" fields "${line}")
        list(GET fields 0 name)
        list(GET fields 1 kernel)
        list(GET fields 2 seconds)
        list(GET fields 3 quiet)
        set(labels ${label})
        # Machines add SLOW;RELEASE to the line; in a guest they are slow in any case, since it must be an emulated one.
        if(label STREQUAL "machines" AND (line MATCHES ",1,[a-z]+$" OR kernel STREQUAL "guest"))
            list(APPEND labels slow)
        elseif(line MATCHES "later_release_2")  # compiles the programs once more
            list(APPEND labels slow)
        endif()
        if(kernel STREQUAL "guest")
            set(guest_stories TRUE)
            set(guest_labels ${labels})
            math(EXPR guest_seconds "${guest_seconds} + ${seconds}")
            add_test(NAME ${prefix}.${name} COMMAND ${runner} --report ${name} --results ${results})
            set_tests_properties(${prefix}.${name} PROPERTIES FIXTURES_REQUIRED ${label}_guest)
        else()
            math(EXPR seconds "${seconds} + 60")
            add_test(NAME ${prefix}.${name} COMMAND ${runner} --kernel here --results ${results} --exactly ${name})
            set(quarters 1)
            if(quiet)  # limits of tenths of a second
                set(quarters ${KOI_WHOLE_PROCESSOR})
            elseif(STORIES_PREPARED_BY)  # they boot something
                set(quarters 2)
            endif()
            set_tests_properties(${prefix}.${name} PROPERTIES TIMEOUT ${seconds} COST ${seconds} PROCESSORS ${quarters})
            if(STORIES_PREPARED_BY)
                set_property(TEST ${prefix}.${name} APPEND PROPERTY FIXTURES_REQUIRED ${STORIES_PREPARED_BY})
            endif()
        endif()
        foreach(release later_release_1 later_release_2 earlier_release)  # tests/netns/CMakeLists.txt has the fixtures
            if(line MATCHES "${release}")
                set_property(TEST ${prefix}.${name} APPEND PROPERTY FIXTURES_REQUIRED ${release})
            endif()
        endforeach()
        set_tests_properties(${prefix}.${name} PROPERTIES LABELS "${labels}" SKIP_RETURN_CODE 77 ENVIRONMENT "${told}")
    endforeach()

    if(STORIES_PREPARED_BY)
        add_test(NAME ${STORIES_PREPARED_BY} COMMAND ${runner} --kernel here --prepare)
        set_tests_properties(${STORIES_PREPARED_BY} PROPERTIES FIXTURES_SETUP ${STORIES_PREPARED_BY} LABELS ${label} COST 2000
                             PROCESSORS ${KOI_WHOLE_MACHINE} TIMEOUT 3600 ENVIRONMENT "${told}")
    endif()

    if(guest_stories)
        add_test(NAME ${label}_guest COMMAND ${runner} --take-to-guest --all --judge-later --results ${results})
        set_tests_properties(${label}_guest PROPERTIES FIXTURES_SETUP ${label}_guest LABELS "${guest_labels}" COST 1000
                             PROCESSORS ${KOI_WHOLE_PROCESSOR} TIMEOUT ${guest_seconds} ENVIRONMENT "${told}")
    endif()
endfunction()
