/* The AVX-512 row: x86 since 2019 (Ice Lake, Zen 4), for which it needs VBMI, VBMI2, VNNI
 * and VPCLMULQDQ.
 *
 * Most of it is the AVX2 row, compiled with twice the registers and with masks: what waits for
 * memory gains nothing from vectors of sixteen. On a Zen 4, one thread, that takes 0.86 (f16) and
 * 0.95 (bf16) of the time of AVX2 to add seven payloads of 1e5 elements, 1.03 and 0.91 for those of
 * 1e7, and the same, to a few percent, for the rest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../internal.h"
#include "../topk.h"

#if defined(KNOWS_AVX512) && (defined(__x86_64__) || defined(__i386__))

#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,f16c,sse4.2,pclmul,avx512f,avx512dq,avx512bw,avx512vl,"        \
                          "avx512vbmi,avx512vbmi2,avx512vnni,vpclmulqdq"))),                       \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,sse4.2,pclmul,avx512f,avx512dq,avx512bw,avx512vl")
#pragma GCC target("avx512vbmi,avx512vbmi2,avx512vnni,vpclmulqdq")
#endif

#define ISA avx512
#define PACKS_OF_EIGHT
#include "avx2.c"

#include "../kernels/crc_fold.inl.h"

/* From here on in vectors of sixteen. */

/* Quiet and signalling NaN, kinds 0 and 1, to the constant; the six other kinds stay. To compare
 * and then replace takes the sums below up to a tenth longer. */
LEARNAE_INLINE __m512 wide_canonical(__m512 a) {
    const __m512 nan = _mm512_castsi512_ps(_mm512_set1_epi32(CANONICAL_NAN_BITS));
    return _mm512_fixupimm_ps(nan, a, _mm512_set1_epi32(0x11111100), 0);
}

#include "topk_avx512.h"

/* Factors as wide_integers.inl.h takes them: of four sources the upper bytes, and the lower ones,
 * and what the sum starts from, because all codes are 128 too large. */
struct split {
    uint32_t high[MAX_SOURCES / 4][N_MIXED], low[MAX_SOURCES / 4][N_MIXED];
    int32_t start[N_MIXED];
};

LEARNAE_INLINE void split_factors(struct split *split, const struct mixture *mixture,
                                  const size_t n_sources) {
    __m256i total = _mm256_setzero_si256();
    UNROLLED
    for (size_t k = 0; k < n_sources; k += 4) {
        const __m256i *pairs = (const __m256i *)(const void *)mixture->pairs[k / 2];
        __m512i four = _mm512_cvtepu32_epi64(_mm256_loadu_si256(pairs));
        if (k + 2 < n_sources) {
            const __m512i more = _mm512_cvtepu32_epi64(_mm256_loadu_si256(pairs + 1));
            four = _mm512_or_si512(four, _mm512_slli_epi64(more, 32));
        }
        const __m512i low = _mm512_and_si512(four, _mm512_set1_epi16(127));
        _mm256_storeu_si256((__m256i *)(void *)split->high[k / 4],
                            _mm512_cvtepi16_epi8(_mm512_srai_epi16(four, 7)));
        _mm256_storeu_si256((__m256i *)(void *)split->low[k / 4], _mm512_cvtepi16_epi8(low));
        const __m512i two = _mm512_madd_epi16(four, _mm512_set1_epi16(1));
        const __m512i sum = _mm512_add_epi32(two, _mm512_srli_epi64(two, 32));
        total = _mm256_add_epi32(total, _mm512_cvtepi64_epi32(sum));
    }
    const __m256i start = _mm256_mullo_epi32(total, _mm256_set1_epi32(-128));
    _mm256_storeu_si256((__m256i *)(void *)split->start, start);
}

/* The codes of four sources plus 128, of 64 elements in order, side by side: sixteen elements in
 * each of four vectors. codes_i8() and codes_i4() load those of one source. */
LEARNAE_INLINE __m512i codes_i8(const uint8_t *at) {
    return _mm512_loadu_si512(at);
}

/* Two sources are interleaved at a time, in the order that interleaving these pairs, which works on
 * 128 bits at a time, makes right: of half the elements, the L-th 128 bits have four from 4 * L on
 * and four from 16 + 4 * L on. */
LEARNAE_INLINE void interleave_i8(__m512i four[4], const __m512i codes[4]) {
    static const uint8_t order[64] = {
        0,  64, 1,  65, 2,  66, 3,  67, 16, 80, 17, 81, 18, 82, 19, 83, /* */
        4,  68, 5,  69, 6,  70, 7,  71, 20, 84, 21, 85, 22, 86, 23, 87, /* */
        8,  72, 9,  73, 10, 74, 11, 75, 24, 88, 25, 89, 26, 90, 27, 91, /* */
        12, 76, 13, 77, 14, 78, 15, 79, 28, 92, 29, 93, 30, 94, 31, 95};
    const __m512i first = _mm512_loadu_si512(order), more = _mm512_set1_epi8(-128);
    const __m512i second = _mm512_or_si512(first, _mm512_set1_epi8(32));
    UNROLLED
    for (int half = 0; half < 2; half++) {
        const __m512i at = half == 0 ? first : second;
        const __m512i ab = _mm512_permutex2var_epi8(codes[0], at, codes[1]);
        const __m512i cd = _mm512_permutex2var_epi8(codes[2], at, codes[3]);
        four[2 * half] = _mm512_xor_si512(_mm512_unpacklo_epi16(ab, cd), more);
        four[2 * half + 1] = _mm512_xor_si512(_mm512_unpackhi_epi16(ab, cd), more);
    }
}

LEARNAE_INLINE __m512i codes_i4(const uint8_t *at) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)at));
}

/* The same with bytes of two codes. Of 64 bits in a row, the lower half then has two elements of
 * four sources, the upper half those eight bytes later. Of the index into the levels, four times
 * the same sixteen, the lowest four bits count. */
LEARNAE_INLINE void interleave_i4(__m512i four[4], const __m512i codes[4]) {
    static const uint8_t order[64] = {
        0, 64, 8,  72, 1, 65, 9,  73, 16, 80, 24, 88, 17, 81, 25, 89, /* */
        2, 66, 10, 74, 3, 67, 11, 75, 18, 82, 26, 90, 19, 83, 27, 91, /* */
        4, 68, 12, 76, 5, 69, 13, 77, 20, 84, 28, 92, 21, 85, 29, 93, /* */
        6, 70, 14, 78, 7, 71, 15, 79, 22, 86, 30, 94, 23, 87, 31, 95};
    const __m512i at = _mm512_loadu_si512(order);
    const __m512i lower = _mm512_set1_epi64(0x1c140c0418100800);
    const __m512i upper = _mm512_or_si512(lower, _mm512_set1_epi8(32));
    const __m512i levels = _mm512_xor_si512(
        _mm512_broadcast_i32x4(load_16((const uint8_t *)levels_i4)), _mm512_set1_epi8(-128));
    const __m512i ab = _mm512_permutex2var_epi8(codes[0], at, codes[1]);
    const __m512i cd = _mm512_permutex2var_epi8(codes[2], at, codes[3]);
    UNROLLED
    for (int half = 0; half < 2; half++) {
        const __m512i all =
            half == 0 ? _mm512_unpacklo_epi16(ab, cd) : _mm512_unpackhi_epi16(ab, cd);
        const __m512i first = _mm512_multishift_epi64_epi8(lower, all);
        const __m512i second = _mm512_multishift_epi64_epi8(upper, all);
        four[2 * half] = _mm512_permutexvar_epi8(first, levels);
        four[2 * half + 1] = _mm512_permutexvar_epi8(second, levels);
    }
}

/* The verbs of tables.inl.h. */
typedef __m512 zmm_floats;
typedef __m512i zmm_shifts;
#define zmm_load _mm512_loadu_ps
#define zmm_store _mm512_storeu_ps
#define zmm_set _mm512_set1_ps
#define zmm_mul _mm512_mul_ps
#define zmm_add _mm512_add_ps
#define zmm_canonical wide_canonical

LEARNAE_INLINE zmm_shifts zmm_shifts_sign(void) {
    return _mm512_setr_epi32(0, 8, 16, 24, 4, 12, 20, 28, 32, 40, 48, 56, 36, 44, 52, 60);
}
LEARNAE_INLINE zmm_shifts zmm_shifts_ternary(void) {
    return _mm512_setr_epi32(0, 8, 4, 12, 16, 24, 20, 28, 32, 40, 36, 44, 48, 56, 52, 60);
}

/* Sixteen indices are 64 bits, of which this instruction gives any eight to each byte. */
LEARNAE_INLINE __m512 zmm_lookup(const __m512 parts[1], const uint8_t *joined, zmm_shifts shifts) {
    uint64_t all;
    memcpy(&all, joined, sizeof all);
    const __m512i at = _mm512_multishift_epi64_epi8(shifts, _mm512_set1_epi64((long long)all));
    return _mm512_permutexvar_ps(at, parts[0]);
}

/* Each of these instead of the row's own of eight lanes: see the table. */
#define NARROW(name) KERNEL_EXPANDED(name, avx512)
#undef ISA
#define ISA avx512_wide

#define CODEC i8
#define N_BITS 8
#define GROUP LEARNAE_I8_GROUP
#include "../kernels/wide_integers.inl.h"
#undef CODEC
#undef N_BITS
#undef GROUP

#define CODEC i4
#define N_BITS 4
#define GROUP LEARNAE_I4_GROUP
#include "../kernels/wide_integers.inl.h"
#undef CODEC
#undef N_BITS
#undef GROUP

#define WIDTH 16
#define VEC(name) JOIN(zmm_, name)
#define GROUP LEARNAE_SIGN_GROUP

#define CODEC sign
#define N_BITS 1
#include "../kernels/tables.inl.h"
#undef CODEC
#undef N_BITS

#define CODEC ternary
#define N_BITS 2
#include "../kernels/tables.inl.h"
#undef CODEC
#undef N_BITS

#include "order_avx512.h"

#undef ISA
#define ISA avx512

/* What is written twice is meant to be. The AVX2 row, and the kernels that the wide ones replace:
 * for one's own model and seven payloads, one thread of a Zen 4, gcc 12, CPU time of the AVX2 row
 * and of this one for 1e5 elements (in the caches) in us, then for 1e7 (from memory) in ms: i8 30
 * and 24, 4.2 and 4.0; i4 52 and 31, 6.9 and 4.0; sign 25 and 16, 2.7 and 2.0; ternary 43 and 23,
 * 4.6 and 2.7; topk, of which AVX2 has the plain one, 32 and 23, 2.7 and 1.7.
 * To join the codes of signs with GFNI, which transposes bits, takes a tenth less in the caches and
 * the same from memory. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

const struct kernel_table learnae_internal_avx512 = {
    .isa = "avx512",
    KERNELS,
    .add[LEARNAE_CODEC_I8] = add_i8_avx512_wide,
    .add[LEARNAE_CODEC_I4] = add_i4_avx512_wide,
    .add[LEARNAE_CODEC_SIGN] = add_sign_avx512_wide,
    .add[LEARNAE_CODEC_TERNARY] = add_ternary_avx512_wide,
    .add[LEARNAE_CODEC_TOPK] = add_topk_avx512,
    .trimmed_mean = trimmed_mean_avx512_wide,
    .crc32c = crc32c_fold_avx512};

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
