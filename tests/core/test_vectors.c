/* The golden payloads of tests/vectors, which NumPy made: decoded they give the golden values,
 * and the inputs written again give the golden bytes. Argument: the folder.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

struct file {
    uint8_t *bytes;
    size_t nbytes;
};

/* One line of the manifest. */
struct entry {
    char name[64], codec[8], source[32];
    unsigned n_vectors, n_elements, block_length;
};

static const char *folder;

static struct file read_file(const char *name, const char *ending) {
    char path[4096];
    struct file file = {NULL, 0};
    CHECK((size_t)snprintf(path, sizeof path, "%s/%s%s", folder, name, ending) < sizeof path);
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) {
        perror(path);
        exit(1);
    }
    CHECK(fseek(stream, 0, SEEK_END) == 0);
    file.nbytes = (size_t)ftell(stream);
    rewind(stream);
    file.bytes = checked_alloc(file.nbytes);
    CHECK(fread(file.bytes, 1, file.nbytes, stream) == file.nbytes);
    fclose(stream);
    return file;
}

static uint32_t codec_id(const char *name) {
    for (uint32_t codec = 1; learnae_codec_name(codec) != NULL; codec++) {
        if (strcmp(learnae_codec_name(codec), name) == 0) {
            return codec;
        }
    }
    return 0;
}

static void check_entry(const struct entry *entry) {
    struct file payload_file = read_file(entry->name, ".payload");
    struct file decoded = read_file(entry->name, ".f32");
    struct file source = read_file(entry->source, "");
    const size_t n = entry->n_elements;
    learnae_payload payload;
    CHECK(learnae_payload_open(payload_file.bytes, payload_file.nbytes, n, &payload, NULL) ==
          LEARNAE_OK);
    CHECK(learnae_payload_verify(&payload, NULL) == LEARNAE_OK);
    CHECK(payload.codec == codec_id(entry->codec) && payload.n_vectors == entry->n_vectors);
    CHECK(payload.n_elements == n && payload.block_length == entry->block_length);
    CHECK(decoded.nbytes == entry->n_vectors * n * sizeof(float));
    float *out = checked_alloc(n * sizeof *out);
    const float *vectors[LEARNAE_N_VECTORS_MAX] = {NULL};
    for (uint32_t v = 0; v < entry->n_vectors; v++) {
        CHECK(learnae_payload_decode(&payload, v, out, NULL) == LEARNAE_OK);
        CHECK(memcmp(out, decoded.bytes + v * n * sizeof *out, n * sizeof *out) == 0);
        vectors[v] = (const float *)(const void *)source.bytes + v * n;
    }
    free(out);
    if (entry->block_length == LEARNAE_BLOCK_LENGTH) {
        uint8_t *bytes = checked_alloc(payload_file.nbytes);
        CHECK(source.nbytes >= entry->n_vectors * n * sizeof(float));
        CHECK(learnae_payload_write(bytes, payload_file.nbytes, payload.codec, payload.schema,
                                    vectors, entry->n_vectors, n, NULL) == LEARNAE_OK);
        CHECK(memcmp(bytes, payload_file.bytes, payload_file.nbytes) == 0);
        free(bytes);
    }
    free(payload_file.bytes);
    free(decoded.bytes);
    free(source.bytes);
}

static void test_manifest(void) {
    char path[4096], line[1024];
    unsigned n_entries = 0;
    CHECK((size_t)snprintf(path, sizeof path, "%s/manifest.json", folder) < sizeof path);
    FILE *manifest = fopen(path, "r");
    if (manifest == NULL) {
        perror(path);
        exit(1);
    }
    while (fgets(line, sizeof line, manifest) != NULL) {
        struct entry entry;
        if (strchr(line, '{') == NULL) {
            continue;
        }
        CHECK(sscanf(line,
                     "{\"name\": \"%63[^\"]\", \"codec\": \"%7[^\"]\", \"n_vectors\": %u, "
                     "\"n_elements\": %u, \"block_length\": %u, \"source\": \"%31[^\"]\"",
                     entry.name, entry.codec, &entry.n_vectors, &entry.n_elements,
                     &entry.block_length, entry.source) == 6);
        check_entry(&entry);
        n_entries++;
    }
    fclose(manifest);
    CHECK(n_entries >= 30);
}

int main(int n_arguments, char **arguments) {
    if (n_arguments != 2) {
        fprintf(stderr, "usage: test_vectors FOLDER\n");
        return 2;
    }
    folder = arguments[1];
    check_every_isa(test_manifest);
    return 0;
}
