/* The AVX-512 row: x86 since 2019 (Ice Lake, Zen 4), for which it needs VBMI.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../internal.h"

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))

#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((                                                                                \
        target("avx2,f16c,sse4.2,pclmul,avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi"))),         \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,f16c,sse4.2,pclmul,avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi")
#endif

#define ISA avx512
#include "avx2.c"

/* From here on in vectors of sixteen. */

LEARNAE_INLINE __m512 wide_canonical(__m512 a) {
    const __m512 nan = _mm512_castsi512_ps(_mm512_set1_epi32(CANONICAL_NAN_BITS));
    return _mm512_mask_mov_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), nan);
}

LEARNAE_INLINE __m512 wide_from_i8(const uint8_t *at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(at)));
}

LEARNAE_INLINE __m512 factors_i8(float f) {
    return _mm512_set1_ps(f);
}
LEARNAE_INLINE __m512 product_i8(__m512 factors, const uint8_t *codes, size_t half) {
    return _mm512_mul_ps(factors, wide_from_i8(codes + 16 * half));
}

/* All sixteen products are a register: of the index, four bits count. */
LEARNAE_INLINE __m512 factors_i4(float f) {
    return _mm512_mul_ps(_mm512_set1_ps(f), wide_from_i8((const uint8_t *)levels_i4));
}
LEARNAE_INLINE __m512 product_i4(__m512 factors, const uint8_t *codes, size_t half) {
    const __m512i places =
        _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60);
    long long all;
    memcpy(&all, codes + 8 * half, sizeof all);
    const __m512i index = _mm512_multishift_epi64_epi8(places, _mm512_set1_epi64(all));
    return _mm512_permutexvar_ps(index, factors);
}

LEARNAE_INLINE __m512 factors_sign(float f) {
    return _mm512_set1_ps(f);
}
/* The bits are a mask as they lie. The factor with the other sign stays in a register too. */
LEARNAE_INLINE __m512 product_sign(__m512 factors, const uint8_t *codes, size_t half) {
    uint16_t negative;
    memcpy(&negative, codes + 2 * half, sizeof negative);
    return _mm512_mask_blend_ps(negative, factors, _mm512_xor_ps(factors, _mm512_set1_ps(-0.0f)));
}

/* Four products, four times: of the index, two bits count. */
LEARNAE_INLINE __m512 factors_ternary(float f) {
    return _mm512_mul_ps(_mm512_set1_ps(f), _mm512_setr4_ps(0, 1, -2, -1));
}
LEARNAE_INLINE __m512 product_ternary(__m512 factors, const uint8_t *codes, size_t half) {
    const __m512i places =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i all = _mm512_set1_epi32((int)read_u32(codes + 4 * half));
    return _mm512_permutevar_ps(factors, _mm512_srlv_epi32(all, places));
}

/* Each of these instead of the row's own of eight lanes. The AVX2 row and this one, for one's own
 * model and seven payloads, one thread of a Zen 4, gcc 12; 1e5 elements (in the caches) in us, then
 * 1e7 (from memory) in ms: i8 40 and 35, 6.4 and 5.6; i4 67 and 35, 8.9 and 5.5; sign 41 and 30,
 * 4.6 and 3.3; ternary 38 and 29, 5.5 and 3.6. bf16 and f16 wait for memory and would gain nothing.
 * For sign, shifting the bits into the factor's sign takes as long as this, and flipping the sign
 * under the mask a tenth longer. */
#define NARROW(name) KERNEL_EXPANDED(name, avx512)
#undef ISA
#define ISA avx512_wide

#define CODEC i8
#define N_BITS 8
#define GROUP LEARNAE_I8_GROUP
#include "../kernels/wide.inl.h"

#define CODEC i4
#define N_BITS 4
#define GROUP LEARNAE_I4_GROUP
#include "../kernels/wide.inl.h"

#define CODEC sign
#define N_BITS 1
#define GROUP LEARNAE_SIGN_GROUP
#include "../kernels/wide.inl.h"

#define CODEC ternary
#define N_BITS 2
#define GROUP LEARNAE_SIGN_GROUP
#include "../kernels/wide.inl.h"

#undef ISA
#define ISA avx512

/* What is written twice is meant to be. */
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
    .crc32c = crc32c_avx512};

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
