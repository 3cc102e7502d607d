/** Two threads of the CPU backend for the tests of src/fit: cmocka's set-up and tear-down of a group. */
#ifndef TESTS_UNIT_CREW_FIXTURE_H
#define TESTS_UNIT_CREW_FIXTURE_H

#include "fit/crew.h"

static struct mr_crew *crew;

static int crew_open(void **state)
{
    struct mr_err err = {0};
    (void)state;
    return mr_crew_open("cpu", 2, &crew, &err);
}

static int crew_close(void **state)
{
    (void)state;
    mr_crew_close(crew);
    return 0;
}

#endif
