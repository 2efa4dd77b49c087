/* Making prefix codes. All of it is integers, so that the bytes are the same everywhere.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "prefix.h"

struct node {
    uint32_t count;
    uint16_t parent;
    uint16_t symbol; /* of a leaf */
};

/* Bits of a count that one pass sorts by. Three passes are enough for a block's largest count. */
#define DIGIT_BITS 7
#define DIGITS (1 << DIGIT_BITS)

/* One pass: by a digit of the count, those with equal ones in the order that they have. Inserting
 * one by one takes several times as long for 256 symbols. */
static void sort_by_digit(struct node *to, const struct node *from, size_t n, uint32_t shift) {
    uint16_t at[DIGITS + 1] = {0};
    for (size_t i = 0; i < n; i++) {
        at[(from[i].count >> shift & (DIGITS - 1)) + 1]++;
    }
    for (size_t digit = 1; digit < DIGITS; digit++) {
        at[digit] = (uint16_t)(at[digit] + at[digit - 1]);
    }
    for (size_t i = 0; i < n; i++) {
        to[at[from[i].count >> shift & (DIGITS - 1)]++] = from[i];
    }
}

/* Symbols that occur, rarest first, equal ones in their own order. Returns how many. */
static size_t sort_leaves(struct node *nodes, const uint32_t *counts, size_t n_symbols) {
    struct node other[N_SYMBOLS_MAX] = {{0}}; /* so that compilers see a first one */
    size_t n = 0;
    for (size_t symbol = 0; symbol < n_symbols; symbol++) {
        other[n] = (struct node){.count = counts[symbol], .symbol = (uint16_t)symbol};
        n += counts[symbol] > 0;
    }
    sort_by_digit(nodes, other, n, 0);
    sort_by_digit(other, nodes, n, DIGIT_BITS);
    sort_by_digit(nodes, other, n, 2 * DIGIT_BITS);
    return n;
}

/* The rarer of the first leaf and the first inner node that have no parent yet; of two equal
 * ones the leaf, which keeps the tree flat. */
static size_t take(const struct node *nodes, size_t n_leaves, size_t *leaf, size_t *inner,
                   size_t end) {
    const bool takes_leaf =
        *leaf < n_leaves && (*inner == end || nodes[*leaf].count <= nodes[*inner].count);
    return takes_leaf ? (*leaf)++ : (*inner)++;
}

/* Join the two rarest until one node is left, the root: the last one. Inner nodes come out
 * sorted, which leaves no search. Then lengths[leaf] is its depth. Returns the largest. */
static uint32_t depths(uint8_t *lengths, struct node *nodes, size_t n_leaves) {
    const size_t n_nodes = 2 * n_leaves - 1;
    size_t leaf = 0, inner = n_leaves;
    for (size_t end = n_leaves; end < n_nodes; end++) {
        const size_t a = take(nodes, n_leaves, &leaf, &inner, end);
        const size_t b = take(nodes, n_leaves, &leaf, &inner, end);
        nodes[end].count = nodes[a].count + nodes[b].count;
        nodes[a].parent = nodes[b].parent = (uint16_t)end;
    }
    uint16_t depth[2 * N_SYMBOLS_MAX];
    uint32_t largest = 0;
    depth[n_nodes - 1] = 0;
    for (size_t i = n_nodes - 1; i-- > 0;) {
        depth[i] = (uint16_t)(depth[nodes[i].parent] + 1);
        if (i < n_leaves) {
            largest = depth[i] > largest ? depth[i] : largest;
            lengths[nodes[i].symbol] = (uint8_t)depth[i];
        }
    }
    return largest;
}

void learnae_internal_code_lengths(uint8_t *lengths, const uint32_t *counts, size_t n_symbols) {
    struct node nodes[2 * N_SYMBOLS_MAX];
    const size_t n_leaves = sort_leaves(nodes, counts, n_symbols);
    memset(lengths, 0, n_symbols);
    if (n_leaves == 1) { /* a second word makes the code complete */
        lengths[nodes[0].symbol] = lengths[nodes[0].symbol == 0 ? 1 : 0] = 1;
        return;
    }
    while (depths(lengths, nodes, n_leaves) > CODE_MAX) {
        for (size_t i = 0; i < n_leaves; i++) {
            nodes[i].count = nodes[i].count / 2 + 1;
        }
    }
}

bool learnae_internal_code_complete(const uint8_t *lengths, size_t n_symbols) {
    uint32_t used = 0;
    for (size_t symbol = 0; symbol < n_symbols; symbol++) {
        if (lengths[symbol] > CODE_MAX) {
            return false;
        }
        used += lengths[symbol] == 0 ? 0 : CODE_TABLE_LENGTH >> lengths[symbol];
    }
    return used == CODE_TABLE_LENGTH;
}

void learnae_internal_code_words(uint16_t *words, const uint8_t *lengths, size_t n_symbols) {
    uint32_t n_of[CODE_MAX + 2] = {0}, next[CODE_MAX + 2] = {0};
    for (size_t symbol = 0; symbol < n_symbols; symbol++) {
        n_of[lengths[symbol]]++;
    }
    n_of[0] = 0;
    for (int length = 1; length <= CODE_MAX; length++) {
        next[length] = (next[length - 1] + n_of[length - 1]) << 1;
    }
    for (size_t symbol = 0; symbol < n_symbols; symbol++) {
        uint32_t word = next[lengths[symbol]]++, reversed = 0;
        for (int bit = 0; bit < lengths[symbol]; bit++, word >>= 1) {
            reversed = reversed << 1 | (word & 1);
        }
        words[symbol] = (uint16_t)reversed;
    }
}

void learnae_internal_code_table(uint16_t table[CODE_TABLE_LENGTH], const uint8_t *lengths,
                                 const uint16_t *entries, size_t n_symbols) {
    uint16_t words[N_SYMBOLS_MAX];
    learnae_internal_code_words(words, lengths, n_symbols);
    for (size_t symbol = 0; symbol < n_symbols; symbol++) {
        const uint32_t step = 1u << lengths[symbol];
        for (uint32_t at = words[symbol]; lengths[symbol] > 0 && at < CODE_TABLE_LENGTH;
             at += step) {
            table[at] = entries[symbol];
        }
    }
}
