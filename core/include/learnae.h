/* learnae: averaging of many models at memory speed, and the payload that carries them.
 *
 * This header is the manual, examples/merge.c a first program. The library is C11 with no
 * dependency, no I/O, no global state but the chosen instruction set and the number of threads,
 * and no allocation: every buffer belongs to the caller, who may pass it again as soon as the
 * call returns. The stack needs 192 KiB.
 *
 * Conventions
 *   - sizes named *_nbytes are bytes, counts named n_* are elements or items.
 *   - `float` is IEEE 754 binary32. Pointers need the alignment of their type, `void *` none.
 *   - Out-parameters come last, `message` after them. Nothing is written through an out-parameter
 *     unless the call returns LEARNAE_OK, with the exceptions named below.
 *   - `message` may be NULL. Otherwise it is filled on failure with one English line that names
 *     the cause, and left alone on success.
 *   - All functions may be called from any thread at the same time on different outputs.
 *     learnae_set_isa() is the exception: call it while no other call is under way.
 *
 * Numbers
 *   Every product is rounded, then every sum (no fused multiply-add), in the order in which the
 *   caller lists the models: every instruction set and number of threads gives the same bits.
 *   Where a result is NaN, it is the one quiet NaN with bits 0x7fc00000. Infinities and subnormals
 *   follow IEEE 754; the library expects rounding mode and subnormals at their defaults and leaves
 *   them so. -ffast-math does not compile; do not use Clang's -ffp-contract=fast or
 *   -funsafe-math-optimizations, which break this and go unseen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_H
#define LEARNAE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The one place where the version is written. */
#define LEARNAE_VERSION "0.1.0"

typedef enum learnae_status {
    LEARNAE_OK = 0,
    LEARNAE_ERR_ARGUMENT = 1, /* the caller passed something that no input can make right */
    LEARNAE_ERR_SIZE = 2,     /* a buffer is too small, or a size is above the given cap */
    LEARNAE_ERR_FORMAT = 3,   /* the bytes are not a version 1 payload, or contradict themselves */
    LEARNAE_ERR_CHECKSUM = 4, /* well-formed, but a checksum disagrees: damaged in transit */
    LEARNAE_ERR_NONFINITE = 5 /* a NaN or infinity where the codec or the call cannot take one */
} learnae_status;

/* One line of English about a failure, always terminated. */
typedef struct learnae_message {
    char text[256];
} learnae_message;

/* The version this library was built as: LEARNAE_VERSION of its own header. */
const char *learnae_version(void);
/* The name of a status, such as "checksum"; "unknown" for anything else. Never NULL. */
const char *learnae_status_name(learnae_status status);

/* ---- Instruction sets ---------------------------------------------------------------
 *
 * The library holds kernels for each that the compiler could build. The first call that needs
 * one, learnae_isa() included, picks the best that this CPU and its operating system support. */

/* How many instruction sets this binary holds that this CPU can run; at least 1. */
size_t learnae_n_isas(void);

/* The name of the i-th of them, best first, "portable" last; NULL when i is out of range. */
const char *learnae_isa_name(size_t i);

/* The name of the one in use. */
const char *learnae_isa(void);
/* Use the named one from now on, or the best one where name is NULL or "best".
 * LEARNAE_ERR_ARGUMENT, and no change, where this binary or this CPU does not have it. */
learnae_status learnae_set_isa(const char *name);

/* ---- Threads ------------------------------------------------------------------------
 *
 * One, unless asked for more: then a call that reads and writes more than a megabyte is cut into
 * tiles, and workers of the library's own pool help the calling thread with them. The result has
 * the same bits for any number of threads. A call never waits for a worker that the operating
 * system has not run yet, and of two calls at once the second does its work alone; so a busy
 * machine costs the help, hardly more. Workers sleep between calls, block all signals, and have
 * 512 KiB of stack each. A child made by fork() has one thread until it asks for more. They are
 * POSIX threads (link with -pthread where the C library is older than glibc 2.34); without those,
 * or built with -DLEARNAE_NO_THREADS, there is one thread. */
#define LEARNAE_N_THREADS_MAX 256

/* Use n threads from now on, the calling one included; waits for a call that uses the pool now.
 * More than there are cores is of no use. 1 ends all workers: do so before unloading the library.
 * LEARNAE_ERR_ARGUMENT, and no change: n is 0 or above LEARNAE_N_THREADS_MAX. LEARNAE_ERR_SIZE:
 * the system does not give that many; one is in use then. */
learnae_status learnae_set_threads(size_t n);

/* How many are in use. */
size_t learnae_n_threads(void);

/* ---- Averaging ----------------------------------------------------------------------
 *
 * NaN and infinity: they are numbers like any other here; a NaN in any model makes that element NaN
 * (also with weight 0), inf - inf is NaN. The caller's gate is learnae_payload_distance(). */

/* dst[i] = weights[0]*models[0][i] + weights[1]*models[1][i] + ..., summed in this order, with the
 * weights as they are (normalise them for a mean). n_models >= 1; n_elements may be 0. dst may be
 * one of the models, at the same address (the usual case); any other overlap is undefined. */
learnae_status learnae_average(float *dst, const float *const *models, const float *weights,
                               size_t n_models, size_t n_elements, learnae_message *message);

/* The same for models of n_leaves arrays each, as one call: dst[l][i] = the sum over k of
 * weights[k] * models[k*n_leaves + l][i] for i below n_elements[l]. Each leaf follows the rules
 * of learnae_average(); no leaf of dst may overlap another leaf. n_leaves and any of n_elements
 * may be 0; pointers of an empty leaf are not looked at. */
learnae_status learnae_average_leaves(float *const *dst, const float *const *models,
                                      const float *weights, size_t n_models,
                                      const size_t *n_elements, size_t n_leaves,
                                      learnae_message *message);

/* params[i] = (1 - rate)*params[i] + rate*mean[i], where 1 - rate is rounded once.
 * rate in [0, 1], otherwise LEARNAE_ERR_ARGUMENT. n_elements may be 0. */
learnae_status learnae_mix(float *params, const float *mean, float rate, size_t n_elements,
                           learnae_message *message);

/* ---- Codecs -------------------------------------------------------------------------
 *
 * A codec turns n floats into bytes, as many as follow from n but for the last three. All are
 * little-endian; docs/payload.md has every bit.
 *   f32   4 bytes an element, the bits as they are.
 *   bf16  2 bytes, the upper half, rounded to nearest even; NaN becomes 0x7fc0.
 *   f16   2 bytes, IEEE 754 binary16, likewise, overflow to infinity; NaN becomes 0x7e00.
 *   i8    groups of LEARNAE_I8_GROUP elements (the last may be shorter) share a scale: first all
 *         scales as f32, then all codes as int8. With m the largest magnitude in the group: scale =
 *         m / 127, code = round-half-even(x * (127 / m)), each operation rounded to f32; where
 *         m < 2^-110, scale and codes are 0. Value = scale * code, which may overflow where m is
 *         within 2^-23 of the largest float. A group with a NaN or infinity cannot be encoded.
 *   i4    groups of LEARNAE_I4_GROUP elements: all scales, then all codes of 4 bits. Scale and what
 *         cannot be encoded are as in i8, whose codes are rounded to the nearest of 16 levels, of
 *         two equally near to the lower: -127 -96 -74 -56 -41 -27 -13 0 12 23 36 49 63 79 99 127.
 *         Value = scale * level.
 *   sign  for differences: groups of LEARNAE_SIGN_GROUP elements: all scales, then all signs, one
 *         bit each, 1 where the element has its sign bit (-0 has it). The scale is the mean of the
 *         magnitudes, an overflow the largest float. Value = scale or -scale. NaN as in i8.
 *   ternary  the same, with codes of 2 bits: 0 where the magnitude is not above t = 0.7f * that
 *         mean, else 1, or 3 where the element is negative (Li & Liu 2016). The scale is the mean
 *         of the magnitudes above t; 0 where there are none. Value = 0, scale or -scale.
 *   topk  for differences: of a block's n elements the k of largest magnitude, rounded to bf16, and
 *         their indices; of equal ones the first. The others count as 0. NaN is largest. The
 *         payload's `parameter` is k in a full block; a shorter one keeps its part, rounded up.
 *   delta for differences: the exact bits, in the fewer bytes the nearer the base is; at most 4
 *         an element. Nothing can be read of it but by learnae_payload_rebase().
 *   i8z, i4z  i8 and i4 with their codes packed, for slow links: see learnae_payload_pack().
 * Decoding any NaN gives 0x7fc00000, except in f32, which keeps all bits.
 */
typedef enum learnae_codec {
    LEARNAE_CODEC_F32 = 1,
    LEARNAE_CODEC_BF16 = 2,
    LEARNAE_CODEC_F16 = 3,
    LEARNAE_CODEC_I8 = 4,
    LEARNAE_CODEC_I4 = 5,
    LEARNAE_CODEC_SIGN = 6,
    LEARNAE_CODEC_TERNARY = 7,
    LEARNAE_CODEC_TOPK = 8,
    LEARNAE_CODEC_DELTA = 9,
    LEARNAE_CODEC_I8Z = 10,
    LEARNAE_CODEC_I4Z = 11
} learnae_codec;

#define LEARNAE_I8_GROUP 256
#define LEARNAE_I4_GROUP 64
#define LEARNAE_SIGN_GROUP 256 /* of ternary too */

/* The codec's short name ("f32", "bf16", "ternary" ...), or NULL for an unknown id. */
const char *learnae_codec_name(uint32_t codec);

/* ---- The payload, version 1 -----------------------------------------------------------
 *
 * One or more vectors of equal length ("params", "mean gradient") in one codec, cut into blocks,
 * each with its CRC-32C; docs/payload.md specifies every byte. A payload may lie at any address;
 * where it starts on a 64-byte boundary (as memory-mapped files do), so does every block in it.
 */
#define LEARNAE_HEADER_NBYTES 128
#define LEARNAE_ALIGNMENT 64
#define LEARNAE_SCHEMA_NBYTES 32
#define LEARNAE_CID_NBYTES 36            /* a binary CIDv1 with a SHA-256 */
#define LEARNAE_BLOCK_LENGTH 16384       /* elements a block, as the writer cuts them */
#define LEARNAE_BLOCK_LENGTH_MAX 1048576 /* as the reader takes them; a multiple of 256 */
#define LEARNAE_N_VECTORS_MAX 4

/* A payload that learnae_payload_open() accepted; made by hand it is undefined. It borrows `bytes`:
 * keep them alive and unchanged for as long as the view is used. Plain data: copy it freely. */
typedef struct learnae_payload {
    const uint8_t *bytes;
    size_t nbytes;
    uint64_t n_elements; /* per vector */
    uint32_t codec;
    uint32_t n_vectors;
    uint32_t block_length; /* elements a block; the last of a vector may be shorter */
    uint32_t n_blocks;     /* of all vectors together */
    uint8_t schema[LEARNAE_SCHEMA_NBYTES];
    uint32_t parameter;               /* topk: elements kept in a full block; otherwise 0 */
    uint8_t base[LEARNAE_CID_NBYTES]; /* the payload this is a difference to; zeros: none */
} learnae_payload;

/* The exact size of a payload as learnae_payload_write() makes it. LEARNAE_ERR_ARGUMENT for
 * an unknown codec, n_vectors outside 1..LEARNAE_N_VECTORS_MAX, or n_elements 0;
 * LEARNAE_ERR_SIZE where the size does not fit in size_t, or the blocks not in 32 bits. */
learnae_status learnae_payload_nbytes(uint32_t codec, uint32_t n_vectors, uint64_t n_elements,
                                      size_t *nbytes, learnae_message *message);

/* Write n_vectors vectors of n_elements floats as one payload of exactly
 * learnae_payload_nbytes() bytes into dst, which has room for dst_nbytes and is apart from vectors
 * that nobody changes meanwhile. The bytes depend on the arguments alone, on no instruction set.
 * LEARNAE_ERR_SIZE: dst is too small. LEARNAE_ERR_NONFINITE: a codec with scales met a NaN or
 * infinity; the message names vector and element. After a failure dst is undefined. */
learnae_status learnae_payload_write(void *dst, size_t dst_nbytes, uint32_t codec,
                                     const uint8_t schema[LEARNAE_SCHEMA_NBYTES],
                                     const float *const *vectors, uint32_t n_vectors,
                                     uint64_t n_elements, learnae_message *message);

/* How to write. Set all to zero, `size` to sizeof(learnae_write_options), and then what is
 * wanted: so a program built with an older header works with a newer library.
 * With a base, what is encoded is each element minus the base's, rounded to float. The base must
 * stand alone and have the same schema, vectors and elements; base_cid is its binary CIDv1
 * (LEARNAE_CID_NBYTES), by which receivers find it. Base and CID go together.
 * With leaves, vectors[v*n_leaves + l] is leaf l of vector v, leaf_elements[l] floats (0: it is not
 * looked at), n_elements in all. The bytes are those of the same vectors as one array each. */
typedef struct learnae_write_options {
    size_t size;
    const learnae_payload *base; /* NULL: the payload stands alone */
    const uint8_t *base_cid;
    float density; /* topk: the part of the elements to keep, up to 1; 0 means 0.01. Others: 0 */
    const size_t *leaf_elements; /* NULL, and n_leaves 0: each vector is one array */
    size_t n_leaves;
} learnae_write_options;

/* Bytes enough for learnae_payload_write_with(). Errors as for learnae_payload_nbytes(). */
learnae_status learnae_payload_bound(uint32_t codec, uint32_t n_vectors, uint64_t n_elements,
                                     const learnae_write_options *options, size_t *nbytes,
                                     learnae_message *message);

/* learnae_payload_write() with options (or NULL) into learnae_payload_bound() bytes, of which
 * *nbytes are used (unless NULL). LEARNAE_ERR_ARGUMENT also where base or leaves do not fit. */
learnae_status learnae_payload_write_with(void *dst, size_t dst_nbytes, uint32_t codec,
                                          const uint8_t schema[LEARNAE_SCHEMA_NBYTES],
                                          const float *const *vectors, uint32_t n_vectors,
                                          uint64_t n_elements, const learnae_write_options *options,
                                          size_t *nbytes, learnae_message *message);

/* Write base + difference, each element rounded to float (delta: the model's exact bits), as a
 * stand-alone payload of codec f32, learnae_payload_nbytes() bytes. Verify both first; that `base`
 * is what difference->base names, only the caller can know. LEARNAE_ERR_ARGUMENT where the two do
 * not fit together, LEARNAE_ERR_FORMAT where a delta is wrong. */
learnae_status learnae_payload_rebase(void *dst, size_t dst_nbytes, const learnae_payload *base,
                                      const learnae_payload *difference, learnae_message *message);

/* Turn a payload of i8 or i4 into one of i8z or i4z, in *nbytes bytes: all the same but its codes,
 * which are entropy-coded. And turn it back, byte for byte: verify it first; LEARNAE_ERR_FORMAT
 * where codes are wrong, which only this call finds. dst has learnae_payload_pack_bound() bytes for
 * the one or the other; it is apart from the payload, and undefined after a failure. */
learnae_status learnae_payload_pack(void *dst, size_t dst_nbytes, const learnae_payload *payload,
                                    size_t *nbytes, learnae_message *message);
learnae_status learnae_payload_unpack(void *dst, size_t dst_nbytes, const learnae_payload *payload,
                                      learnae_message *message);
learnae_status learnae_payload_pack_bound(const learnae_payload *payload, size_t *nbytes,
                                          learnae_message *message);

/* Check header and block table of any bytes whatever, and make a view of them. Reads
 * header and table only (LEARNAE_ERR_FORMAT, LEARNAE_ERR_CHECKSUM), never past nbytes; more than
 * max_elements a vector is LEARNAE_ERR_SIZE. Says nothing yet about the blocks. */
learnae_status learnae_payload_open(const void *bytes, size_t nbytes, uint64_t max_elements,
                                    learnae_payload *payload, learnae_message *message);

/* Check every block: CRC-32C, padding, scales, spare bits, codes of ternary, indices, parts' sizes.
 * Only after LEARNAE_OK can the calls below be sure of what they read; memory-safe without it. */
learnae_status learnae_payload_verify(const learnae_payload *payload, learnae_message *message);

/* dst[0..n_elements) = the decoded vector. LEARNAE_ERR_ARGUMENT: no such vector. With a base this
 * and the calls below see the difference itself: learnae_payload_rebase() gives the model. */
learnae_status learnae_payload_decode(const learnae_payload *payload, uint32_t vector, float *dst,
                                      learnae_message *message);

/* acc[i] = acc[i] + weight*value[i], block by block: the peer's model never exists in full. The
 * product is rounded once; sign, ternary: weight*scale once a group; i8, i4: as below. */
learnae_status learnae_payload_accumulate(const learnae_payload *payload, uint32_t vector,
                                          float weight, float *acc, learnae_message *message);

/* dst = own_weight*dst, then dst = dst + weights[k]*payload k for k = 0, 1, ..., with the
 * rounding of learnae_payload_accumulate(), but in few passes over dst: the fast way to merge.
 * Codecs with scales: n in a row of one codec take ceil(n/8) passes, as evenly as can be, longer
 * ones first, and each adds one S. c[k] = weights[k]*scale. sign, ternary: of the p[k] = c[k]*(1, 0
 * or -1) in the pass, S = ((p[0]+p[1]) + (p[2]+p[3])) + ((p[4]+p[5]) + (p[6]+p[7])). i8, i4: C is
 * the largest |c[k]|, q[k] = c[k]*(16383/C) rounded half to even, S = (C/16383)*T, T the exact sum
 * of q[k]*code (or level). Each operation is rounded to f32. i8, i4: C up to 2^-110 adds +0; a c[k]
 * that is NaN or infinite makes the group NaN. All payloads must have dst's n_elements, and the
 * vector; codecs and block lengths may differ, n_payloads be 0, and a payload be listed twice. */
learnae_status learnae_payload_average(float *dst, float own_weight,
                                       const learnae_payload *const *payloads, const float *weights,
                                       size_t n_payloads, uint32_t vector, uint64_t n_elements,
                                       learnae_message *message);

/* Two sums in float64 over all elements: *distance2 = sum (value - reference)^2 and
 * *norm2 = sum value^2. Within each run of 256 elements differences, squares and sums are float32,
 * in eight lanes (element i in lane i mod 8); after it each is added to a float64 lane, and these
 * in order at the end. The relative error is about 1e-6; an infinity means beyond 1e19.
 * LEARNAE_ERR_NONFINITE where a value of the payload is NaN or infinite: a peer's gate. reference
 * may be NULL: zeros. A NaN in it makes *distance2 the NaN with bits 0x7ff8000000000000. */
learnae_status learnae_payload_distance(const learnae_payload *payload, uint32_t vector,
                                        const float *reference, double *distance2, double *norm2,
                                        learnae_message *message);

/* ---- Robust aggregation -------------------------------------------------------------
 *
 * For swarms in which some models may be wrong (docs/robust.md says what each rule promises).
 * Payloads are walked block by block. NaN and infinity are extreme values, so that a minority of
 * them is outvoted: the order is IEEE 754's totalOrder, a NaN whose sign bit is set below
 * -infinity, any other NaN above +infinity, -0 below +0.
 */
#define LEARNAE_ROBUST_MAX 64 /* models in one call, one's own included */

/* dst[i] = the mean of models[0][i], models[1][i], ... without the n_trim smallest and the n_trim
 * largest of them: the rest is added in ascending order, then divided by their count. n_models is
 * 1 to LEARNAE_ROBUST_MAX and more than 2 * n_trim. dst may be one of the models at the same
 * address; any other overlap is undefined. n_elements may be 0. */
learnae_status learnae_trimmed_mean(float *dst, const float *const *models, size_t n_models,
                                    size_t n_trim, size_t n_elements, learnae_message *message);

/* The same with all cut off but the middle one or, where n_models is even, the middle two. */
learnae_status learnae_median(float *dst, const float *const *models, size_t n_models,
                              size_t n_elements, learnae_message *message);

/* The same over payloads, of any codecs, and `own` as the first model where it is not NULL. */
learnae_status learnae_payload_trimmed_mean(float *dst, const float *own,
                                            const learnae_payload *const *payloads,
                                            size_t n_payloads, size_t n_trim, uint32_t vector,
                                            uint64_t n_elements, learnae_message *message);
learnae_status learnae_payload_median(float *dst, const float *own,
                                      const learnae_payload *const *payloads, size_t n_payloads,
                                      uint32_t vector, uint64_t n_elements,
                                      learnae_message *message);

/* distances2[i * n_models + j] = the sum over elements of d^2, d = model i - model j in float64:
 * a symmetric matrix with zeros on its diagonal; n_models is 1 to LEARNAE_ROBUST_MAX. Elements are
 * added in runs of 256 (the last filled up with zeros): within a run in eight lanes, element e to
 * lane e mod 8 with one rounding, fma(d, d, lane), and these as ((0+4)+(2+6)) + ((1+5)+(3+7)).
 * Runs are cut into parts for the threads, of ceil(runs / p) runs each but the last, where p is 16
 * or, if less, floor(8192 / n_models^2); sums are added in order, of runs to parts, then of parts.
 * A NaN in the result has the bits 0x7ff8000000000000. */
learnae_status learnae_distances(double *distances2, const float *const *models, size_t n_models,
                                 size_t n_elements, learnae_message *message);

/* The same over payloads, and `own` as model 0 where it is not NULL. */
learnae_status learnae_payload_distances(double *distances2, const float *own,
                                         const learnae_payload *const *payloads, size_t n_payloads,
                                         uint32_t vector, uint64_t n_elements,
                                         learnae_message *message);

/* Krum (Blanchard et al. 2017): a model's score is the sum of its squared distances to the
 * n_models - n_faulty - 2 nearest others, added in ascending order; a NaN counts as an infinity.
 * selected[0..n_selected) = the models with the smallest scores, best first, the lower index
 * where two are equal: one for Krum, more for multi-Krum. scores[0..n_models) may be NULL.
 * LEARNAE_ERR_ARGUMENT unless n_models >= 2 * n_faulty + 3 (below that the rule promises nothing),
 * n_models <= LEARNAE_ROBUST_MAX, and n_selected is 1 to n_models - n_faulty. */
learnae_status learnae_krum(size_t *selected, double *scores, const double *distances2,
                            size_t n_models, size_t n_faulty, size_t n_selected,
                            learnae_message *message);

/* Centred clipping (Karimireddy et al. 2021): the weights with which an average of one's own model
 * and the others moves by no more than weights[k] * radius towards model k, whose squared
 * distance to one's own is distances2[k]. With d its root, clipped[k] = weights[k] where d is at
 * most radius, else weights[k] * (radius / d), computed in float64 and rounded once;
 * *own_weight = 1 - clipped[0] - clipped[1] - ... likewise. radius >= 0, infinity included.
 * LEARNAE_ERR_NONFINITE where a distance is NaN. clipped may be weights. */
learnae_status learnae_clip(float *clipped, float *own_weight, const double *distances2,
                            const float *weights, size_t n_models, double radius,
                            learnae_message *message);

/* Centred clipping around dst in one call: learnae_payload_distance() of each payload to dst, then
 * learnae_clip(), then learnae_payload_average(). clipped[0..n_payloads) is where the weights go.
 * LEARNAE_ERR_NONFINITE, and dst as it was, where a payload has a NaN or an infinity. */
learnae_status learnae_payload_clip(float *dst, const learnae_payload *const *payloads,
                                    const float *weights, size_t n_payloads, double radius,
                                    uint32_t vector, uint64_t n_elements, float *clipped,
                                    learnae_message *message);

/* ---- Checksums ----------------------------------------------------------------------- */

/* CRC-32C (Castagnoli, reflected polynomial 0x82f63b78, inverted at start and end) of nbytes bytes,
 * continuing from crc; start with 0. "123456789" gives 0xe3069283. bytes may be NULL with 0. */
uint32_t learnae_crc32c(uint32_t crc, const void *bytes, size_t nbytes);

/* SHA-256 of each chunk_nbytes of the bytes (0: of all), the last as short as it comes, one of no
 * bytes where nbytes is 0 (and bytes may be NULL): 32 bytes each to digests, which overlap nothing.
 * Two at a time where in_hardware() is not 0, on x86 with SHA, but for "portable". */
void learnae_sha256_chunks(uint8_t *digests, const void *bytes, size_t nbytes, size_t chunk_nbytes);
int learnae_sha256_in_hardware(void);

#ifdef __cplusplus
}
#endif
#endif /* LEARNAE_H */
