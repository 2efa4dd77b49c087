/* Codec topk as its readers see it: how a block lies, and a walk over what it keeps.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_TOPK_H
#define LEARNAE_TOPK_H

#include "internal.h"

#define LINE_NBYTES 64
#define LINE_LENGTH (LINE_NBYTES / sizeof(float))

/* What is asked for of the next block, at most: one of 16,384 elements has half of it at 1 %. */
#define FETCHED_NBYTES 1024

/* Where the parts of a block lie, counted from its start. */
struct topk_layout {
    size_t low_at;
    size_t high_at;
    size_t nbytes;
    uint32_t n_low;  /* bits of an index that are packed */
    uint32_t n_high; /* bits of the bitmap */
};

LEARNAE_INLINE struct topk_layout topk_layout_of(size_t length, size_t n_kept) {
    struct topk_layout layout = {.low_at = 2 * n_kept};
    while (n_kept << (layout.n_low + 1) <= length) {
        layout.n_low++;
    }
    layout.n_high = (uint32_t)(n_kept + ((length - 1) >> layout.n_low));
    layout.high_at = layout.low_at + (n_kept * layout.n_low + 7) / 8;
    layout.nbytes = layout.high_at + (layout.n_high + 7) / 8;
    return layout;
}

/* A walk over the kept elements with indices from `first` on. */
struct topk_walk {
    const uint8_t *block;
    struct topk_layout layout;
    size_t n_kept;
    uint64_t word;  /* bits of the bitmap that are left of the current 64 */
    size_t word_at; /* the first of these 64 */
    size_t next;    /* the rank of the next kept element */
};

/* What is added to dst[0 .. n), of whose block `skipped` elements come before. */
struct topk_sums {
    float *dst;
    size_t n, skipped;
    float weight;
};

/* 64 bits of the bitmap; there are zeros behind its end. */
LEARNAE_INLINE uint64_t topk_high_word(const struct topk_walk *walk, size_t at) {
    uint64_t word = 0;
    const size_t left = (walk->layout.n_high + 7) / 8 - at / 8;
    const uint8_t *bits = walk->block + walk->layout.high_at + at / 8;
    if (left >= sizeof word) { /* an unknown size would be a call */
        memcpy(&word, bits, sizeof word);
    } else {
        memcpy(&word, bits, left);
    }
    return word;
}

LEARNAE_INLINE uint32_t count_ones(uint64_t word) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_popcountll(word);
#else
    uint32_t n = 0;
    for (; word != 0; word &= word - 1) {
        n++;
    }
    return n;
#endif
}

/* A kept element's high part is the number of zeros before its bit. Whole words that have fewer
 * zeros up to their end than `first` needs are passed by their count. */
LEARNAE_INLINE struct topk_walk topk_walk_from(const struct source *source, size_t first) {
    struct topk_walk walk = {.block = source->data,
                             .layout = topk_layout_of(source->length, source->n_kept),
                             .n_kept = source->n_kept};
    const size_t wanted = first >> walk.layout.n_low;
    walk.word = topk_high_word(&walk, 0);
    while (wanted > 0 && walk.word_at + 64 < walk.layout.n_high) {
        const size_t rank = walk.next + count_ones(walk.word);
        if (walk.word_at + 64 >= wanted + rank) {
            break;
        }
        walk.next = rank;
        walk.word_at += 64;
        walk.word = topk_high_word(&walk, walk.word_at);
    }
    return walk;
}

/* Ask for the block behind this one, which is wanted next, most likely. Of each payload a few lines
 * are read every few microseconds: the hardware does not see that they follow each other, and seven
 * payloads of 1e7 elements take 7 % longer. Longer blocks it does see. */
LEARNAE_INLINE void topk_fetch_next(const struct topk_walk *walk) {
    const size_t nbytes = walk->layout.nbytes;
    for (size_t at = 0; at < nbytes && at < FETCHED_NBYTES; at += LINE_NBYTES) {
        LEARNAE_PREFETCH(walk->block, nbytes + LINE_NBYTES - 1 + at);
    }
}

#endif /* LEARNAE_TOPK_H */
