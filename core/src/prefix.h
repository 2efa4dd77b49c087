/* Prefix codes (Huffman's) for codecs with an entropy stage, which prefix.c makes.
 *
 * A code is its lengths: 0 for a symbol that does not occur, else 1 to CODE_MAX. Code words are
 * given out in the order of (length, symbol), each the next number of its length, as in RFC 1951
 * 3.2.2, and their bits are sent highest first in a stream that fills its bytes from the lowest
 * bit. Only complete codes count: whatever bits come, they mean something.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_PREFIX_H
#define LEARNAE_PREFIX_H

#include "internal.h"

/* With 11 bits the decoder's table of two bytes an entry takes 4 KiB of the first-level cache, and
 * what a limit of 15 would save is not measurable on real models. */
#define CODE_MAX 11
#define CODE_TABLE_LENGTH (1 << CODE_MAX)
#define N_SYMBOLS_MAX 256

/* Lengths of a code with least total for these counts, of which at least one is not 0. Where the
 * least needs more than CODE_MAX bits, all counts are halved and made one larger, until it does
 * not. */
LEARNAE_HIDDEN void learnae_internal_code_lengths(uint8_t *lengths, const uint32_t *counts,
                                                  size_t n_symbols);

/* The code word of each symbol, its first bit lowest. */
LEARNAE_HIDDEN void learnae_internal_code_words(uint16_t *words, const uint8_t *lengths,
                                                size_t n_symbols);

LEARNAE_HIDDEN bool learnae_internal_code_complete(const uint8_t *lengths, size_t n_symbols);

/* table[the next CODE_MAX bits] = entries[the symbol they start with]. The code is complete. */
LEARNAE_HIDDEN void learnae_internal_code_table(uint16_t table[CODE_TABLE_LENGTH],
                                                const uint8_t *lengths, const uint16_t *entries,
                                                size_t n_symbols);

#endif /* LEARNAE_PREFIX_H */
