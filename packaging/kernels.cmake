# Lets any compiler build ggml's CPU backends for ARM.
#
# A portable build compiles the same kernels for each generation of processors. The last two are for ARMv9.2
# with SME, which GCC knows since version 14, and ggml does not ask whether the compiler does: Debian 12 has
# version 12, JetPack 6 has 11. Without Arm's KleidiAI, which is off, ggml has no kernel for SME, so that
# nothing is lost where these two are compiled like the two before them, and left out of the package
# (packaging/xtask/src/package/libraries.rs).
#
# Cargo hands this file to CMake (.cargo/config.toml), which reads it when ggml's project begins.

function(compile_like_armv8_6)
    foreach(backend ggml-cpu-armv9.2_1 ggml-cpu-armv9.2_2)
        if(TARGET ${backend})
            get_target_property(options ${backend} COMPILE_OPTIONS)
            string(REPLACE "-march=armv9.2-a" "-march=armv8.6-a" options "${options}")
            string(REPLACE "+sme" "" options "${options}")
            set_target_properties(${backend} PROPERTIES COMPILE_OPTIONS "${options}")
        endif()
    endforeach()
endfunction()

# When the project is read to its end, they are there.
cmake_language(DEFER CALL compile_like_armv8_6)
