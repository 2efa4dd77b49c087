/* Adding what topk keeps, a few hundred elements at a time. avx512.c includes this; it needs VBMI2.
 *
 * Indices and products are made by vectors, the sums one by one: the instructions that gather and
 * scatter take longer than plain loads and stores, and would need indices that differ, which
 * unverified bytes may not have. A block's are all made before any is added, so that vectors are
 * full and loops are long.
 *
 * What is left to wait for is memory, where most of the time goes into scaling one's own model. So
 * each element takes a line of the next tile with it, which was asked for 16 KiB before: neither
 * does memory wait while a tile is scaled, nor the processor while one comes. With seven payloads
 * at 1 % there are as many elements as lines. One thread of a Zen 4 takes 0.87 of the time for 1e7
 * elements that it takes with the lines only asked for, and 0.8 of that with nothing asked for.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

/* Low parts of up to 25 bits, with up to seven before them, are in four bytes, and sixteen of those
 * parts in 64. No block is long enough for more. */
_Static_assert(LEARNAE_BLOCK_LENGTH_MAX <= 1 << 25, "a low part may be longer than 25 bits");

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

/* Scale what comes before the next line. */
LEARNAE_INLINE void scale_to_line(struct ahead *ahead) {
    const size_t before = (0 - (uintptr_t)ahead->at / sizeof *ahead->at) % LINE_LENGTH;
    const size_t n_left = (size_t)(ahead->end - ahead->at), n = before < n_left ? before : n_left;
    scale_lanes(ahead->at, ahead->at, _mm512_set1_ps(ahead->weight), first_of_16(n));
    ahead->at += n;
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

/* High parts found at a time: those of a block of 16,384 elements at 1 %, and of a few more. */
#define QUEUE_LENGTH 256

/* Bytes from the line that is scaled to those asked for, in the second-level cache and the first.
 * Twice to four times as far is as good for one thread, and takes two up to 6 % longer. */
#define FAR_AHEAD 16384
#define NEAR_AHEAD 2048

/* Kept elements of one block: first their high parts, then their places in dst and what to add. */
struct topk_queue {
    uint32_t place[QUEUE_LENGTH + 64];
    float product[QUEUE_LENGTH + 64];
};

/* Put the walk's next elements into the queue, by their high parts, until it is full or they end.
 * Of 64 bits of the bitmap at a time: the places of ones are what is left of 0, 1, 2, ... without
 * those of zeros, and a high part is the number of zeros before its bit. */
LEARNAE_INLINE size_t topk_queue_high(struct topk_queue *queue, struct topk_walk *walk, size_t end,
                                      bool *is_last) {
    static const uint8_t numbers[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const __m512i number = _mm512_loadu_si512(numbers);
    const __m512i lane = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(number));
    /* Unverified bytes may have had more ones in what was passed. */
    const size_t most = walk->next < walk->n_kept ? walk->n_kept - walk->next : 0;
    size_t n = 0, word_at = walk->word_at;
    uint64_t word = walk->word;
    *is_last = false;
    while (n < QUEUE_LENGTH) {
        const size_t n_ones = (size_t)__builtin_popcountll(word);
        __m512i ones = _mm512_maskz_compress_epi8(word, number);
        for (size_t i = 0; i < n_ones; i += 16) {
            const __m512i at = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(ones));
            const uint32_t before = (uint32_t)(word_at - (walk->next + n + i));
            const __m512i zeros = _mm512_sub_epi32(_mm512_set1_epi32((int)before), lane);
            _mm512_storeu_si512(queue->place + n + i, _mm512_add_epi32(at, zeros));
            ones = _mm512_alignr_epi32(ones, ones, 4);
        }
        n += n_ones;
        word_at += 64;
        if (n >= most || word_at >= walk->layout.n_high || word_at > end + walk->next + n) {
            *is_last = true;
            break;
        }
        word = topk_high_word(walk, word_at);
    }
    walk->word = word;
    walk->word_at = word_at;
    return n < most ? n : most;
}

/* From high parts to places and products, of those in dst. */
LEARNAE_INLINE size_t topk_queue_products(struct topk_queue *queue, const struct topk_walk *walk,
                                          const struct topk_sums *sums, size_t n) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i skipped = _mm512_set1_epi32((int)sums->skipped);
    const __m512i length = _mm512_set1_epi32((int)sums->n);
    const __m512i n_low = _mm512_set1_epi32((int)walk->layout.n_low);
    const __m512 weight = _mm512_set1_ps(sums->weight);
    size_t n_found = 0;
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 there = first_of_16(n - i);
        const size_t rank = walk->next + i;
        const __m512i found = _mm512_maskz_loadu_epi32(there, queue->place + i);
        const __m512i high = _mm512_sllv_epi32(found, n_low);
        const __m512i index = _mm512_or_si512(high, topk_low_parts(walk, rank, lane));
        const __m512i place = _mm512_sub_epi32(index, skipped);
        const __mmask16 wanted = _mm512_mask_cmplt_epu32_mask(there, place, length);
        const __m256i halves = _mm256_maskz_loadu_epi16(there, walk->block + 2 * rank);
        const __m512 value =
            _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
        const __m512 product = _mm512_mul_ps(weight, value);
        _mm512_storeu_si512(queue->place + n_found, _mm512_maskz_compress_epi32(wanted, place));
        _mm512_storeu_ps(queue->product + n_found, _mm512_maskz_compress_ps(wanted, product));
        n_found += (size_t)__builtin_popcount(wanted);
    }
    return n_found;
}

/* Add what is queued, and with each element scale a line of what is ahead. */
LEARNAE_INLINE void topk_add_queue(float *dst, const struct topk_queue *queue, size_t n,
                                   struct ahead *ahead) {
    const size_t n_lines = (size_t)(ahead->end - ahead->at) / LINE_LENGTH;
    const size_t n_both = n < n_lines ? n : n_lines;
    const __m512 weight = _mm512_set1_ps(ahead->weight);
    float *at = ahead->at;
    size_t i = 0;
    for (; i < n_both; i++, at += LINE_LENGTH) {
        scalar_add(dst + queue->place[i], queue->product[i]);
        LEARNAE_PREFETCH(at, FAR_AHEAD);
        prefetch(at, NEAR_AHEAD);
        scale_lanes(at, at, weight, 0xffff);
    }
    ahead->at = at;
    for (; i < n; i++) {
        scalar_add(dst + queue->place[i], queue->product[i]);
    }
}

static void add_topk_avx512(float *dst, const float *base, float base_weight,
                            const struct source *sources, size_t n_sources, size_t n) {
    (void)base; /* is dst */
    (void)base_weight;
    struct topk_sums sums = {.dst = dst, .n = n};
    struct ahead *const ahead = sources[0].ahead;
    struct topk_queue queue;
    scale_to_line(ahead);
    for (size_t k = 0; k < n_sources; k++) {
        const struct source *source = &sources[k];
        struct topk_walk walk = topk_walk_from(source, source->skipped);
        const size_t end = (source->skipped + n - 1) >> walk.layout.n_low;
        sums.skipped = source->skipped;
        sums.weight = source->weight;
        if (source->skipped + n >= source->length) {
            topk_fetch_next(&walk);
        }
        for (bool is_last = false; !is_last;) {
            const size_t n_high = topk_queue_high(&queue, &walk, end, &is_last);
            const size_t n_found = topk_queue_products(&queue, &walk, &sums, n_high);
            walk.next += n_high;
            topk_add_queue(dst, &queue, n_found, ahead);
        }
    }
}
