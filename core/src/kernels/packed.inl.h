/* Codecs whose codes are smaller than a byte. An ISA file includes this once per codec, with
 *   CODEC       i4, say
 *   N_BITS      of a code
 *   GROUP       elements that share a scale
 * Codes of 4 bits are first unpacked to bytes, a short run at a time: what they stand for then fits
 * in an int8, so that the sum is that of i8, with the same rounding. The bytes go through the
 * first-level cache, which costs less than to unpack in registers eight at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
LEARNAE_INLINE void KERNEL(JOIN(unpack_, CODEC))(uint8_t *codes, const uint8_t *packed, size_t n) {
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        JOIN(unpack_32_, CODEC)(codes + i, packed + i * N_BITS / 8);
    }
    for (; i < n; i++) {
        codes[i] = JOIN(scalar_code_, CODEC)(packed, i);
    }
}

#if N_BITS <= 2 && defined(JOINED_CODES)
#define WIDTH 8
#define VEC(name) JOIN(vec_, name)
#include "tables.inl.h"
#undef WIDTH
#undef VEC
#elif N_BITS <= 2
#include "lookup.inl.h"
#else
#include "integers.inl.h"
#endif

static void KERNEL(JOIN(decode_, CODEC))(float *dst, const struct source *source, size_t n) {
    uint8_t codes[GROUP];
    for (size_t first = 0, length; first < n; first += length) {
        length = n - first < GROUP ? n - first : GROUP;
        KERNEL(JOIN(unpack_, CODEC))(codes, source->data + first * N_BITS / 8, length);
        KERNEL(values_i8)
        (dst + first, codes, scalar_from_f32(source->scales + first / GROUP * 4), length);
    }
}
