/* Codes of several sources joined to the index of a table, with AVX2: four bits an element, which
 * tables.inl.h looks up the sum of four signs, or of two ternary codes, by. For avx2.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

/* What the bits of an index stand for: the lowest are the first source's. */
static const float numbers_sign[4][16] = {{1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
                                          {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1},
                                          {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1},
                                          {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1}};
static const float numbers_ternary[2][16] = {
    {0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1},
    {0, 0, 0, 0, 1, 1, 1, 1, -2, -2, -2, -2, -1, -1, -1, -1}};

/* In each byte the bits of a in `mask`, and the others of b. */
LEARNAE_INLINE __m256i bits_of(__m256i a, __m256i b, int mask) {
    const __m256i of_a = _mm256_set1_epi8((char)mask);
    return _mm256_or_si256(_mm256_and_si256(of_a, a), _mm256_andnot_si256(of_a, b));
}

LEARNAE_INLINE __m256i load_32(const uint8_t *at) {
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

/* Unpacking has worked on each 128 bits by themselves. */
LEARNAE_INLINE void store_halves(uint8_t *low, uint8_t *high, __m256i a) {
    store_16(low, _mm256_castsi256_si128(a));
    store_16(high, _mm256_extracti128_si256(a, 1));
}

/* 256 elements of up to four sources. The four bytes of eight elements in a row have the indices of
 * 0 and 4, 1 and 5, 2 and 6, 3 and 7. */
LEARNAE_INLINE void join_sign(uint8_t joined[128], const uint8_t *const *data, const size_t n) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i a = load_32(data[0]), b = n > 1 ? load_32(data[1]) : zero;
    const __m256i c = n > 2 ? load_32(data[2]) : zero, d = n > 3 ? load_32(data[3]) : zero;
    const __m256i even_ab = bits_of(a, _mm256_slli_epi16(b, 1), 0x55);
    const __m256i even_cd = bits_of(c, _mm256_slli_epi16(d, 1), 0x55);
    const __m256i odd_ab = bits_of(_mm256_srli_epi16(a, 1), b, 0x55);
    const __m256i odd_cd = bits_of(_mm256_srli_epi16(c, 1), d, 0x55);
    const __m256i at_0 = bits_of(even_ab, _mm256_slli_epi16(even_cd, 2), 0x33);
    const __m256i at_1 = bits_of(odd_ab, _mm256_slli_epi16(odd_cd, 2), 0x33);
    const __m256i at_2 = bits_of(_mm256_srli_epi16(even_ab, 2), even_cd, 0x33);
    const __m256i at_3 = bits_of(_mm256_srli_epi16(odd_ab, 2), odd_cd, 0x33);
    const __m256i low_01 = _mm256_unpacklo_epi8(at_0, at_1);
    const __m256i low_23 = _mm256_unpacklo_epi8(at_2, at_3);
    const __m256i high_01 = _mm256_unpackhi_epi8(at_0, at_1);
    const __m256i high_23 = _mm256_unpackhi_epi8(at_2, at_3);
    store_halves(joined, joined + 64, _mm256_unpacklo_epi16(low_01, low_23));
    store_halves(joined + 16, joined + 80, _mm256_unpackhi_epi16(low_01, low_23));
    store_halves(joined + 32, joined + 96, _mm256_unpacklo_epi16(high_01, high_23));
    store_halves(joined + 48, joined + 112, _mm256_unpackhi_epi16(high_01, high_23));
}

/* The same of one or two: here the bytes have 0 and 2, 1 and 3, 4 and 6, 5 and 7. */
LEARNAE_INLINE void join_ternary(uint8_t joined[128], const uint8_t *const *data, const size_t n) {
    UNROLLED
    for (size_t i = 0; i < 64; i += 32) {
        const __m256i a = load_32(data[0] + i);
        const __m256i b = n > 1 ? load_32(data[1] + i) : _mm256_setzero_si256();
        const __m256i even = bits_of(a, _mm256_slli_epi16(b, 2), 0x33);
        const __m256i odd = bits_of(_mm256_srli_epi16(a, 2), b, 0x33);
        uint8_t *const at = joined + 2 * i;
        store_halves(at, at + 32, _mm256_unpacklo_epi8(even, odd));
        store_halves(at + 16, at + 48, _mm256_unpackhi_epi8(even, odd));
    }
}
