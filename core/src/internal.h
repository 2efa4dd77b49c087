/* What the files of the core share: the kernel table and the geometry of a payload.
 *
 * Each instruction set ("ISA") is one file in isa/ that ends in one constant kernel_table.
 * The loop bodies are in kernels/ and are written once, against the dozen vector verbs that
 * such a file defines. Everything else is plain C and calls the table.
 *
 * Include this file first: it switches contraction off for the whole file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_INTERNAL_H
#define LEARNAE_INTERNAL_H

/* A fused multiply-add rounds once where the header promises two roundings. GCC fuses by
 * default wherever the target can (-march=native, aarch64), across intrinsics too. This works
 * without command-line flags, which an embedder's build would forget. Clang's -ffp-contract=fast
 * alone overrides it, and leaves no macro to refuse it by: the header warns of it. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* GCC defines one for each part of -ffast-math, Clang 16 only these two. */
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) ||           \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "learnae promises the same bits everywhere: build without -ffast-math and its parts"
#endif

#include <float.h>

/* 16: only _Float16 is widened, which is not used here. */
#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "learnae needs float arithmetic in float: on 32-bit x86 build with -msse2 -mfpmath=sse"
#endif

/* Loads and stores copy payload bytes as they lie. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "learnae supports little-endian machines only"
#endif

#include "../include/learnae.h"

#include <stdbool.h>
#include <string.h>

#if defined(__GNUC__)
#define LEARNAE_HIDDEN __attribute__((visibility("hidden")))
#define LEARNAE_INLINE static inline __attribute__((always_inline, unused))
#define LEARNAE_NOINLINE __attribute__((noinline))
#define LEARNAE_PRINTF(at, first) __attribute__((format(printf, at, first)))
/* Asks for the line, in the second-level cache, that far behind `at`, wherever that is. */
#define LEARNAE_PREFETCH(at, nbytes)                                                               \
    __builtin_prefetch((const void *)((uintptr_t)(at) + (nbytes)), 0, 2)
#else
#define LEARNAE_PREFETCH(at, nbytes) ((void)0)
#define LEARNAE_HIDDEN
#define LEARNAE_INLINE static inline
#define LEARNAE_NOINLINE
#define LEARNAE_PRINTF(at, first)
#endif

/* Elements averaged before the next pass: 64 KiB of floats. The tile that collects the sum is
 * read and written again in every pass of MAX_SOURCES models, so it should stay in a
 * second-level cache (256 KiB and more on anything recent) beside what streams through; on the
 * other side every model's run must be long enough for the hardware's prefetching. Tiles of
 * 1,024 lose a sixth; 4,096 to 65,536 measure alike. 16,384 is also the writer's block length, so
 * that a pass over payloads meets one block of each. */
#define TILE_LENGTH 16384

/* What takes so much memory goes past the caches where it is written without being read: here the
 * start has left the third-level cache of most CPUs before the end is there. */
#define LARGE_NBYTES ((uint64_t)32 << 20)

/* Models added in one pass, beside the base. More streams at once exceed what the prefetchers
 * follow; fewer make more passes over the sum. */
#define MAX_SOURCES 8

/* Elements over which pairs of models are compared at a time: so many of 16 models in float64 fill
 * a first-level cache of 32 KiB. Their sums are the header's, so this is no tuning knob. */
#define PAIR_RUN 256

/* Elements whose squares are added in float32: as the header promises. */
#define SQUARES_RUN 256

/* The first magnitude, as bits, that is not finite. */
#define NONFINITE_BITS 0x7f800000u

/* A call that touches more than this finds hardly anything in a cache: those of most processors
 * are smaller, and one core has a part of it. */
#define STREAMED_NBYTES (64 << 20)

/* Every codec's groups end at multiples of this, but for the last of a block: so blocks are cut at
 * them, and a pass over payloads may start at any of them. */
#define BLOCK_STEP 256

#define N_CODECS (LEARNAE_CODEC_I4Z + 1) /* with the unused 0 */

/* What sets one codec apart for everything but the kernels. */
struct codec {
    const char *name;
    uint32_t n_bits; /* of an element's code; 0: not all elements have one */
    uint32_t group;  /* elements that share a scale; 0: there are no scales */
    uint32_t packs;  /* the codec whose blocks it has packed; 0: none */
};

/* Elements of the sum, at .. end, that this thread will come to next, and has to multiply by
 * `weight` then. A kernel that leaves the memory idle may do some of that: it moves `at` past what
 * it has done. Or it only fetches them, and says up to where. */
struct ahead {
    float *at, *end;
    float weight;
    uintptr_t fetched;
};

/* One model's elements, encoded, and the weight it is added with. No pointer is aligned. */
struct source {
    const uint8_t *data;   /* the code of the first element */
    const uint8_t *scales; /* the scale of the first group, where the codec has groups */
    float weight;
    bool streamed;       /* all of the call comes from memory, not from caches; a hint */
    uint32_t skipped;    /* topk, where data is the whole block: how many elements come before */
    uint32_t length;     /* and of how many elements */
    uint32_t n_kept;     /* it keeps how many */
    struct ahead *ahead; /* and, with the first source, what can be done meanwhile */
};

/* dst[i] = base_weight*base[i] + weight 0*source 0[i] + ..., each product and each sum rounded,
 * NaN made canonical. n_sources is 0 to MAX_SOURCES. dst may be base or an f32 source, at the
 * same address. Element 0 starts a group; where codes are smaller than a byte, also a byte.
 * With topk base is dst, its weight is 1, and elements that are not kept keep their bits; what is
 * ahead, which is no part of dst[0 .. n), may change as its own comment says. */
typedef void add_kernel(float *dst, const float *base, float base_weight,
                        const struct source *sources, size_t n_sources, size_t n);

/* dst[i] = source[i], whatever the source's weight. */
typedef void decode_kernel(float *dst, const struct source *source, size_t n);

typedef void encode_kernel(uint8_t *dst, const float *src, size_t n);

/* False, with scales and codes in any state, where src has a NaN or infinity. */
typedef bool encode_groups_kernel(uint8_t *scales, uint8_t *codes, const float *src, size_t n);

/* One step of a sorting network: of two models' keys the smaller goes to `low`, the larger to
 * `high`, as far as anything later needs them. */
struct exchange {
    uint8_t low, high;
    bool keep_low, keep_high;
};

/* How the values of one element are brought in order: enough of a sorting network for those that
 * are left when n_trim are cut off at either end. */
struct network {
    size_t n_models, n_trim, n_exchanges;
    struct exchange exchanges[543]; /* of Batcher's network for LEARNAE_ROBUST_MAX models */
};

struct kernel_table {
    const char *isa;
    add_kernel *add[N_CODECS]; /* indexed by codec; [0] is unused */
    decode_kernel *decode[N_CODECS];
    encode_kernel *encode_bf16;
    encode_kernel *encode_f16;
    encode_groups_kernel *encode_groups[N_CODECS]; /* NULL where the codec has no groups */
    /* Adds to the eight lanes of each sum, of distance2 only where there is a reference. `value`
     * is the start of a run. */
    void (*squares)(double distance2[8], double norm2[8], const float *value,
                    const float *reference, size_t n);
    /* dst may be one of the models, at the same address, unless it goes past the caches. */
    void (*trimmed_mean)(float *dst, const float *const *models, const struct network *network,
                         bool past_caches, size_t n);
    /* sums[i * n_models + j] += the squared distance of models i and j, for i < j, over PAIR_RUN
     * elements of each. */
    void (*pairs)(double *sums, const float *const *models, size_t n_models);
    /* On the register's content: without the inversions at start and end. */
    uint32_t (*crc32c)(uint32_t state, const uint8_t *bytes, size_t nbytes);
};

/* dispatch.c: the table in use; picks the best at the first call. */
LEARNAE_HIDDEN const struct kernel_table *learnae_internal_kernels(void);

extern LEARNAE_HIDDEN const struct kernel_table learnae_internal_portable;
extern LEARNAE_HIDDEN const struct kernel_table learnae_internal_avx2;
#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 8) /* older GCC knows no VNNI */
#define KNOWS_AVX512
#endif
extern LEARNAE_HIDDEN const struct kernel_table learnae_internal_avx512;
extern LEARNAE_HIDDEN const struct kernel_table learnae_internal_neon;

/* crc32c.c: the portable one. */
LEARNAE_HIDDEN uint32_t learnae_internal_crc32c(uint32_t state, const uint8_t *bytes,
                                                size_t nbytes);

/* status.c: fill the message, if there is one, and return the status. */
LEARNAE_HIDDEN learnae_status learnae_internal_fail(learnae_status status, learnae_message *message,
                                                    const char *format, ...) LEARNAE_PRINTF(3, 4);

/* One block: its elements, how many of them are kept (topk; otherwise 0), and its size without
 * and with padding; codec delta: the most it can be. */
struct extent {
    size_t length;
    size_t n_kept;
    size_t content_nbytes;
    size_t nbytes;
};

/* Where everything lies in a payload; it follows from five numbers (docs/payload.md). */
struct geometry {
    uint64_t blocks_per_vector;
    uint64_t n_blocks;
    uint64_t table_nbytes; /* with padding */
    uint64_t vector_nbytes;
    uint64_t nbytes;
    struct extent full; /* a block of block_length */
    struct extent last; /* the last one of each vector */
};

/* An entry of the block table: the block's size, then its CRC-32C. */
#define TABLE_ENTRY_NBYTES 8

/* codec.c. NULL for an unknown codec. */
LEARNAE_HIDDEN const struct codec *learnae_internal_codec(uint32_t codec);

/* The scales of a block. */
LEARNAE_HIDDEN uint64_t learnae_internal_scales_nbytes(uint32_t codec, uint64_t length);

/* Whether the size of a block follows from what is in it: its extent is the most then. */
LEARNAE_HIDDEN bool learnae_internal_varies(uint32_t codec);

/* The codec must exist, n_elements be at least 1, block_length and parameter be in range. Then
 * n_blocks is exact; where it is above 2^32 - 1 the sizes mean nothing, and otherwise they are
 * below 2^55. */
LEARNAE_HIDDEN struct geometry learnae_internal_geometry(uint32_t codec, uint32_t n_vectors,
                                                         uint64_t n_elements, uint32_t block_length,
                                                         uint32_t parameter);
LEARNAE_HIDDEN struct geometry learnae_internal_geometry_of(const learnae_payload *payload);

/* LEARNAE_ERR_ARGUMENT where payload is NULL, has no such vector, or has no values as it is
 * (delta, i8z, i4z). Nothing below may be asked of such a payload. */
LEARNAE_HIDDEN learnae_status learnae_internal_check_values(const learnae_payload *payload,
                                                            uint32_t vector,
                                                            learnae_message *message);

/* The block-th block of all vectors together. */
LEARNAE_HIDDEN struct extent learnae_internal_extent(const struct geometry *geometry,
                                                     uint64_t block);

/* The encoded elements of a vector from `element` (a multiple of BLOCK_STEP) to the end of its
 * block. *n_left is their count. */
LEARNAE_HIDDEN struct source learnae_internal_source(const learnae_payload *payload,
                                                     uint32_t vector, uint64_t element,
                                                     size_t *n_left);

/* Close the gaps that blocks of varying size leave behind them in a payload at `header`, by the
 * sizes in its table; returns its size. */
LEARNAE_HIDDEN size_t learnae_internal_close_gaps(uint8_t *header, const struct geometry *geometry);

/* Encode one block with its padding, of any codec with values but f32. False where a codec with
 * groups met a NaN or infinity. */
LEARNAE_HIDDEN bool learnae_internal_encode(uint32_t codec, uint8_t *dst, const float *src,
                                            const struct extent *extent);

/* topk.c. The size of a block's content. */
LEARNAE_HIDDEN size_t learnae_internal_topk_nbytes(size_t length, size_t n_kept);

LEARNAE_HIDDEN void learnae_internal_encode_topk(uint8_t *dst, const float *src, size_t length,
                                                 size_t n_kept);

/* Whether the indices are in range and ascend, and the bits that carry nothing are 0. */
LEARNAE_HIDDEN bool learnae_internal_topk_valid(const uint8_t *block, size_t length, size_t n_kept);

/* Plain C, for every instruction set. */
LEARNAE_HIDDEN add_kernel learnae_internal_add_topk;
LEARNAE_HIDDEN decode_kernel learnae_internal_decode_topk;

/* How many models the next pass adds, when `n_left` are left: evenly many in each of as few passes
 * as possible. */
LEARNAE_INLINE size_t pass_length(size_t n_left) {
    const size_t n_passes = (n_left + MAX_SOURCES - 1) / MAX_SOURCES;
    return n_passes == 0 ? 0 : (n_left + n_passes - 1) / n_passes;
}

LEARNAE_INLINE uint64_t round_up(uint64_t n, uint64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/* payload.c */
LEARNAE_HIDDEN bool learnae_internal_all_zero(const uint8_t *bytes, size_t nbytes);

LEARNAE_INLINE uint32_t read_u32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

#endif /* LEARNAE_INTERNAL_H */
