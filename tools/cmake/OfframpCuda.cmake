# Resolves OFFRAMP_CUDA to OFFRAMP_CUDA_MODE: on, off or host; enables the language where it is on.
# offramp_cuda_sources(TARGET): the target's .cu files are CUDA under nvcc, C++ on the host.

if(OFFRAMP_CUDA STREQUAL "auto")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(OFFRAMP_CUDA_MODE on)
  else()
    set(OFFRAMP_CUDA_MODE off)
  endif()
elseif(OFFRAMP_CUDA MATCHES "^(on|off|host)$")
  set(OFFRAMP_CUDA_MODE ${OFFRAMP_CUDA})
else()
  message(FATAL_ERROR "OFFRAMP_CUDA: expected auto, on, off or host, got '${OFFRAMP_CUDA}'")
endif()

if(OFFRAMP_CUDA_MODE STREQUAL "on")
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES "75-real;80-real;90" CACHE STRING "Architectures; one without suffix brings PTX too")
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know the flag of nvcc 13
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0)
    message(WARNING "CUDA ${CMAKE_CUDA_COMPILER_VERSION}: only 13.0 is tested")
  endif()
  message(STATUS "CUDA back end: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
elseif(OFFRAMP_CUDA_MODE STREQUAL "host")
  message(STATUS "CUDA back end: kernels run on the CPU, one fiber a CUDA thread (OFFRAMP_CUDA=host)")
else()
  message(STATUS "CUDA back end: off (OFFRAMP_CUDA=${OFFRAMP_CUDA})")
endif()

# cuDNN and cuBLASLt are opened at run time; to build only their headers are needed, and a build without these never
# opens the library. offramp_vendor_libraries(TARGET): adds the sources, with the headers or without.
if(NOT OFFRAMP_CUDA_MODE STREQUAL "off")
  set(toolkit_include_hints ${CUDAToolkit_INCLUDE_DIRS} /usr/local/cuda/include)
  find_path(OFFRAMP_CUDA_INCLUDE cuda_runtime_api.h HINTS ${toolkit_include_hints})
  find_path(OFFRAMP_CUBLASLT_INCLUDE cublasLt.h HINTS ${toolkit_include_hints})
  find_path(OFFRAMP_CCCL_INCLUDE thrust/scan.h HINTS ${toolkit_include_hints} PATH_SUFFIXES cccl)
  find_path(OFFRAMP_CUDNN_INCLUDE cudnn_graph.h HINTS ${toolkit_include_hints}
    DOC "Folder with cuDNN's headers, version 9; in a PyTorch installation: nvidia/cudnn/include")
  mark_as_advanced(OFFRAMP_CUDA_INCLUDE OFFRAMP_CUBLASLT_INCLUDE OFFRAMP_CUDNN_INCLUDE OFFRAMP_CCCL_INCLUDE)
  message(STATUS "CUDA libraries, opened at run time: cuDNN headers ${OFFRAMP_CUDNN_INCLUDE}, "
    "cuBLASLt header ${OFFRAMP_CUBLASLT_INCLUDE}")
endif()

function(offramp_vendor_libraries target)
  target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
  if(OFFRAMP_CUDNN_INCLUDE AND OFFRAMP_CUDA_INCLUDE)
    target_sources(${target} PRIVATE cudnn_api.cpp cudnn_conv.cpp cudnn_plan.cpp)
    set_source_files_properties(cudnn_api.cpp cudnn_conv.cpp cudnn_plan.cpp PROPERTIES
      COMPILE_OPTIONS "-isystem;${OFFRAMP_CUDNN_INCLUDE};-isystem;${OFFRAMP_CUDA_INCLUDE}")
  else()
    target_sources(${target} PRIVATE cudnn_absent.cpp)
  endif()
  if(OFFRAMP_CUBLASLT_INCLUDE AND OFFRAMP_CUDA_INCLUDE)
    target_sources(${target} PRIVATE cublaslt_product.cpp)
    set_source_files_properties(cublaslt_product.cpp PROPERTIES
      COMPILE_OPTIONS "-isystem;${OFFRAMP_CUBLASLT_INCLUDE};-isystem;${OFFRAMP_CUDA_INCLUDE}")
  else()
    target_sources(${target} PRIVATE cublaslt_absent.cpp)
  endif()
endfunction()

function(offramp_cuda_sources target)
  if(NOT OFFRAMP_CUDA_MODE STREQUAL "host")
    if(OFFRAMP_CUDA_MODE STREQUAL "on")  # what ptxas says goes to files that tools/kernel_resources reads
      set_property(TARGET ${target} PROPERTY RULE_LAUNCH_COMPILE
        "${PROJECT_SOURCE_DIR}/tools/cmake/log_resources <OBJECT>")
    endif()
    # constexpr functions of the standard library (std::bit_cast) in device code; source lines for the profilers; no
    # fused multiply-add but where the code says fmaf, so that results equal those of the host's execution.
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -fmad=false -lineinfo -Xptxas=-v -Xcompiler=-Wall,-Wextra,-Wshadow>
      $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${OFFRAMP_WERROR}>>:--Werror=all-warnings>)
    return()
  endif()
  get_target_property(all ${target} SOURCES)
  set(device ${all})
  list(FILTER device INCLUDE REGEX "\\.cu$")
  if(device)
    # '#pragma unroll' means nothing to g++; fmaf is an instruction with -march, a function without.
    set_source_files_properties(${device} PROPERTIES LANGUAGE CXX
      COMPILE_OPTIONS "${OFFRAMP_CPU_MARCH};-Wno-unknown-pragmas;-Wno-pass-failed")
  endif()
endfunction()
