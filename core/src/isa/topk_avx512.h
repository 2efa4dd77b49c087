/* Adding what topk keeps, sixteen elements at a time. avx512.c includes this; it needs VBMI2.
 *
 * Indices and products are made by vectors, the sums one by one: the instructions that gather and
 * scatter take longer than plain loads and stores, and would need indices that differ, which
 * unverified bytes may not have. One thread of a Zen 4 takes 0.7 of the time of plain C for one's
 * own model and seven payloads of 1e5 or 1e7 elements. From memory it waits for what is asked for
 * ahead. A line with each element is the right pace: without adding anything it takes longer, and
 * asking while the block is scaled, adding smaller pieces, or scaling a line with each element
 * instead of asking for it, all take up to a half longer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

/* The longest low part that is read here: with up to seven bits before it, it is in four bytes, and
 * sixteen of them are in 64. Longer ones belong to less than one element in 2^25. */
#define MAX_LOW_BITS 25

/* The lowest n of 64. */
LEARNAE_INLINE __mmask64 first_of_64(size_t n) {
    return n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
}

/* The lowest n of 16. */
LEARNAE_INLINE __mmask16 first_of_16(size_t n) {
    return n >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1);
}

LEARNAE_INLINE void scale_lanes(float *dst, const float *base, __m512 weight, __mmask16 lanes) {
    const __m512 own = _mm512_mul_ps(weight, _mm512_maskz_loadu_ps(lanes, base));
    _mm512_mask_storeu_ps(dst, lanes, wide_canonical(own));
}

/* dst = base_weight * base, in whole lines. */
LEARNAE_INLINE void scale_lines(float *dst, const float *base, float base_weight, size_t n) {
    const __m512 weight = _mm512_set1_ps(base_weight);
    const size_t before = (0 - (uintptr_t)dst / sizeof *dst) % 16;
    size_t i = before < n ? before : n;
    scale_lanes(dst, base, weight, first_of_16(i));
    for (; i + 16 <= n; i += 16) {
        scale_lanes(dst + i, base + i, weight, 0xffff);
    }
    scale_lanes(dst + i, base + i, weight, first_of_16(n - i));
}

/* The low parts of sixteen indices from `rank` on. What is read ends with the block. */
LEARNAE_INLINE __m512i topk_low_parts(const struct topk_walk *walk, size_t rank, __m512i lane) {
    const uint32_t n_low = walk->layout.n_low;
    const size_t first = rank * n_low, at = walk->layout.low_at + first / 8;
    const __m512i bytes =
        _mm512_maskz_loadu_epi8(first_of_64(walk->layout.nbytes - at), walk->block + at);
    const __m512i bit = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32((int)n_low)),
                                         _mm512_set1_epi32((int)(first % 8)));
    /* In each lane four times the number of its first byte, made the numbers of four in a row. */
    const __m512i repeat =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
    const __m512i four = _mm512_add_epi8(_mm512_shuffle_epi8(_mm512_srli_epi32(bit, 3), repeat),
                                         _mm512_set1_epi32(0x03020100));
    const __m512i word = _mm512_permutexvar_epi8(four, bytes);
    const __m512i shifted = _mm512_srlv_epi32(word, _mm512_and_si512(bit, _mm512_set1_epi32(7)));
    return _mm512_and_si512(shifted, _mm512_set1_epi32((int)((1u << n_low) - 1)));
}

/* Add n kept elements, at most sixteen, from `rank` on, of which `high` has the high parts. `step`
 * is how far to go on with fetching after each. */
LEARNAE_INLINE uintptr_t add_sixteen(const struct topk_sums *sums, const struct topk_walk *walk,
                                     size_t rank, size_t n, __m512i high, __m512i lane,
                                     uintptr_t ahead, size_t step) {
    const __mmask16 there = first_of_16(n);
    const __m512i shifted = _mm512_sllv_epi32(high, _mm512_set1_epi32((int)walk->layout.n_low));
    const __m512i index = _mm512_or_si512(shifted, topk_low_parts(walk, rank, lane));
    __m512i place = _mm512_sub_epi32(index, _mm512_set1_epi32((int)sums->skipped));
    const __m256i halves = _mm256_maskz_loadu_epi16(there, walk->block + 2 * rank);
    const __m512 value = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    __m512 product = _mm512_mul_ps(_mm512_set1_ps(sums->weight), value);
    const __mmask16 wanted =
        _mm512_mask_cmplt_epu32_mask(there, place, _mm512_set1_epi32((int)sums->n));
    if (wanted != there) {
        place = _mm512_maskz_compress_epi32(wanted, place);
        product = _mm512_maskz_compress_ps(wanted, product);
        n = (size_t)__builtin_popcount(wanted);
    }
    uint32_t places[16];
    float products[16];
    _mm512_storeu_si512(places, place);
    _mm512_storeu_ps(products, product);
    for (size_t i = 0; i < n; i++) {
        scalar_add(sums->dst + places[i], products[i]);
        LEARNAE_PREFETCH(ahead, 0);
        ahead += step;
    }
    return ahead;
}

/* Add all from the walk's on with high parts up to `end`, and a few more that are not in dst. Of 64
 * bits of the bitmap at a time: the places of ones are what is left of 0, 1, 2, ... without those
 * of zeros, and a high part is the number of zeros before its bit. */
static void add_words(struct topk_sums *sums, const struct topk_walk *walk, size_t end) {
    static const uint8_t numbers[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const __m512i number = _mm512_loadu_si512(numbers);
    const __m512i lane = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(number));
    const struct topk_walk w = *walk;
    const struct topk_sums s = *sums;
    size_t rank = w.next, word_at = w.word_at;
    uint64_t word = w.word;
    uintptr_t ahead = s.ahead;
    for (;;) {
        const size_t step = ahead < s.ahead_end ? LINE_NBYTES : 0;
        /* Unverified bytes may have had more ones in what was passed. */
        const size_t n_left = rank < w.n_kept ? w.n_kept - rank : 0;
        const size_t n_ones = (size_t)__builtin_popcountll(word);
        const size_t last = rank + (n_ones < n_left ? n_ones : n_left);
        __m512i ones = _mm512_maskz_compress_epi8(word, number);
        while (rank < last) {
            const size_t n = last - rank < 16 ? last - rank : 16;
            const __m512i at = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(ones));
            const __m512i zeros = _mm512_sub_epi32(_mm512_set1_epi32((int)(word_at - rank)), lane);
            ahead = add_sixteen(&s, &w, rank, n, _mm512_add_epi32(at, zeros), lane, ahead, step);
            ones = _mm512_alignr_epi32(ones, ones, 4);
            rank += n;
        }
        if (n_left < n_ones || word_at + 64 >= w.layout.n_high || word_at + 64 > end + rank) {
            break;
        }
        word_at += 64;
        word = topk_high_word(&w, word_at);
    }
    sums->ahead = ahead;
}

static void add_topk_avx512(float *dst, const float *base, float base_weight,
                            const struct source *sources, size_t n_sources, size_t n) {
    struct topk_sums sums = {
        .dst = dst, .n = n, .ahead = (uintptr_t)dst, .ahead_end = (uintptr_t)dst};
    struct topk_walk walks[MAX_SOURCES];
    for (size_t k = 0; k < n_sources; k++) {
        walks[k] = topk_walk_from(&sources[k], sources[k].skipped);
        if (walks[k].layout.n_low > MAX_LOW_BITS) {
            learnae_internal_add_topk(dst, base, base_weight, sources, n_sources, n);
            return;
        }
    }
    if (base_weight != 1.0f || dst != base) {
        scale_lines(dst, base, base_weight, n);
        /* What is scaled next: the memory has nothing else to do until then. */
        sums.ahead = (uintptr_t)(dst + n);
        sums.ahead_end = sums.ahead + sources[0].follow * sizeof *dst;
    }
    for (size_t k = 0; k < n_sources; k++) {
        const struct source *source = &sources[k];
        sums.skipped = source->skipped;
        sums.weight = source->weight;
        if (source->skipped + n >= source->length) {
            topk_fetch_next(&walks[k]);
        }
        add_words(&sums, &walks[k], (source->skipped + n - 1) >> walks[k].layout.n_low);
    }
}
