/* Codec topk: the elements of largest magnitude in a block, and where they are.
 *
 * A block keeps k of its m elements. Their k values come first, as bf16 and in the order of their
 * indices; then the indices in the form of Elias and Fano, whose size follows from k and m. With
 * l = floor(log2(m / k)), the l low bits of each index are packed one after the other; the rest of
 * index j, its high part h, is the bit h + j of a bitmap of k + ((m - 1) >> l) bits: as the indices
 * ascend, the bits do. This takes 2 + l bits an index where a plain one takes 14 or more, at most
 * half a bit above the least that any form can reach, and is read without decoding what is before.
 *
 * Nothing here touches more than k places of the result, so it is plain C on every instruction
 * set, but for what AVX-512 has of its own: isa/topk_avx512.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "topk.h"

#include "kernels/scalar.inl.h"

size_t learnae_internal_topk_nbytes(size_t length, size_t n_kept) {
    return topk_layout_of(length, n_kept).nbytes;
}

/* ---- Writing ------------------------------------------------------------------------- */

/* The bin of a histogram that holds the n-th largest, counted from 1; *n becomes its place
 * within the bin. */
static uint32_t bin_of(const uint32_t *counts, uint32_t n_bins, size_t *n) {
    uint32_t bin = n_bins - 1;
    while (counts[bin] < *n) {
        *n -= counts[bin];
        bin--;
    }
    return bin;
}

/* The n-th largest magnitude of all, as bits, found eleven, eleven and nine bits at a time: a
 * NaN is above infinity. *n becomes how many elements of just this magnitude belong to the n. */
static uint32_t nth_magnitude(const float *src, size_t length, size_t *n) {
    static const struct {
        uint32_t shift, n_bits;
    } digits[] = {{20, 11}, {9, 11}, {0, 9}};
    uint32_t counts[1 << 11], found = 0;
    for (int digit = 0; digit < 3; digit++) {
        const uint32_t shift = digits[digit].shift, n_bins = 1u << digits[digit].n_bits;
        const uint32_t above = shift + digits[digit].n_bits;
        memset(counts, 0, n_bins * sizeof counts[0]);
        for (size_t i = 0; i < length; i++) {
            const uint32_t magnitude = scalar_magnitude(src[i]);
            counts[magnitude >> shift & (n_bins - 1)] += magnitude >> above == found >> above;
        }
        found |= bin_of(counts, n_bins, n) << shift;
    }
    return found;
}

void learnae_internal_encode_topk(uint8_t *dst, const float *src, size_t length, size_t n_kept) {
    const struct topk_layout layout = topk_layout_of(length, n_kept);
    size_t n_equal = n_kept;
    const uint32_t least = nth_magnitude(src, length, &n_equal);
    memset(dst, 0, layout.nbytes);
    for (size_t i = 0, j = 0; j < n_kept; i++) {
        const uint32_t magnitude = scalar_magnitude(src[i]);
        if (magnitude < least || (magnitude == least && n_equal == 0)) {
            continue;
        }
        n_equal -= magnitude == least;
        scalar_to_bf16(dst + 2 * j, src[i]);
        for (uint32_t bit = 0; bit < layout.n_low; bit++) {
            const size_t at = j * layout.n_low + bit;
            dst[layout.low_at + at / 8] |= (uint8_t)((i >> bit & 1) << at % 8);
        }
        const size_t at = (i >> layout.n_low) + j;
        dst[layout.high_at + at / 8] |= (uint8_t)(1u << at % 8);
        j++;
    }
}

/* ---- Reading ------------------------------------------------------------------------- */

/* The lowest bit set of a word that is not 0. */
static uint32_t lowest_one(uint64_t word) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctzll(word);
#else
    return count_ones((word & (0 - word)) - 1);
#endif
}

static size_t low_bits(const struct topk_walk *walk, size_t rank) {
    const size_t at = rank * walk->layout.n_low;
    const uint8_t *byte = walk->block + walk->layout.low_at + at / 8;
    const uint32_t n_bytes = ((uint32_t)(at % 8) + walk->layout.n_low + 7) / 8;
    uint32_t bits = 0;
    for (uint32_t i = 0; i < n_bytes; i++) { /* at most 27 bits: no byte of another part is read */
        bits |= (uint32_t)byte[i] << 8 * i;
    }
    return bits >> at % 8 & ((1u << walk->layout.n_low) - 1);
}

/* The next kept element: its index, and its rank in *rank. SIZE_MAX behind the last one. */
static size_t walk_next(struct topk_walk *walk, size_t *rank) {
    while (walk->word == 0) {
        if (walk->word_at + 64 >= walk->layout.n_high) {
            return SIZE_MAX;
        }
        walk->word_at += 64;
        walk->word = topk_high_word(walk, walk->word_at);
    }
    if (walk->next >= walk->n_kept) {
        return SIZE_MAX;
    }
    const size_t high = walk->word_at + lowest_one(walk->word) - walk->next;
    walk->word &= walk->word - 1;
    *rank = walk->next++;
    return high << walk->layout.n_low | low_bits(walk, *rank);
}

/* Unverified bytes may name indices out of order, twice, or behind the block: those that are
 * in range count, in the order in which they come. */
void learnae_internal_decode_topk(float *dst, const struct source *source, size_t n) {
    struct topk_walk walk = topk_walk_from(source, source->skipped);
    const size_t end = (source->skipped + n - 1) >> walk.layout.n_low;
    memset(dst, 0, n * sizeof *dst);
    size_t rank;
    for (size_t index; (index = walk_next(&walk, &rank)) >> walk.layout.n_low <= end;) {
        if (index - source->skipped < n) {
            dst[index - source->skipped] =
                scalar_canonical(scalar_from_bf16(source->data + 2 * rank));
        }
    }
}

/* Memory to ask for: `at` may run up to 64 lines past the end, as a hint may, since a branch less
 * takes 7 % less time. */
struct fetch {
    uintptr_t at, end;
};

LEARNAE_INLINE void add_element(const struct topk_sums *sums, size_t index, const uint8_t *value) {
    if (index - sums->skipped < sums->n) {
        scalar_add(sums->dst + (index - sums->skipped), sums->weight * scalar_from_bf16(value));
    }
}

/* Add the first elements from the walk's on, all whose low bits are four bytes or more before the
 * end of the block, and fetch what is ahead, a line with each. All that changes is in registers,
 * which walk_next() leaves to chance. `end` is the last high part wanted. */
static void add_words(const struct topk_sums *sums, struct topk_walk *walk, size_t end,
                      struct fetch *fetch) {
    const struct topk_walk w = *walk;
    const struct topk_sums s = *sums;
    const uint32_t n_low = w.layout.n_low, mask = (1u << n_low) - 1;
    const uint8_t *low = w.block + w.layout.low_at;
    const size_t n_bits = (w.layout.nbytes - w.layout.low_at) * 8;
    const size_t readable = n_bits < 32 || n_low == 0 ? 0 : (n_bits - 32) / n_low;
    const size_t n = readable < w.n_kept ? readable : w.n_kept;
    size_t rank = w.next, word_at = w.word_at;
    uint64_t word = w.word;
    uintptr_t at = fetch->at;
    for (;;) {
        const uintptr_t step = at < fetch->end ? LINE_NBYTES : 0;
        for (; word != 0 && rank < n; word &= word - 1, rank++) {
            const size_t high = word_at + lowest_one(word) - rank, bit = rank * n_low;
            add_element(&s, high << n_low | (read_u32(low + bit / 8) >> bit % 8 & mask),
                        w.block + 2 * rank);
            LEARNAE_PREFETCH(at, 0);
            at += step;
        }
        if (word != 0 || word_at + 64 >= w.layout.n_high || word_at + 64 > end + rank) {
            break;
        }
        word_at += 64;
        word = topk_high_word(&w, word_at);
    }
    fetch->at = at;
    walk->word = word;
    walk->word_at = word_at;
    walk->next = rank;
}

static void add_one(struct topk_sums *sums, const struct source *source, struct fetch *fetch) {
    struct topk_walk walk = topk_walk_from(source, source->skipped);
    const size_t end = (source->skipped + sums->n - 1) >> walk.layout.n_low;
    sums->skipped = source->skipped;
    sums->weight = source->weight;
    if (source->skipped + sums->n >= source->length) {
        topk_fetch_next(&walk);
    }
    add_words(sums, &walk, end, fetch);
    size_t rank;
    for (size_t index; (index = walk_next(&walk, &rank)) >> walk.layout.n_low <= end;) {
        add_element(sums, index, source->data + 2 * rank);
    }
}

void learnae_internal_add_topk(float *dst, const float *base, float base_weight,
                               const struct source *sources, size_t n_sources, size_t n) {
    (void)base; /* is dst */
    (void)base_weight;
    struct topk_sums sums = {.dst = dst, .n = n};
    struct ahead *const ahead = sources[0].ahead;
    struct fetch fetch = {.at = (uintptr_t)ahead->at, .end = (uintptr_t)ahead->end};
    fetch.at = fetch.at < ahead->fetched ? ahead->fetched : fetch.at;
    for (size_t k = 0; k < n_sources; k++) {
        add_one(&sums, &sources[k], &fetch);
    }
    ahead->fetched = fetch.at;
}

bool learnae_internal_topk_valid(const uint8_t *block, size_t length, size_t n_kept) {
    const struct source source = {
        .data = block, .length = (uint32_t)length, .n_kept = (uint32_t)n_kept};
    struct topk_walk walk = topk_walk_from(&source, 0);
    const size_t n_low = n_kept * walk.layout.n_low, n_high = walk.layout.n_high;
    size_t n_ones = 0, rank = 0, before = 0;
    for (size_t at = 0; at < n_high; at += 64) {
        n_ones += count_ones(topk_high_word(&walk, at));
    }
    if (n_ones != n_kept || (n_low % 8 != 0 && block[walk.layout.high_at - 1] >> n_low % 8 != 0) ||
        (n_high % 8 != 0 && block[walk.layout.nbytes - 1] >> n_high % 8 != 0)) {
        return false;
    }
    for (size_t index; (index = walk_next(&walk, &rank)) != SIZE_MAX; before = index) {
        if (index >= length || (rank > 0 && index <= before)) {
            return false;
        }
    }
    return true;
}
