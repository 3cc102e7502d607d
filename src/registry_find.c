/* Finding a plug-in in whichever tables are linked: registry.c, or those of a test. */
#include <string.h>

#include "registry.h"

#define DEFINE_FIND(kind)                                                                                              \
    const struct mr_##kind##_ops *mr_##kind##_find(const char *name)                                                   \
    {                                                                                                                  \
        for (size_t i = 0; mr_##kind##s[i]; i++) {                                                                     \
            if (!strcmp(mr_##kind##s[i]->name, name)) return mr_##kind##s[i];                                          \
        }                                                                                                              \
        return NULL;                                                                                                   \
    }

DEFINE_FIND(source)
DEFINE_FIND(codec)
DEFINE_FIND(model)
DEFINE_FIND(backend)
DEFINE_FIND(sink)
