/* What is wrong with outputs and dead letters, as findings; and the dead letters that stand for what is missing. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "verify/inside.h"

static void shown(char *out, size_t cap, const struct mr_match_place *place)
{
    const size_t bytes = place->value_bytes < 120 ? place->value_bytes : 120;
    snprintf(out, cap, "%.*s%s", (int)(place->value ? bytes : 4), place->value ? place->value : "null",
             bytes < place->value_bytes ? "..." : "");
}

void mr_verify_fault(void *context, mr_match_fault fault, const struct mr_match_place *expected,
                     const struct mr_match_place *actual)
{
    struct mr_verify_output *const output = context;
    struct mr_verify *const verify = output->verify;
    struct mr_proof *const proof = verify->proof;
    const struct mr_verify_input *const input = expected ? &verify->input[expected->source] : NULL;
    const char *const what = output->is_dead ? "dead letter" : "output";
    char want[160], got[160];
    assert(expected || fault == MR_MATCH_DUPLICATED || fault == MR_MATCH_FOREIGN);
    assert(actual || fault == MR_MATCH_MISSING);
    if (expected) shown(want, sizeof want, expected);
    if (actual) shown(got, sizeof got, actual);
    switch (fault) {
    case MR_MATCH_MISSING:
        mr_proof_found(proof, MR_FOUND_MISSING, input->name, input->partition, expected->offset,
                       "its %s is not in topic \"%s\": %s", what, output->topic, want);
        return;
    case MR_MATCH_DUPLICATED:
        mr_proof_found(proof, MR_FOUND_DUPLICATED, output->topic, actual->partition, actual->offset,
                       "the same %s stood there before: %s", what, got);
        return;
    case MR_MATCH_FOREIGN:
        mr_proof_found(proof, MR_FOUND_FOREIGN, output->topic, actual->partition, actual->offset,
                       "no record of the input makes this %s: %s", what, got);
        return;
    case MR_MATCH_REORDERED:
        if (output->is_dead) return; /* their order is not promised */
        mr_proof_found(proof, MR_FOUND_REORDERED, output->topic, actual->partition, actual->offset,
                       "the %s of %s[%d] offset %lld stands behind that of a later record", what, input->name,
                       (int)input->partition, (long long)expected->offset);
        return;
    case MR_MATCH_DIFFERENT:
        mr_proof_found(proof, MR_FOUND_DIFFERENT, output->topic, actual->partition, actual->offset,
                       "%s[%d] offset %lld makes %s, there stands %s", input->name, (int)input->partition,
                       (long long)expected->offset, want, got);
    }
}

/* ---- dead letters that stand for outputs ---- */

static int special_compare(const void *left, const void *right)
{
    const struct mr_verify_special *const a = left, *const b = right;
    if (a->source != b->source) return a->source < b->source ? -1 : 1;
    return a->source_offset < b->source_offset ? -1 : a->source_offset > b->source_offset;
}

/* Whether a record that is missing was told of in a dead letter of another kind. */
bool mr_verify_is_excused(void *context, const struct mr_match_place *expected)
{
    struct mr_verify_output *const output = context, *const dead =
                                                         &output->verify->output[output->verify->output_count - 1];
    const struct mr_verify_special wanted = {.source = expected->source, .source_offset = expected->offset};
    size_t low = 0, high = dead->is_dead ? dead->special_count : 0;
    if (!dead->is_sorted && high) qsort(dead->special, high, sizeof *dead->special, special_compare);
    dead->is_sorted = true;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (special_compare(&dead->special[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < dead->special_count && !special_compare(&dead->special[low], &wanted); low++) {
        if (dead->special[low].is_used) continue;
        dead->special[low].is_used = true;
        if (!output->is_dead) {
            output->verify->proof->out--;
            output->verify->proof->dead++;
        }
        return true;
    }
    return false;
}

bool mr_verify_special_add(struct mr_verify_output *output, const struct mr_verify_special *special)
{
    if (output->special_count == output->special_cap) {
        const size_t cap = output->special_cap ? 2 * output->special_cap : 64;
        struct mr_verify_special *const grown = realloc(output->special, cap * sizeof *grown);
        if (!grown) return false;
        output->special = grown;
        output->special_cap = cap;
    }
    output->special[output->special_count++] = *special;
    return true;
}

void mr_verify_specials_tell(struct mr_verify *verify, const struct mr_verify_output *output)
{
    for (size_t i = 0; i < output->special_count; i++) {
        const struct mr_verify_special *const special = &output->special[i];
        if (special->is_used) continue;
        if (special->source != MR_PART_NONE && (special->source_offset < verify->input[special->source].start ||
                                                special->source_offset >= verify->input[special->source].end))
            continue; /* of before or behind */
        mr_proof_found(verify->proof, MR_FOUND_FOREIGN, output->topic, special->partition, special->offset,
                       "this dead letter stands for a record that was answered");
    }
}
