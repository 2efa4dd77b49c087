/* The AVX-512 row: x86 since 2019 (Ice Lake, Zen 4), for which it needs VBMI.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../internal.h"

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))

#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((                                                                                \
        target("avx2,f16c,sse4.2,pclmul,avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi"))),         \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,f16c,sse4.2,pclmul,avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi")
#endif

#define ISA avx512
#include "avx2.c"

const struct kernel_table learnae_internal_avx512 = {
    .isa = "avx512", KERNELS, .crc32c = crc32c_avx512};

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
