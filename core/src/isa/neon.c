/* The NEON row: 64-bit ARM with the CRC-32 instructions (all but a few of the first).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../internal.h"

#if defined(__GNUC__) && defined(__aarch64__)

#include <arm_neon.h>

#include "../kernels/scalar.inl.h"

#define ISA neon
#define LANES 8
#define INDEPENDENT

/* Two registers: one load brings eight bf16, f16 or i8. */
typedef struct {
    float32x4_t low, high;
} vec;
typedef uint32x4_t bits;
typedef struct {
    int32x4_t low, high;
} key;
typedef struct {
    float64x2_t part[4];
} wide;

LEARNAE_INLINE vec vec_pair(float32x4_t low, float32x4_t high) {
    const vec result = {low, high};
    return result;
}

LEARNAE_INLINE vec vec_load(const float *at) {
    return vec_pair(vld1q_f32(at), vld1q_f32(at + 4));
}

LEARNAE_INLINE void vec_store(float *at, vec a) {
    vst1q_f32(at, a.low);
    vst1q_f32(at + 4, a.high);
}

LEARNAE_INLINE vec vec_set(float a) {
    return vec_pair(vdupq_n_f32(a), vdupq_n_f32(a));
}

LEARNAE_INLINE vec vec_mul(vec a, vec b) {
    return vec_pair(vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high));
}

LEARNAE_INLINE vec vec_add(vec a, vec b) {
    return vec_pair(vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high));
}

LEARNAE_INLINE float32x4_t canonical(float32x4_t a) {
    return vbslq_f32(vceqq_f32(a, a), a, vreinterpretq_f32_u32(vdupq_n_u32(CANONICAL_NAN_BITS)));
}

LEARNAE_INLINE vec vec_canonical(vec a) {
    return vec_pair(canonical(a.low), canonical(a.high));
}

LEARNAE_INLINE vec vec_from_f32(const uint8_t *at) {
    return vec_pair(vreinterpretq_f32_u8(vld1q_u8(at)), vreinterpretq_f32_u8(vld1q_u8(at + 16)));
}

LEARNAE_INLINE vec vec_from_bf16(const uint8_t *at) {
    const uint16x8_t half = vreinterpretq_u16_u8(vld1q_u8(at));
    return vec_pair(vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(half), 16)),
                    vreinterpretq_f32_u32(vshll_high_n_u16(half, 16)));
}

LEARNAE_INLINE vec vec_from_f16(const uint8_t *at) {
    const float16x8_t half = vreinterpretq_f16_u8(vld1q_u8(at));
    return vec_pair(vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half));
}

LEARNAE_INLINE vec vec_from_i8(const uint8_t *at) {
    const int16x8_t codes = vmovl_s8(vreinterpret_s8_u8(vld1_u8(at)));
    return vec_pair(vcvtq_f32_s32(vmovl_s16(vget_low_s16(codes))),
                    vcvtq_f32_s32(vmovl_high_s16(codes)));
}

typedef int16x4_t pair;
typedef struct {
    int32x4_t part[4];
} integers;

LEARNAE_INLINE pair pair_set(uint32_t both) {
    return vreinterpret_s16_u32(vdup_n_u32(both));
}

LEARNAE_INLINE integers integers_zero(void) {
    const integers result = {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}};
    return result;
}

/* One smlal for four products: no conversion to float, no addition. */
LEARNAE_INLINE integers integers_add_one(integers sum, pair p, const uint8_t *at) {
    const int8x16_t codes = vreinterpretq_s8_u8(vld1q_u8(at));
    const int16x8_t low = vmovl_s8(vget_low_s8(codes)), high = vmovl_high_s8(codes);
    sum.part[0] = vmlal_lane_s16(sum.part[0], vget_low_s16(low), p, 0);
    sum.part[1] = vmlal_high_lane_s16(sum.part[1], low, p, 0);
    sum.part[2] = vmlal_lane_s16(sum.part[2], vget_low_s16(high), p, 0);
    sum.part[3] = vmlal_high_lane_s16(sum.part[3], high, p, 0);
    return sum;
}

LEARNAE_INLINE integers integers_add_two(integers sum, pair p, const uint8_t *at_a,
                                         const uint8_t *at_b) {
    return integers_add_one(integers_add_one(sum, p, at_a), vdup_lane_s16(p, 1), at_b);
}

LEARNAE_INLINE vec vec_from_first(integers sum) {
    return vec_pair(vcvtq_f32_s32(sum.part[0]), vcvtq_f32_s32(sum.part[1]));
}
LEARNAE_INLINE vec vec_from_second(integers sum) {
    return vec_pair(vcvtq_f32_s32(sum.part[2]), vcvtq_f32_s32(sum.part[3]));
}

/* Rounding leaves the upper half of the canonical NaN as it is. */
LEARNAE_INLINE uint16x4_t rounded_bf16(float32x4_t a) {
    const uint32x4_t x = vreinterpretq_u32_f32(canonical(a));
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(x, 16), vdupq_n_u32(1));
    return vshrn_n_u32(vaddq_u32(x, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
}

LEARNAE_INLINE void vec_to_bf16(uint8_t *at, vec a) {
    const uint16x8_t half = vcombine_u16(rounded_bf16(a.low), rounded_bf16(a.high));
    vst1q_u8(at, vreinterpretq_u8_u16(half));
}

LEARNAE_INLINE void vec_to_f16(uint8_t *at, vec a) {
    const vec x = vec_canonical(a);
    vst1q_u8(at, vreinterpretq_u8_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.low), x.high)));
}

LEARNAE_INLINE void vec_to_i8(uint8_t *at, vec a) {
    const int16x8_t words =
        vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a.low)), vqmovn_s32(vcvtnq_s32_f32(a.high)));
    vst1_u8(at, vreinterpret_u8_s8(vqmovn_s16(words)));
}

LEARNAE_INLINE bits bits_zero(void) {
    return vdupq_n_u32(0);
}
LEARNAE_INLINE bits bits_max(bits a, bits b) {
    return vmaxq_u32(a, b);
}
LEARNAE_INLINE uint32_t bits_reduce(bits a) {
    return vmaxvq_u32(a);
}

LEARNAE_INLINE bits vec_magnitude(vec a) {
    const uint32x4_t mask = vdupq_n_u32(0x7fffffff);
    return vmaxq_u32(vandq_u32(vreinterpretq_u32_f32(a.low), mask),
                     vandq_u32(vreinterpretq_u32_f32(a.high), mask));
}

LEARNAE_INLINE void unpack_32_i4(uint8_t *codes, const uint8_t *packed) {
    const uint8x16_t levels = vld1q_u8((const uint8_t *)levels_i4), pairs = vld1q_u8(packed);
    const uint8x16_t even = vqtbl1q_u8(levels, vandq_u8(pairs, vdupq_n_u8(15)));
    const uint8x16_t odd = vqtbl1q_u8(levels, vshrq_n_u8(pairs, 4));
    vst1q_u8(codes, vzip1q_u8(even, odd));
    vst1q_u8(codes + 16, vzip2q_u8(even, odd));
}

/* Each byte to its eight places, where one of its bits is left. */
LEARNAE_INLINE void unpack_32_sign(uint8_t *codes, const uint8_t *packed) {
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    for (int i = 0; i < 2; i++) {
        const uint8x16_t bytes =
            vcombine_u8(vdup_n_u8(packed[2 * i]), vdup_n_u8(packed[2 * i + 1]));
        vst1q_u8(codes + 16 * i, vorrq_u8(vtstq_u8(bytes, bit), vdupq_n_u8(1)));
    }
}

/* Half a byte is two codes: one table has what the first stands for, one what the second does. */
LEARNAE_INLINE void unpack_32_ternary(uint8_t *codes, const uint8_t *packed) {
    static const int8_t first[16] = {0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1};
    static const int8_t second[16] = {0, 0, 0, 0, 1, 1, 1, 1, -2, -2, -2, -2, -1, -1, -1, -1};
    const uint8x8_t bytes = vld1_u8(packed), nibble = vdup_n_u8(15);
    const uint8x8_t low = vand_u8(bytes, nibble), high = vshr_n_u8(bytes, 4);
    const uint8x16_t halves = vcombine_u8(vzip1_u8(low, high), vzip2_u8(low, high));
    const uint8x16_t even = vqtbl1q_u8(vreinterpretq_u8_s8(vld1q_s8(first)), halves);
    const uint8x16_t odd = vqtbl1q_u8(vreinterpretq_u8_s8(vld1q_s8(second)), halves);
    vst1q_u8(codes, vzip1q_u8(even, odd));
    vst1q_u8(codes + 16, vzip2q_u8(even, odd));
}

typedef uint8x16_t table;
typedef struct {
    int32x4_t low, high; /* negative: NEON shifts left */
} steps;

LEARNAE_INLINE table vec_table(float a, float b, float c, float d) {
    const float at[4] = {a, b, c, d};
    return vreinterpretq_u8_f32(vld1q_f32(at));
}

/* The four bytes of a float are looked up one by one: 4 * code + 0, 1, 2, 3. */
LEARNAE_INLINE float32x4_t lookup(table t, uint32x4_t word, int32x4_t by) {
    const uint32x4_t code = vandq_u32(vshlq_u32(word, by), vdupq_n_u32(3));
    const uint32x4_t index = vmlaq_u32(vdupq_n_u32(0x03020100), code, vdupq_n_u32(0x04040404));
    return vreinterpretq_f32_u8(vqtbl1q_u8(t, vreinterpretq_u8_u32(index)));
}

LEARNAE_INLINE vec vec_lookup(table t, const uint8_t *packed, steps s) {
    const uint32x4_t word = vdupq_n_u32(read_u32(packed));
    return vec_pair(lookup(t, word, s.low), lookup(t, word, s.high));
}

LEARNAE_INLINE steps steps_first(int n) {
    static const int32_t lane[4] = {0, -1, -2, -3};
    const int32x4_t low = vmulq_n_s32(vld1q_s32(lane), n);
    const steps result = {low, vsubq_s32(low, vdupq_n_s32(4 * n))};
    return result;
}

LEARNAE_INLINE steps steps_next(steps s, int n) {
    const int32x4_t by = vdupq_n_s32(8 * n);
    const steps result = {vsubq_s32(s.low, by), vsubq_s32(s.high, by)};
    return result;
}

LEARNAE_INLINE vec vec_abs(vec a) {
    return vec_pair(vabsq_f32(a.low), vabsq_f32(a.high));
}

LEARNAE_INLINE float32x4_t where(uint32x4_t mask, float32x4_t a) {
    return vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(a)));
}

LEARNAE_INLINE vec vec_where_above(vec a, vec b, vec c) {
    return vec_pair(where(vcgtq_f32(a.low, b.low), c.low),
                    where(vcgtq_f32(a.high, b.high), c.high));
}

/* One bit of each of eight masks. */
LEARNAE_INLINE uint32_t mask_bits(uint32x4_t low, uint32x4_t high) {
    const uint8x8_t bit = vcreate_u8(0x8040201008040201u);
    const uint16x8_t mask = vcombine_u16(vmovn_u32(low), vmovn_u32(high));
    return vaddv_u8(vand_u8(vmovn_u16(mask), bit));
}

LEARNAE_INLINE uint32_t vec_bits_above(vec a, vec b) {
    return mask_bits(vcgtq_f32(a.low, b.low), vcgtq_f32(a.high, b.high));
}

LEARNAE_INLINE uint32_t vec_bits_negative(vec a) {
    return mask_bits(vcltzq_s32(vreinterpretq_s32_f32(a.low)),
                     vcltzq_s32(vreinterpretq_s32_f32(a.high)));
}

/* A comparison is -1 where it holds: taking all of them away counts the levels passed. */
LEARNAE_INLINE uint8x16_t levels_passed(uint8x16_t codes) {
    uint8x16_t level = vdupq_n_u8(0);
    for (int i = 0; i < 15; i++) {
        level = vsubq_u8(level, vcgtq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8(last_i4[i])));
    }
    return level;
}

LEARNAE_INLINE void pack_32_i4(uint8_t *packed, const uint8_t *codes) {
    const uint8x16_t a = levels_passed(vld1q_u8(codes)), b = levels_passed(vld1q_u8(codes + 16));
    vst1q_u8(packed, vsliq_n_u8(vuzp1q_u8(a, b), vuzp2q_u8(a, b), 4));
}

LEARNAE_INLINE vec vec_sub(vec a, vec b) {
    return vec_pair(vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high));
}

LEARNAE_INLINE vec vec_div(vec a, vec b) {
    return vec_pair(vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high));
}

LEARNAE_INLINE int32x4_t flipped(int32x4_t a) {
    const uint32x4_t below = vshrq_n_u32(vreinterpretq_u32_s32(vshrq_n_s32(a, 31)), 1);
    return veorq_s32(a, vreinterpretq_s32_u32(below));
}

LEARNAE_INLINE key key_from_vec(vec a) {
    const key result = {flipped(vreinterpretq_s32_f32(a.low)),
                        flipped(vreinterpretq_s32_f32(a.high))};
    return result;
}

LEARNAE_INLINE vec vec_from_key(key a) {
    return vec_pair(vreinterpretq_f32_s32(flipped(a.low)), vreinterpretq_f32_s32(flipped(a.high)));
}

LEARNAE_INLINE key key_min(key a, key b) {
    const key result = {vminq_s32(a.low, b.low), vminq_s32(a.high, b.high)};
    return result;
}

LEARNAE_INLINE key key_max(key a, key b) {
    const key result = {vmaxq_s32(a.low, b.low), vmaxq_s32(a.high, b.high)};
    return result;
}

LEARNAE_INLINE wide wide_load(const double *at) {
    const wide result = {{vld1q_f64(at), vld1q_f64(at + 2), vld1q_f64(at + 4), vld1q_f64(at + 6)}};
    return result;
}

LEARNAE_INLINE void wide_store(double *at, wide a) {
    for (int i = 0; i < 4; i++) {
        vst1q_f64(at + 2 * i, a.part[i]);
    }
}

LEARNAE_INLINE wide wide_from(vec a) {
    const wide result = {{vcvt_f64_f32(vget_low_f32(a.low)), vcvt_high_f64_f32(a.low),
                          vcvt_f64_f32(vget_low_f32(a.high)), vcvt_high_f64_f32(a.high)}};
    return result;
}

LEARNAE_INLINE wide wide_add(wide a, wide b) {
    wide result;
    for (int i = 0; i < 4; i++) {
        result.part[i] = vaddq_f64(a.part[i], b.part[i]);
    }
    return result;
}

#include "pack_neon.h"

#include "../kernels/kernels.inl.h"

/* As inline assembly, because the intrinsics need a command-line flag. */
LEARNAE_INLINE uint32_t crc_step_8(uint32_t state, uint64_t value) {
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(state) : "r"(value));
    return state;
}

LEARNAE_INLINE uint32_t crc_step_1(uint32_t state, uint32_t value) {
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(state) : "r"(value));
    return state;
}

static uint32_t crc32c_neon(uint32_t state, const uint8_t *bytes, size_t nbytes) {
    for (; nbytes >= 8; nbytes -= 8, bytes += 8) {
        uint64_t value;
        memcpy(&value, bytes, sizeof value);
        state = crc_step_8(state, value);
    }
    for (; nbytes > 0; nbytes--, bytes++) {
        state = crc_step_1(state, *bytes);
    }
    return state;
}

const struct kernel_table learnae_internal_neon = {.isa = "neon", KERNELS, .crc32c = crc32c_neon};

#endif
