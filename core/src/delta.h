/* Codec delta: the exact bits of a model, given those of its base.
 *
 * Floats of one sign are ordered as their bits are; turning the others round makes it so for all.
 * The difference of two such integers counts the floats between the two values, and its zigzag z
 * (0, -1, 1, -2, ... as 0, 1, 2, 3, ...) is small where it is. What is known of z beforehand is
 * its size: an update has about the same magnitude for all elements of a layer, so the place of
 * z's highest bit falls by one as the base's exponent rises by one. Their sum, in effect the
 * exponent of the update, gets a prefix code; the bits below the highest look random and go as
 * they are. On the checkpoints of bench/delta_ratio.py, an order-0 coder over byte planes of z
 * comes to 0.91 to 0.93 of this ratio, one over the place alone to 0.99, an ideal one over the
 * place for each exponent of the base to 1.01, and more bits of z in the code win 0.2 %.
 * Arithmetic coding (rANS) would win the 0.3 % that a prefix code loses by whole bits.
 *
 * delta_encode.c and delta_decode.c are its two halves; payload.c, values.c and verify.c use them.
 * docs/payload.md has the bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_DELTA_H
#define LEARNAE_DELTA_H

#include "streams.h"

/* Symbol 0: z is 0. Symbol 1 + c: its highest bit is bit p, and c = (p + exponent of the base)
 * mod 32, which gives p back. */
#define N_CLASSES 33

/* Byte offsets in a block. */
enum { AT_LENGTHS = 4, AT_SIZES = 24, AT_STREAMS = 40 };

/* What an element takes at most. */
#define ELEMENT_MAX_BITS (CODE_MAX + 31)

/* Elements prepared at a time, so that the loops over them can be vectorised. */
#define STEP 512

LEARNAE_INLINE uint32_t ordered(uint32_t bits) {
    return bits ^ (0x80000000u | (0u - (bits >> 31)));
}

LEARNAE_INLINE uint32_t unordered(uint32_t order) {
    return order ^ (0x80000000u | ((order >> 31) - 1u));
}

LEARNAE_INLINE uint32_t exponent(uint32_t bits) {
    return bits >> 23 & 0xff;
}

/* A block being read: its elements come one after the other. */
struct delta_reader {
    struct streams streams;
    const uint8_t *raw; /* the next element of a raw block */
    uint32_t mode;
    uint16_t table[CODE_TABLE_LENGTH];
};

/* The most that a block's content takes. */
LEARNAE_HIDDEN uint64_t learnae_internal_delta_bound(uint64_t length);

/* Encode what makes `base` become `src`; at most learnae_internal_delta_bound() bytes, of which
 * the number is returned. */
LEARNAE_HIDDEN size_t learnae_internal_encode_delta(uint8_t *dst, const float *src,
                                                    const float *base, size_t length);

/* Whether `nbytes` bytes, padding included, are a block but for its streams, which only the
 * base's values can make sense of. */
LEARNAE_HIDDEN bool learnae_internal_delta_valid(const uint8_t *block, size_t nbytes,
                                                 size_t length);

/* Begin with a valid block; then turn n values of the base at a time into the model's, where only
 * the last n of a block is not a multiple of N_STREAMS; then end. False: the streams are wrong. */
LEARNAE_HIDDEN void learnae_internal_delta_begin(struct delta_reader *reader, const uint8_t *block);
LEARNAE_HIDDEN void learnae_internal_delta_next(struct delta_reader *reader, float *values,
                                                size_t n);
LEARNAE_HIDDEN bool learnae_internal_delta_end(const struct delta_reader *reader);

#endif /* LEARNAE_DELTA_H */
