/* Codecs i8z and i4z: writing. packed.h says what is written, and why.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "packed.h"

/* ---- One block ----------------------------------------------------------------------- */

/* How often each code comes in each stream. Four tables also spare the counter of a frequent code
 * from being waited for. */
static void count(uint32_t counts[N_STREAMS][N_CODES], const uint8_t *codes, size_t n) {
    memset(counts, 0, N_STREAMS * sizeof counts[0]);
    size_t i = 0;
    for (; i + N_STREAMS <= n; i += N_STREAMS) {
        counts[0][codes[i]]++;
        counts[1][codes[i + 1]]++;
        counts[2][codes[i + 2]]++;
        counts[3][codes[i + 3]]++;
    }
    for (; i < n; i++) {
        counts[i % N_STREAMS][codes[i]]++;
    }
}

/* Write lengths and sizes to `head`, which is zeros; return what the streams take together. */
static uint64_t plan(uint8_t head[PACKED_STREAMS], uint8_t lengths[N_CODES],
                     const uint32_t counts[N_STREAMS][N_CODES]) {
    uint32_t total[N_CODES];
    uint64_t content = 0;
    for (size_t code = 0; code < N_CODES; code++) {
        total[code] = counts[0][code] + counts[1][code] + counts[2][code] + counts[3][code];
    }
    learnae_internal_code_lengths(lengths, total, N_CODES);
    for (size_t code = 0; code < N_CODES; code++) {
        head[code / 2] |= (uint8_t)(lengths[code] << code % 2 * 4);
    }
    for (size_t k = 0; k < N_STREAMS; k++) {
        uint64_t n_bits = 0;
        for (size_t code = 0; code < N_CODES; code++) {
            n_bits += (uint64_t)counts[k][code] * lengths[code];
        }
        put_u32(head + PACKED_SIZES + 4 * k, (uint32_t)((n_bits + 7) / 8));
        content += (n_bits + 7) / 8;
    }
    return content;
}

/* word: the bits, and their number from bit 16 on. */
LEARNAE_INLINE void put_word(struct writer *writer, uint32_t word) {
    put_bits(writer, word & 0xffff, word >> 16);
}

LEARNAE_INLINE void put_run(struct writer *writer, const uint32_t *words, const uint8_t *codes) {
    for (size_t i = 0; i < RUN_LENGTH; i++) {
        put_word(writer, words[codes[i * N_STREAMS]]);
    }
    flush(writer);
}

/* Rounds of codes for as long as every stream has room to be flushed in; returns how many codes
 * these are. A run takes at most seven bytes, of which the eighth is a neighbour's. */
static size_t put_rounds(struct writer writers[N_STREAMS], uint8_t *const ends[N_STREAMS],
                         const uint32_t *words, const uint8_t *codes, size_t n) {
    struct writer w0 = writers[0], w1 = writers[1], w2 = writers[2], w3 = writers[3];
    size_t i = 0;
    for (; i + ROUND_LENGTH <= n && ends[0] - w0.at >= 8 && ends[1] - w1.at >= 8 &&
           ends[2] - w2.at >= 8 && ends[3] - w3.at >= 8;
         i += ROUND_LENGTH) {
        put_run(&w0, words, codes + i);
        put_run(&w1, words, codes + i + 1);
        put_run(&w2, words, codes + i + 2);
        put_run(&w3, words, codes + i + 3);
    }
    writers[0] = w0;
    writers[1] = w1;
    writers[2] = w2;
    writers[3] = w3;
    return i;
}

/* Write the streams behind one another. */
static void write_streams(uint8_t *at, const uint8_t *sizes, const uint8_t lengths[N_CODES],
                          const uint8_t *codes, size_t n) {
    struct writer writers[N_STREAMS];
    uint8_t *ends[N_STREAMS];
    uint16_t bits[N_CODES];
    uint32_t words[N_CODES];
    learnae_internal_code_words(bits, lengths, N_CODES);
    for (size_t code = 0; code < N_CODES; code++) {
        words[code] = bits[code] | (uint32_t)lengths[code] << 16;
    }
    for (size_t k = 0; k < N_STREAMS; k++) {
        writers[k] = (struct writer){.at = at};
        at += read_u32(sizes + 4 * k);
        ends[k] = at;
    }
    for (size_t i = put_rounds(writers, ends, words, codes, n); i < n; i++) {
        put_word(&writers[i % N_STREAMS], words[codes[i]]);
        flush_exactly(&writers[i % N_STREAMS]);
    }
    for (size_t k = 0; k < N_STREAMS; k++) {
        end_stream(&writers[k]);
    }
}

/* Pack one block of i8 or i4 into its place; returns the size of what it is now. */
static size_t pack_block(uint8_t *dst, const uint8_t *block, size_t scales_nbytes, size_t n) {
    const uint8_t *const codes = block + scales_nbytes;
    uint8_t *const at = dst + PACKED_HEAD_NBYTES + scales_nbytes;
    uint32_t counts[N_STREAMS][N_CODES];
    uint8_t lengths[N_CODES], head[PACKED_STREAMS] = {0};
    memset(dst, 0, PACKED_HEAD_NBYTES);
    memcpy(dst + PACKED_HEAD_NBYTES, block, scales_nbytes);
    count(counts, codes, n);
    const uint64_t streams_nbytes = plan(head, lengths, (const uint32_t (*)[N_CODES])counts);
    if (PACKED_STREAMS + streams_nbytes >= n) {
        dst[0] = MODE_RAW;
        memcpy(at, codes, n);
        return PACKED_HEAD_NBYTES + scales_nbytes + n;
    }
    dst[0] = MODE_CODED;
    memcpy(at, head, sizeof head);
    write_streams(at + PACKED_STREAMS, at + PACKED_SIZES, lengths, codes, n);
    return PACKED_HEAD_NBYTES + scales_nbytes + PACKED_STREAMS + (size_t)streams_nbytes;
}

/* ---- Both directions ----------------------------------------------------------------- */

/* The codec of the other form; 0: there is none. */
static uint32_t other_form(uint32_t codec, bool packs) {
    for (uint32_t other = 1; other < N_CODECS; other++) {
        if (packs ? learnae_internal_codec(other)->packs == codec
                  : learnae_internal_codec(codec)->packs == other) {
            return other;
        }
    }
    return 0;
}

static struct geometry geometry_in(const learnae_payload *payload, uint32_t codec) {
    return learnae_internal_geometry(codec, payload->n_vectors, payload->n_elements,
                                     payload->block_length, 0);
}

learnae_status learnae_payload_pack_bound(const learnae_payload *payload, size_t *nbytes,
                                          learnae_message *message) {
    if (payload == NULL || nbytes == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "payload or nbytes is NULL");
    }
    const bool packs = learnae_internal_codec(payload->codec)->packs == 0;
    const uint32_t other = other_form(payload->codec, packs);
    if (other == 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "codec %s has no packed form",
                                     learnae_codec_name(payload->codec));
    }
    const struct geometry geometry = geometry_in(payload, other);
    if (geometry.nbytes > SIZE_MAX) {
        return learnae_internal_fail(LEARNAE_ERR_SIZE, message,
                                     "%llu elements are too many for one payload",
                                     (unsigned long long)payload->n_elements);
    }
    *nbytes = (size_t)geometry.nbytes;
    return LEARNAE_OK;
}

learnae_status learnae_internal_begin_packing(struct packing *call, size_t dst_nbytes, bool packs,
                                              learnae_message *message) {
    const learnae_payload *const payload = call->payload;
    size_t bound;
    const learnae_status status = learnae_payload_pack_bound(payload, &bound, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    call->codec = other_form(payload->codec, packs);
    if (call->codec == 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "codec %s is %s",
                                     learnae_codec_name(payload->codec),
                                     packs ? "packed already" : "not packed");
    }
    if (call->dst == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "dst is NULL");
    }
    if (dst_nbytes < bound) {
        return learnae_internal_fail(LEARNAE_ERR_SIZE, message,
                                     "dst has %zu bytes, the payload needs %zu", dst_nbytes, bound);
    }
    call->from = learnae_internal_geometry_of(payload);
    call->to = geometry_in(payload, call->codec);
    atomic_init(&call->bad, payload->n_blocks);
    memcpy(call->dst, payload->bytes, LEARNAE_HEADER_NBYTES);
    memset(call->dst + LEARNAE_HEADER_NBYTES, 0, (size_t)call->to.table_nbytes);
    return LEARNAE_OK;
}

void learnae_internal_enter_block(const struct packing *call, size_t block, size_t nbytes) {
    uint8_t *const at = block_at(call, block);
    uint8_t *const entry = call->dst + LEARNAE_HEADER_NBYTES + block * TABLE_ENTRY_NBYTES;
    const size_t padded = (size_t)round_up(nbytes, LEARNAE_ALIGNMENT);
    memset(at + nbytes, 0, padded - nbytes);
    put_u32(entry, (uint32_t)padded);
    put_u32(entry + 4, learnae_crc32c(0, at, padded));
}

void learnae_internal_end_packing(const struct packing *call, size_t nbytes) {
    uint8_t *const header = call->dst;
    put_u16(header + AT_CODEC, call->codec);
    put_u64(header + AT_NBYTES, nbytes);
    put_u32(header + AT_TABLE_CRC,
            learnae_crc32c(0, header + LEARNAE_HEADER_NBYTES, (size_t)call->to.table_nbytes));
    put_u32(header + AT_HEADER_CRC, learnae_crc32c(0, header, AT_HEADER_CRC));
}

/* ---- A payload ----------------------------------------------------------------------- */

static void pack_tiles(void *context, struct tiles *tiles) {
    const struct packing *call = context;
    const learnae_payload *const payload = call->payload;
    const uint8_t *const first = payload->bytes + LEARNAE_HEADER_NBYTES + call->from.table_nbytes;
    const size_t step = blocks_together(payload);
    for (size_t tile; next_tile(tiles, &tile);) {
        for (size_t block = tile * step; block < (tile + 1) * step && block < payload->n_blocks;
             block++) {
            const size_t length = learnae_internal_extent(&call->from, block).length;
            const uint64_t vector = block / call->from.blocks_per_vector;
            const uint64_t place = block % call->from.blocks_per_vector;
            const uint8_t *const at =
                first + vector * call->from.vector_nbytes + place * call->from.full.nbytes;
            const size_t nbytes =
                pack_block(block_at(call, block), at,
                           (size_t)learnae_internal_scales_nbytes(payload->codec, length),
                           n_codes_of(payload->codec, length));
            learnae_internal_enter_block(call, block, nbytes);
        }
    }
}

learnae_status learnae_payload_pack(void *dst, size_t dst_nbytes, const learnae_payload *payload,
                                    size_t *nbytes, learnae_message *message) {
    struct packing call = {.payload = payload, .dst = dst};
    const learnae_status status = learnae_internal_begin_packing(&call, dst_nbytes, true, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    if (nbytes == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "nbytes is NULL");
    }
    const size_t step = blocks_together(payload);
    learnae_internal_run(pack_tiles, &call, (payload->n_blocks + step - 1) / step,
                         2 * (uint64_t)payload->nbytes);
    *nbytes = learnae_internal_close_gaps(call.dst, &call.to);
    learnae_internal_end_packing(&call, *nbytes);
    return LEARNAE_OK;
}
