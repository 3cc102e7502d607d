/* What a Kafka source puts into a transaction is the same at each try: what its lane has handed over, and nothing that
 * came since. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "source/kafka/source.h"

static struct partition parts[4];
static struct mr_source source;

/* A partition is assigned; begin: where it begins, when nothing is committed; -1: something is. */
static void assign(int32_t partition, int64_t begin)
{
    assert_true(mr_part_set(&source.owned, 0, partition, (uint32_t)source.partition_count));
    parts[source.partition_count++] =
        (struct partition){.partition = partition, .commit_offset = begin, .stored_offset = -1};
}

static const char *offered(const struct mr_position *positions, size_t count)
{
    static char text[128];
    const rd_kafka_topic_partition_list_t *const list = mr_kafka_offer(&source, positions, count);
    size_t bytes = 0;
    text[0] = '\0';
    for (int i = 0; list && i < list->cnt; i++)
        bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, "%s[%d]@%lld ", list->elems[i].topic,
                                  (int)list->elems[i].partition, (long long)list->elems[i].offset);
    return text;
}

static int setup(void **state)
{
    (void)state;
    source = (struct mr_source){.partition = parts, .topic = {strdup("in")}, .topic_count = 1};
    return !source.topic[0];
}

static int teardown(void **state)
{
    (void)state;
    if (source.offer) rd_kafka_topic_partition_list_destroy(source.offer);
    mr_part_free(&source.owned);
    free(source.topic[0]);
    return 0;
}

static void test_retried(void **state)
{
    const struct mr_position positions[] = {{0, 0, 17}};
    (void)state;
    assign(0, -1);
    assign(1, 40);
    assign(2, -1);
    assert_string_equal(offered(positions, 1), "in[0]@17 in[1]@40 ");
    assign(3, 50); /* while the transaction is asked again */
    assert_string_equal(offered(positions, 1), "in[0]@17 in[1]@40 ");
}

static void test_next(void **state)
{
    const struct mr_position first[] = {{0, 0, 17}}, next[] = {{0, 0, 21}};
    (void)state;
    assign(0, -1);
    assert_string_equal(offered(first, 1), "in[0]@17 ");
    assign(1, 40);
    mr_kafka_offer_stored(&source, 1);
    assert_string_equal(offered(NULL, 0), "in[1]@40 ");
    mr_kafka_offer_stored(&source, 2);
    assert_string_equal(offered(NULL, 0), "");
    assert_string_equal(offered(next, 1), "in[0]@21 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_retried, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_next, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
