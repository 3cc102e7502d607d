#include "backend/named.h"

#include <stdio.h>
#include <string.h>

#include "registry.h"

mr_status mr_backend_open_named(const char *text, const struct mr_backend_ops **ops_out,
                                struct mr_backend **backend_out, struct mr_err *err)
{
    const char *const colon = strchr(text, ':');
    char name[32];
    snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - text) : (int)strlen(text), text);
    *ops_out = mr_backend_find(strcmp(name, "auto") != 0 ? name : "cpu");
    if (!*ops_out)
        return mr_fail(err, MR_EUSAGE, "--backend: no backend \"%s\"; `millrace backends` lists what there is", name);
    return (*ops_out)->open(colon ? colon + 1 : NULL, backend_out, err);
}
