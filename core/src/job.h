/* A payload to be written: payload.c checks it and writes, values.c makes what is to be encoded.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_JOB_H
#define LEARNAE_JOB_H

#include "delta.h"

/* What is to be written, checked. Either `vectors`, less what `base` decodes to if there is one;
 * or `base` plus `difference`. */
struct job {
    uint32_t codec;
    uint32_t n_vectors;
    uint64_t n_elements;
    const uint8_t *schema;
    const float *const *vectors;
    const learnae_payload *base;
    const learnae_payload *difference;
    const uint8_t *base_cid; /* NULL: what is written stands alone */
    uint32_t parameter;
    struct geometry geometry;
};

/* Where a difference of codec delta is read next: its blocks follow each other, through all
 * vectors, and where each starts only the table says. Zeros: at its start. */
struct cursor {
    struct delta_reader reader;
    const uint8_t *next; /* the block behind the last one opened; NULL at the start */
    uint64_t n_opened;   /* blocks opened or passed */
    size_t n_left;       /* elements of the open block */
};

/* The elements of the block-th block of all vectors before they are encoded, in the caller's vector
 * or made in `scratch`; codec delta: those of the base. NULL where a difference of codec delta is
 * not what it should be. Blocks are asked for in ascending order with one cursor; of a difference
 * whose blocks are not as long as ours, all of them. */
LEARNAE_HIDDEN const float *learnae_internal_block_values(const struct job *job,
                                                          struct cursor *cursor, size_t block,
                                                          size_t start, size_t length,
                                                          float *scratch);

#endif /* LEARNAE_JOB_H */
