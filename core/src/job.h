/* A payload to be written: payload.c checks it and writes, values.c makes what is to be encoded.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_JOB_H
#define LEARNAE_JOB_H

#include "delta.h"

/* What is to be written, checked. Either `vectors`, less what `base` decodes to if there is one;
 * or `base` plus `difference`. Vectors are given leaf by leaf; one array is one leaf. */
struct job {
    uint32_t codec;
    uint32_t n_vectors;
    uint64_t n_elements;
    const uint8_t *schema;
    const float *const *vectors; /* n_vectors rows of n_leaves */
    const size_t *leaf_elements;
    size_t n_leaves;
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

/* The leaf that is read, and where in its vector it starts. Zeros: at the start. Going on from
 * there finds the next block's without a table of all starts. */
struct place {
    size_t leaf;
    size_t first;
};

/* What is made of one block before it is encoded: 128 KiB of the stack, and the way through leaves
 * and a difference of codec delta. */
struct workplace {
    struct cursor cursor;
    struct place place;
    float scratch[LEARNAE_BLOCK_LENGTH];
    float gathered[LEARNAE_BLOCK_LENGTH]; /* codec delta: the model beside its base */
};

/* LEARNAE_ERR_ARGUMENT where a leaf is NULL, or they do not add up to n_elements. */
LEARNAE_HIDDEN learnae_status learnae_internal_check_leaves(const struct job *job,
                                                            learnae_message *message);

/* A vector's elements [start, start + length), in the caller's leaf where one holds them all,
 * otherwise gathered in `scratch`. */
LEARNAE_HIDDEN const float *learnae_internal_model_values(const struct job *job,
                                                          struct place *place, uint32_t vector,
                                                          size_t start, size_t length,
                                                          float *scratch);

/* The elements of the block-th block of all vectors before they are encoded, in the caller's vector
 * or made in the scratch; codec delta: those of the base. NULL where a difference of codec delta is
 * not what it should be. Blocks are asked for in ascending order with one workplace; of a
 * difference whose blocks are not as long as ours, all of them. */
LEARNAE_HIDDEN const float *learnae_internal_block_values(const struct job *job,
                                                          struct workplace *workplace, size_t block,
                                                          size_t start, size_t length);

/* copy.c. Write one block of codec f32 with its padding; return its CRC-32C. `past_caches`: they do
 * not hold the payload. */
LEARNAE_HIDDEN uint32_t learnae_internal_copy(uint8_t *dst, const float *values,
                                              const struct extent *extent, bool past_caches);

#endif /* LEARNAE_JOB_H */
