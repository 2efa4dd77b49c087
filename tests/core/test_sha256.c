/* SHA-256 against the published vectors (FIPS 180-4's examples, and the empty message); tests of
 * the Python side compare any lengths with OpenSSL.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

#define DIGEST_NBYTES 32

static void check_digest(const uint8_t *digest, const char *hex) {
    for (size_t i = 0; i < DIGEST_NBYTES; i++) {
        unsigned value;
        CHECK(sscanf(hex + 2 * i, "%2x", &value) == 1 && digest[i] == value);
    }
}

static void test_published(void) {
    static const struct {
        const char *message, *digest;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint8_t digest[DIGEST_NBYTES];
        learnae_sha256_chunks(digest, known[i].message, strlen(known[i].message), 0);
        check_digest(digest, known[i].digest);
    }
    uint8_t digest[DIGEST_NBYTES];
    learnae_sha256_chunks(digest, NULL, 0, 64);
    check_digest(digest, known[0].digest);
}

static void test_a_million(void) {
    const size_t n = 1000000;
    struct guarded bytes = guarded_new(n, GUARD_END);
    memset(bytes.at, 'a', n);
    uint8_t digests[2 * DIGEST_NBYTES];
    learnae_sha256_chunks(digests, bytes.at, n, 0);
    check_digest(digests, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    /* Two halves at a time, which are alike. */
    learnae_sha256_chunks(digests, bytes.at, n, n / 2);
    CHECK(memcmp(digests, digests + DIGEST_NBYTES, DIGEST_NBYTES) == 0);
    guarded_free(&bytes);
}

/* Every chunk as if it were alone, and nothing outside the buffers is read or written. */
static void check_chunks(size_t n, size_t chunk, enum guard guard) {
    struct guarded bytes = guarded_new(n, guard);
    for (size_t i = 0; i < n; i++) {
        bytes.at[i] = (uint8_t)random_bits();
    }
    const size_t n_chunks = n == 0 ? 1 : (n + chunk - 1) / chunk;
    struct guarded digests = guarded_new(n_chunks * DIGEST_NBYTES, guard);
    learnae_sha256_chunks(digests.at, bytes.at, n, chunk);
    for (size_t i = 0; i < n_chunks; i++) {
        const size_t start = i * chunk, length = n - start < chunk ? n - start : chunk;
        uint8_t alone[DIGEST_NBYTES];
        learnae_sha256_chunks(alone, bytes.at + start, length, 0);
        CHECK(memcmp(alone, digests.at + i * DIGEST_NBYTES, DIGEST_NBYTES) == 0);
    }
    guarded_free(&digests);
    guarded_free(&bytes);
}

static void test_chunks(void) {
    /* around where the padding needs a block more */
    static const size_t chunks[] = {1, 54, 55, 56, 63, 64, 65, 127, 128, 1000};
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        for (size_t n_chunks = 0; n_chunks < 6; n_chunks++) {
            for (size_t more = 0; more < 2; more++) {
                check_chunks(n_chunks * chunks[i] + more, chunks[i], GUARD_END);
                check_chunks(n_chunks * chunks[i] + more, chunks[i], GUARD_START);
            }
        }
    }
}

int main(void) {
    check_every_isa(test_published);
    check_every_isa(test_a_million);
    check_every_isa(test_chunks);
    return 0;
}
