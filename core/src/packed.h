/* Codecs i8z and i4z: the blocks of i8 and i4 with their codes in a prefix code.
 *
 * Scales look random and go as they are. The symbols are the bytes that the codes fill: an int8, or
 * two elements of i4. Coding the halves of i4's bytes one by one would save another 0.8 % on a
 * trained network, as the lengths of 16 words take less room than those of 256, but needs twice the
 * look-ups. A code for each block costs 0.06 bits an element for its lengths, and follows the
 * layers. Two symbols a look-up win nothing at the seven bits that the codes of params have left.
 *
 * pack.c writes, unpack.c and verify.c read; docs/payload.md has the bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_PACKED_H
#define LEARNAE_PACKED_H

#include "header.h"
#include "streams.h"
#include "threads.h"

/* In front of the scales: the mode, and three bytes that are 0. */
#define PACKED_HEAD_NBYTES 4

#define N_CODES 256

/* Behind the scales of a coded block, before the streams: lengths of half a byte, and sizes. */
enum { PACKED_SIZES = N_CODES / 2, PACKED_STREAMS = PACKED_SIZES + 4 * N_STREAMS };

/* Codes of each stream that follow one another without a look whether there are bits enough: five
 * words of CODE_MAX bits fit into a window of 57 and, behind the seven bits left over, into 64. */
#define RUN_LENGTH 5
#define ROUND_LENGTH (RUN_LENGTH * N_STREAMS)

/* One of the two forms of a payload turned into the other, block by block. */
struct packing {
    const learnae_payload *payload;
    uint8_t *dst;
    uint32_t codec; /* of dst */
    struct geometry from, to;
    atomic_size_t bad; /* the first block found that is not right, or n_blocks */
};

/* The bytes that the codes of a block fill. */
LEARNAE_INLINE size_t n_codes_of(uint32_t codec, size_t length) {
    return (length * learnae_internal_codec(codec)->n_bits + 7) / 8;
}

/* Blocks that are done together: as many as make up a tile of elements. */
LEARNAE_INLINE size_t blocks_together(const learnae_payload *payload) {
    return payload->block_length < TILE_LENGTH ? TILE_LENGTH / payload->block_length : 1;
}

/* Where a block of dst has its place; packed ones leave room behind them. */
LEARNAE_INLINE uint8_t *block_at(const struct packing *call, size_t block) {
    const struct geometry *to = &call->to;
    return call->dst + LEARNAE_HEADER_NBYTES + to->table_nbytes +
           block / to->blocks_per_vector * to->vector_nbytes +
           block % to->blocks_per_vector * to->full.nbytes;
}

/* unpack.c. Whether `nbytes` bytes, padding included, are a block of i8z or i4z, but for its
 * streams. */
LEARNAE_HIDDEN bool learnae_internal_packed_valid(uint32_t codec, const uint8_t *block,
                                                  size_t nbytes, size_t length);

/* pack.c. What both directions check and set: the sizes, and a header over an empty table. */
LEARNAE_HIDDEN learnae_status learnae_internal_begin_packing(struct packing *call,
                                                             size_t dst_nbytes, bool packs,
                                                             learnae_message *message);

/* Put the table's entry right for the block that is at its place. */
LEARNAE_HIDDEN void learnae_internal_enter_block(const struct packing *call, size_t block,
                                                 size_t nbytes);

/* Put the header right; `nbytes` is the payload's size. */
LEARNAE_HIDDEN void learnae_internal_end_packing(const struct packing *call, size_t nbytes);

#endif /* LEARNAE_PACKED_H */
