/* Streaming loops for the benchmark's ceiling; see stream.h.
 *
 * In a second-level cache the width of the registers decides (Zen 4: 98 GB/s with 16 bytes, 230
 * with 64), beyond it hardly. NumPy's best reduction reads at half of that rate there, and a loop
 * over calls of Python cannot keep two threads busy on memory that fits in a cache: the ceiling
 * would be too low.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stream.h"

#include <string.h>

/* Words of one step: four of the widest registers, so that no addition waits for another. */
#define STEP 32

/* The compiler may not move memory accesses across this, nor join two passes. */
#if defined(__GNUC__)
#define PASS_END(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")
#else
#define PASS_END(pointer) (void)(pointer)
#endif

#define LOOPS(name, attributes)                                                                    \
    attributes static uint64_t read_##name(const uint64_t *words, size_t n, size_t passes) {       \
        uint64_t lanes[STEP] = {0}, all = 0;                                                       \
        for (size_t pass = 0; pass < passes; pass++) {                                             \
            for (size_t i = 0; i + STEP <= n; i += STEP) {                                         \
                for (size_t lane = 0; lane < STEP; lane++) {                                       \
                    lanes[lane] |= words[i + lane];                                                \
                }                                                                                  \
            }                                                                                      \
            PASS_END(words);                                                                       \
        }                                                                                          \
        for (size_t lane = 0; lane < STEP; lane++) {                                               \
            all |= lanes[lane];                                                                    \
        }                                                                                          \
        return all;                                                                                \
    }                                                                                              \
    attributes static void scale_##name(float *floats, size_t n, size_t passes, float factor) {    \
        for (size_t pass = 0; pass < passes; pass++) {                                             \
            for (size_t i = 0; i < n; i++) {                                                       \
                floats[i] *= factor;                                                               \
            }                                                                                      \
            PASS_END(floats);                                                                      \
        }                                                                                          \
    }

LOOPS(any, )

#if defined(__clang__) && defined(__x86_64__)
LOOPS(avx2, __attribute__((target("avx2"))))
LOOPS(avx512, __attribute__((target("avx512f"))))
#elif defined(__GNUC__) && defined(__x86_64__)
LOOPS(avx2, __attribute__((target("avx2"))))
LOOPS(avx512, __attribute__((target("avx512f,prefer-vector-width=512"))))
#else
#define read_avx2 read_any
#define read_avx512 read_any
#define scale_avx2 scale_any
#define scale_avx512 scale_any
#endif

uint64_t learnae_stream_read(const void *bytes, size_t nbytes, size_t passes, int width) {
    const size_t n = nbytes / sizeof(uint64_t);
    return width == 64   ? read_avx512(bytes, n, passes)
           : width == 32 ? read_avx2(bytes, n, passes)
                         : read_any(bytes, n, passes);
}

void learnae_stream_scale(void *bytes, size_t nbytes, size_t passes, int width, float factor) {
    const size_t n = nbytes / sizeof(float);
    if (width == 64) {
        scale_avx512(bytes, n, passes, factor);
    } else if (width == 32) {
        scale_avx2(bytes, n, passes, factor);
    } else {
        scale_any(bytes, n, passes, factor);
    }
}

void learnae_stream_copy(void *dst, const void *src, size_t nbytes, size_t passes) {
    for (size_t pass = 0; pass < passes; pass++) {
        memcpy(dst, src, nbytes);
        PASS_END(dst);
    }
}
