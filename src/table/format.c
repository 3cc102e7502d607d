#include "table/format.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "registry.h"

const char *const mr_table_formats[] = {"auto",
#define MR_CODEC(name) #name,
#include "registry.def"
#undef MR_CODEC
                                        NULL};

static const struct mr_codec_ops *of_path(const char *path, bool *has_tabs_out)
{
    static const struct {
        const char *end, *codec;
        bool has_tabs;
    } known[] = {{".csv", "csv", false},    {".tsv", "csv", true},      {".json", "json", false},
                 {".jsonl", "json", false}, {".ndjson", "json", false}, {".f32", "f32", false},
                 {".bin", "f32", false}};
    const size_t bytes = path ? strlen(path) : 0;
    *has_tabs_out = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t count = strlen(known[i].end);
        if (bytes <= count || strcasecmp(path + bytes - count, known[i].end) != 0) continue;
        *has_tabs_out = known[i].has_tabs;
        return mr_codec_find(known[i].codec);
    }
    return NULL;
}

const struct mr_codec_ops *mr_format_find(unsigned format, const char *path, bool *has_tabs_out)
{
    const struct mr_codec_ops *const by_name = of_path(path, has_tabs_out);
    const struct mr_codec_ops *const codec = format ? mr_codec_find(mr_table_formats[format]) : by_name;
    *has_tabs_out = *has_tabs_out && codec == by_name;
    return codec;
}
