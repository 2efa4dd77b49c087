/* All kernels of one ISA. The file that includes this has defined
 *   ISA            its name, unquoted
 *   LANES          floats in a vec: a divisor of 8
 *   INDEPENDENT    a pragma before loops whose iterations touch no common memory, or nothing
 *   vec            vec_load vec_store vec_set vec_mul vec_add vec_sub vec_div vec_canonical (NaN to
 *                  0x7fc00000)
 *                  vec_from_{f32,bf16,f16,i8}: LANES encoded elements at any address
 *                  vec_to_{bf16,f16,i8}: the reverse, with a canonical NaN and rounded to
 *                  nearest even; i8 takes magnitudes up to 127
 *   bits           LANES unsigned integers: bits_zero bits_max bits_reduce (the largest),
 *                  vec_magnitude (the bits without the sign)
 *   codes          32 at a time: unpack_32_{i4,sign,ternary} to int8, pack_32_i4 from the codes of
 *                  i8
 *   integers       2 * LANES int32 (LANES 1: one): integers_zero; integers_add_two(sum, pair, a, b)
 *                  adds the int8 at a and b times the int16 in the lower and upper half of
 *                  pair_set(both); integers_add_one(sum, pair, a) that at a, times the lower, where
 *                  the upper is 0; vec_from_first(sum), vec_from_second(sum): either half as floats
 *   lookup         table, vec_table(a, b, c, d) of four floats; steps_first(n), 0, n, 2n ... and
 *                  steps_next(steps, n), LANES * n more; vec_lookup(table, packed, steps) looks up
 *                  by the lowest two of 32 packed bits shifted right by each step
 *   masks          a bit for each lane: vec_bits_negative (of the sign), vec_bits_above(a, b)
 *                  where a > b; with vec_abs and vec_where_above(a, b, c): c where a > b, else 0
 *   key            LANES integers in the order of floats: key_from_vec vec_from_key key_min key_max
 *   wide           LANES doubles: wide_load wide_store wide_from wide_add
 *   pack           PACK doubles, a divisor of 8: pack_load pack_store pack_zero pack_sub,
 *                  pack_from (of PACK floats), pack_add_square(sum, a), sum + a * a rounded once,
 *                  pack_add_four(sums, lanes), which adds the eight lanes of each of four sums as
 *                  sum_of_lanes() does. PACK_ROWS: 1, 2 or 4, so that as many times four of them,
 *                  and a few more, stay in registers
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define JOIN_EXPANDED(a, b) a##b
#define JOIN(a, b) JOIN_EXPANDED(a, b)
#define KERNEL_EXPANDED(name, isa) JOIN(name, JOIN(_, isa))
#define KERNEL(name) KERNEL_EXPANDED(name, ISA)

#define CODEC f32
#define SIZE 4
#define GROUPED 0
#include "add.inl.h"
#undef CODEC
#undef SIZE

#define CODEC bf16
#define SIZE 2
#include "add.inl.h"
#include "decode.inl.h"
#undef CODEC

#define CODEC f16
#include "add.inl.h"
#include "decode.inl.h"
#undef CODEC
#undef SIZE
#undef GROUPED

#include "mixture.inl.h"

#define CODEC i8
#define N_BITS 8
#define GROUP LEARNAE_I8_GROUP
#include "integers.inl.h"
#define SIZE 1
#define GROUPED 1
#include "decode.inl.h"
#undef CODEC
#undef N_BITS
#undef GROUP
#undef SIZE
#undef GROUPED

#define CODEC i4
#define N_BITS 4
#define GROUP LEARNAE_I4_GROUP
#include "packed.inl.h"
#undef CODEC
#undef N_BITS
#undef GROUP

#define CODEC sign
#define N_BITS 1
#define GROUP LEARNAE_SIGN_GROUP
#include "packed.inl.h"
#undef CODEC
#undef N_BITS

#define CODEC ternary
#define N_BITS 2
#include "packed.inl.h"
#undef CODEC
#undef N_BITS
#undef GROUP

#include "encode.inl.h"
#include "signs.inl.h"

#include "distance.inl.h"

#include "order.inl.h"

#include "pairs.inl.h"

/* f32 keeps all bits, those of a NaN too. */
static void KERNEL(decode_f32)(float *dst, const struct source *source, size_t n) {
    memcpy(dst, source->data, n * sizeof *dst);
}

#define EVERY_CODEC(kernel, topk)                                                                  \
    {                                                                                              \
        [LEARNAE_CODEC_F32] = KERNEL(kernel##f32),                                                 \
        [LEARNAE_CODEC_BF16] = KERNEL(kernel##bf16),                                               \
        [LEARNAE_CODEC_F16] = KERNEL(kernel##f16),                                                 \
        [LEARNAE_CODEC_I8] = KERNEL(kernel##i8),                                                   \
        [LEARNAE_CODEC_I4] = KERNEL(kernel##i4),                                                   \
        [LEARNAE_CODEC_SIGN] = KERNEL(kernel##sign),                                               \
        [LEARNAE_CODEC_TERNARY] = KERNEL(kernel##ternary),                                         \
        [LEARNAE_CODEC_TOPK] = topk}

/* The row, but for its name and the checksum. */
#define KERNELS                                                                                    \
    .add = EVERY_CODEC(add_, learnae_internal_add_topk),                                           \
    .decode = EVERY_CODEC(decode_, learnae_internal_decode_topk),                                  \
    .encode_bf16 = KERNEL(encode_bf16), .encode_f16 = KERNEL(encode_f16),                          \
    .encode_groups = {[LEARNAE_CODEC_I8] = KERNEL(encode_i8),                                      \
                      [LEARNAE_CODEC_I4] = KERNEL(encode_i4),                                      \
                      [LEARNAE_CODEC_SIGN] = KERNEL(encode_sign),                                  \
                      [LEARNAE_CODEC_TERNARY] = KERNEL(encode_ternary)},                           \
    .squares = KERNEL(squares), .trimmed_mean = KERNEL(trimmed_mean), .pairs = KERNEL(pairs)
