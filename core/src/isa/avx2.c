/* The AVX2 row: x86 since 2013 (Haswell, Zen), with FMA, which is used only where the header
 * promises one rounding instead of two.
 * avx512.c includes this file, with ISA and the target set, for all that eight lanes do as well.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../internal.h"

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))

#include <immintrin.h>

#ifndef ISA
#define ISA avx2
#define ENDS_HERE
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,sse4.2,pclmul"))),               \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,sse4.2,pclmul")
#endif
#endif

#include "../kernels/scalar.inl.h"

#define LANES 8
#define INDEPENDENT

typedef __m256 vec;
typedef __m256i bits;
typedef __m256i key;
typedef struct {
    __m256d low, high;
} wide;

LEARNAE_INLINE vec vec_load(const float *at) {
    return _mm256_loadu_ps(at);
}
LEARNAE_INLINE void vec_store(float *at, vec a) {
    _mm256_storeu_ps(at, a);
}
LEARNAE_INLINE vec vec_set(float a) {
    return _mm256_set1_ps(a);
}
LEARNAE_INLINE vec vec_mul(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}
LEARNAE_INLINE vec vec_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}

LEARNAE_INLINE vec vec_canonical(vec a) {
    const vec nan = _mm256_castsi256_ps(_mm256_set1_epi32(CANONICAL_NAN_BITS));
    return _mm256_blendv_ps(a, nan, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

LEARNAE_INLINE __m128i load_16(const uint8_t *at) {
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

LEARNAE_INLINE void store_16(uint8_t *at, __m128i a) {
    _mm_storeu_si128((__m128i *)(void *)at, a);
}

LEARNAE_INLINE vec vec_from_f32(const uint8_t *at) {
    return _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)(const void *)at));
}

LEARNAE_INLINE vec vec_from_bf16(const uint8_t *at) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16(at)), 16));
}

LEARNAE_INLINE vec vec_from_f16(const uint8_t *at) {
    return _mm256_cvtph_ps(load_16(at));
}

LEARNAE_INLINE vec vec_from_i8(const uint8_t *at) {
    const __m128i codes = _mm_loadl_epi64((const __m128i *)(const void *)at);
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
}

typedef __m256i pair;
typedef struct {
    __m256i first, second;
} integers;

LEARNAE_INLINE pair pair_set(uint32_t both) {
    return _mm256_set1_epi32((int)both);
}

LEARNAE_INLINE integers integers_zero(void) {
    const integers result = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return result;
}

LEARNAE_INLINE integers integers_add(integers sum, pair p, __m256i first, __m256i second) {
    sum.first = _mm256_add_epi32(sum.first, _mm256_madd_epi16(first, p));
    sum.second = _mm256_add_epi32(sum.second, _mm256_madd_epi16(second, p));
    return sum;
}

/* Interleaved as bytes: as words they would come out in the order of 128-bit halves. */
LEARNAE_INLINE integers integers_add_two(integers sum, pair p, const uint8_t *at_a,
                                         const uint8_t *at_b) {
    const __m128i a = load_16(at_a), b = load_16(at_b);
    return integers_add(sum, p, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b)),
                        _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b)));
}

/* The sign's words meet the zero of the pair. */
LEARNAE_INLINE integers integers_add_one(integers sum, pair p, const uint8_t *at) {
    const __m128i a = _mm_loadl_epi64((const __m128i *)(const void *)at);
    const __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)(at + 8));
    return integers_add(sum, p, _mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(b));
}

LEARNAE_INLINE vec vec_from_first(integers sum) {
    return _mm256_cvtepi32_ps(sum.first);
}
LEARNAE_INLINE vec vec_from_second(integers sum) {
    return _mm256_cvtepi32_ps(sum.second);
}

/* Eight 32-bit integers to 16 bits, saturated, in order: the packing works on 128-bit halves. */
LEARNAE_INLINE __m128i low_halves(__m256i a) {
    const __m256i packed = _mm256_packus_epi32(a, a);
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}

/* Rounding leaves the upper half of the canonical NaN as it is. */
LEARNAE_INLINE void vec_to_bf16(uint8_t *at, vec a) {
    const __m256i x = _mm256_castps_si256(vec_canonical(a));
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(x, 16), _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    store_16(at, low_halves(_mm256_srli_epi32(_mm256_add_epi32(x, half), 16)));
}

/* The conversion keeps the sign and the upper bits of a NaN: with these it gives 0x7e00. */
LEARNAE_INLINE void vec_to_f16(uint8_t *at, vec a) {
    store_16(at, _mm256_cvtps_ph(vec_canonical(a), _MM_FROUND_TO_NEAREST_INT));
}

LEARNAE_INLINE void vec_to_i8(uint8_t *at, vec a) {
    const __m256i x = _mm256_cvtps_epi32(a); /* half to even, as rounding stands by default */
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((__m128i *)(void *)at, _mm_packs_epi16(words, words));
}

LEARNAE_INLINE bits bits_zero(void) {
    return _mm256_setzero_si256();
}
LEARNAE_INLINE bits bits_max(bits a, bits b) {
    return _mm256_max_epu32(a, b);
}

LEARNAE_INLINE uint32_t bits_reduce(bits a) {
    uint32_t lane[8], max = 0;
    _mm256_storeu_si256((__m256i *)(void *)lane, a);
    for (int i = 0; i < 8; i++) {
        max = lane[i] > max ? lane[i] : max;
    }
    return max;
}

LEARNAE_INLINE bits vec_magnitude(vec a) {
    return _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7fffffff));
}

LEARNAE_INLINE void unpack_32_i4(uint8_t *codes, const uint8_t *packed) {
    const __m128i levels = load_16((const uint8_t *)levels_i4);
    const __m128i pairs = load_16(packed), nibble = _mm_set1_epi8(15);
    const __m128i even = _mm_shuffle_epi8(levels, _mm_and_si128(pairs, nibble));
    const __m128i odd = _mm_shuffle_epi8(levels, _mm_and_si128(_mm_srli_epi16(pairs, 4), nibble));
    store_16(codes, _mm_unpacklo_epi8(even, odd));
    store_16(codes + 16, _mm_unpackhi_epi8(even, odd));
}

/* Each byte to its eight places, where one of its bits is left. */
LEARNAE_INLINE void unpack_32_sign(uint8_t *codes, const uint8_t *packed) {
    const __m256i place = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((int)read_u32(packed)), place);
    const __m256i negative = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
    _mm256_storeu_si256((__m256i *)(void *)codes, _mm256_or_si256(negative, _mm256_set1_epi8(1)));
}

/* Half a byte is two codes: one table has what the first stands for, one what the second does. */
LEARNAE_INLINE void unpack_32_ternary(uint8_t *codes, const uint8_t *packed) {
    const __m128i first = _mm_setr_epi8(0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1);
    const __m128i second = _mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, -2, -2, -2, -2, -1, -1, -1, -1);
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)packed);
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i halves =
        _mm_and_si128(_mm_unpacklo_epi8(bytes, _mm_srli_epi16(bytes, 4)), nibble);
    const __m128i even = _mm_shuffle_epi8(first, halves), odd = _mm_shuffle_epi8(second, halves);
    store_16(codes, _mm_unpacklo_epi8(even, odd));
    store_16(codes + 16, _mm_unpackhi_epi8(even, odd));
}

#define JOINED_CODES
#include "../kernels/joined.inl.h"

typedef vec vec_floats;
typedef __m256i vec_shifts;

LEARNAE_INLINE vec_shifts vec_shifts_sign(void) {
    return _mm256_setr_epi32(0, 8, 16, 24, 4, 12, 20, 28);
}
LEARNAE_INLINE vec_shifts vec_shifts_ternary(void) {
    return _mm256_setr_epi32(0, 8, 4, 12, 16, 24, 20, 28);
}

/* Of an index the look-ups in either half of the table take three bits, and the blend the fourth.
 */
LEARNAE_INLINE vec vec_lookup(const vec parts[2], const uint8_t *joined, vec_shifts shifts) {
    const __m256i at = _mm256_srlv_epi32(_mm256_set1_epi32((int)read_u32(joined)), shifts);
    const vec low = _mm256_permutevar8x32_ps(parts[0], at);
    const vec high = _mm256_permutevar8x32_ps(parts[1], at);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
}

LEARNAE_INLINE vec vec_abs(vec a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
LEARNAE_INLINE vec vec_where_above(vec a, vec b, vec c) {
    return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ), c);
}
LEARNAE_INLINE uint32_t vec_bits_above(vec a, vec b) {
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
LEARNAE_INLINE uint32_t vec_bits_negative(vec a) {
    return (uint32_t)_mm256_movemask_ps(a);
}

/* A comparison is -1 where it holds: taking all of them away counts the levels passed. */
LEARNAE_INLINE void pack_32_i4(uint8_t *packed, const uint8_t *codes) {
    const __m256i code = _mm256_loadu_si256((const __m256i *)(const void *)codes);
    __m256i level = _mm256_setzero_si256();
    for (int i = 0; i < 15; i++) {
        level = _mm256_sub_epi8(level, _mm256_cmpgt_epi8(code, _mm256_set1_epi8(last_i4[i])));
    }
    const __m256i pairs = _mm256_maddubs_epi16(level, _mm256_set1_epi16(0x1001));
    store_16(packed,
             _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
}

LEARNAE_INLINE vec vec_sub(vec a, vec b) {
    return _mm256_sub_ps(a, b);
}

LEARNAE_INLINE vec vec_div(vec a, vec b) {
    return _mm256_div_ps(a, b);
}

LEARNAE_INLINE __m256i flipped(__m256i a) {
    return _mm256_xor_si256(a, _mm256_srli_epi32(_mm256_srai_epi32(a, 31), 1));
}
LEARNAE_INLINE key key_from_vec(vec a) {
    return flipped(_mm256_castps_si256(a));
}
LEARNAE_INLINE vec vec_from_key(key a) {
    return _mm256_castsi256_ps(flipped(a));
}
LEARNAE_INLINE key key_min(key a, key b) {
    return _mm256_min_epi32(a, b);
}
LEARNAE_INLINE key key_max(key a, key b) {
    return _mm256_max_epi32(a, b);
}

LEARNAE_INLINE wide wide_load(const double *at) {
    const wide result = {_mm256_loadu_pd(at), _mm256_loadu_pd(at + 4)};
    return result;
}

LEARNAE_INLINE void wide_store(double *at, wide a) {
    _mm256_storeu_pd(at, a.low);
    _mm256_storeu_pd(at + 4, a.high);
}

LEARNAE_INLINE wide wide_from(vec a) {
    const wide result = {_mm256_cvtps_pd(_mm256_castps256_ps128(a)),
                         _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))};
    return result;
}

LEARNAE_INLINE wide wide_add(wide a, wide b) {
    const wide result = {_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
    return result;
}

/* Of four sums the lanes L and L + 4, added; from lanes to sums by shuffles. */
LEARNAE_INLINE void add_halves(double *sums, const __m256d half[4]) {
    const __m256d ab = _mm256_add_pd(_mm256_permute2f128_pd(half[0], half[1], 0x20),
                                     _mm256_permute2f128_pd(half[0], half[1], 0x31));
    const __m256d cd = _mm256_add_pd(_mm256_permute2f128_pd(half[2], half[3], 0x20),
                                     _mm256_permute2f128_pd(half[2], half[3], 0x31));
    const __m256d acbd = _mm256_add_pd(_mm256_unpacklo_pd(ab, cd), _mm256_unpackhi_pd(ab, cd));
    const __m256d four = _mm256_permute4x64_pd(acbd, 0xd8);
    _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), four));
}

#ifdef PACKS_OF_EIGHT
#include "pack_avx512.h"
#else
#include "pack_avx2.h"
#endif

#include "../kernels/kernels.inl.h"

#if defined(__x86_64__)

LEARNAE_INLINE uint64_t load_8(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

LEARNAE_INLINE uint64_t product(uint64_t state, uint32_t factor) {
    return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(
        _mm_cvtsi64_si128((long long)state), _mm_cvtsi64_si128((long long)factor), 0));
}

/* The instruction takes 8 bytes each cycle but answers after three, so three strips of
 * `strip` bytes go side by side. `by_two` and `by_one` move a state past two strips and one:
 * they are x^(8 * n - 33) modulo the polynomial for n = 2 * strip and strip, reflected; the
 * missing x^33 is 32 from the closing crc32 and 1 from the reflected product.
 *
 * The strips are short so that what streams in from memory still looks like one stream: on a Zen 4,
 * one thread, those of 1,024, 512, 256 and 128 bytes make 25, 24, 22 and 20 GB/s in cache, but 6.4,
 * 6.0, 19 and 18 from memory. Folding by 128-bit carry-less products makes 13 in both, and a
 * fourth strip that is folded beside these three 26 and 21. */
LEARNAE_INLINE uint32_t three_strips(uint32_t state, const uint8_t **bytes, size_t *nbytes,
                                     const size_t strip, uint32_t by_two, uint32_t by_one) {
    for (; *nbytes >= 3 * strip; *nbytes -= 3 * strip, *bytes += 3 * strip) {
        const uint8_t *at = *bytes;
        uint64_t a = state, b = 0, c = 0;
        for (size_t i = 0; i < strip; i += 8) {
            a = _mm_crc32_u64(a, load_8(at + i));
            b = _mm_crc32_u64(b, load_8(at + i + strip));
            c = _mm_crc32_u64(c, load_8(at + i + 2 * strip));
        }
        state = (uint32_t)(_mm_crc32_u64(0, product(a, by_two) ^ product(b, by_one)) ^ c);
    }
    return state;
}

static uint32_t KERNEL(crc32c)(uint32_t state, const uint8_t *bytes, size_t nbytes) {
    state = three_strips(state, &bytes, &nbytes, 256, 0xdd7e3b0cu, 0xb9e02b86u);
    state = three_strips(state, &bytes, &nbytes, 64, 0x0d3b6092u, 0x9e4addf8u);
    for (; nbytes >= 8; nbytes -= 8, bytes += 8) {
        state = (uint32_t)_mm_crc32_u64(state, load_8(bytes));
    }
    for (; nbytes > 0; nbytes--, bytes++) {
        state = _mm_crc32_u8(state, *bytes);
    }
    return state;
}

#else

static uint32_t KERNEL(crc32c)(uint32_t state, const uint8_t *bytes, size_t nbytes) {
    for (; nbytes >= 4; nbytes -= 4, bytes += 4) {
        state = _mm_crc32_u32(state, read_u32(bytes));
    }
    for (; nbytes > 0; nbytes--, bytes++) {
        state = _mm_crc32_u8(state, *bytes);
    }
    return state;
}

#endif

#ifdef ENDS_HERE
const struct kernel_table learnae_internal_avx2 = {.isa = "avx2", KERNELS, .crc32c = crc32c_avx2};

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

#endif
