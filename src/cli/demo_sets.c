#include "cli/demo_sets.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/near.h"

/* From the program's own folder: where `cmake --install` puts them, and where they are beside a build folder. */
static const char *const places[] = {"../share/millrace/datasets", "../datasets"};

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static mr_status folder_find(char **folder_out, struct mr_err *err)
{
    const char *const named = getenv("MILLRACE_DATASETS");
    char program[PATH_MAX], path[2 * PATH_MAX];
    if (named && *named) {
        if (is_folder(named) && (*folder_out = realpath(named, NULL))) return MR_OK;
        return mr_fail(err, MR_EINPUT, "MILLRACE_DATASETS=%s: %s: set it to the folder with the data sets, or unset it",
                       named,
                       is_folder(named) || !access(named, F_OK) ? "is no folder that can be read" : strerror(errno));
    }
    const ssize_t bytes = readlink("/proc/self/exe", program, sizeof program - 1);
    if (bytes < 0) return mr_fail(err, MR_EINPUT, "/proc/self/exe: %s: set MILLRACE_DATASETS", strerror(errno));
    program[bytes] = '\0';
    *strrchr(program, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", program, places[i]);
        if (is_folder(path) && (*folder_out = realpath(path, NULL))) return MR_OK;
    }
    return mr_fail(err, MR_EINPUT,
                   "the data sets are not where they belong, %s/%s: install them with the program (cmake --install), "
                   "or name their folder in MILLRACE_DATASETS",
                   program, places[0]);
}

/* The first heading of a text in Markdown; "" without one. NULL: no memory. */
static char *title_read(const char *path)
{
    FILE *const file = fopen(path, "re");
    char *line = NULL, *title = NULL;
    size_t cap = 0;
    while (file && !title && getline(&line, &cap, file) >= 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!strncmp(line, "# ", 2)) title = strdup(line + 2);
    }
    free(line);
    if (file) fclose(file);
    return title ? title : strdup("");
}

static bool set_add(struct mr_demo_sets *sets, const char *name)
{
    char path[2 * PATH_MAX];
    struct mr_demo_set *const grown = realloc(sets->item, (sets->count + 1) * sizeof *grown);
    if (!grown) return false;
    sets->item = grown;
    snprintf(path, sizeof path, "%s/%s/README.md", sets->folder, name);
    struct mr_demo_set *const set = &grown[sets->count++];
    *set = (struct mr_demo_set){.name = strdup(name), .title = title_read(path)};
    return set->name && set->title;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct mr_demo_set *)a)->name, ((const struct mr_demo_set *)b)->name);
}

mr_status mr_demo_sets_find(struct mr_demo_sets *sets, struct mr_err *err)
{
    char path[2 * PATH_MAX];
    *sets = (struct mr_demo_sets){0};
    mr_status status = folder_find(&sets->folder, err);
    if (status) return status;
    DIR *const folder = opendir(sets->folder);
    if (!folder) return mr_fail(err, MR_EINPUT, "%s: %s", sets->folder, strerror(errno));
    for (const struct dirent *entry; !status && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s/demo.json", sets->folder, entry->d_name);
        if (entry->d_name[0] == '.' || access(path, R_OK)) continue;
        if (!set_add(sets, entry->d_name)) status = mr_fail(err, MR_ENOMEM, "out of memory");
    }
    closedir(folder);
    if (status) return status;
    if (!sets->count)
        return mr_fail(err, MR_EINPUT,
                       "%s holds no demo: no folder in it has a demo.json; MILLRACE_DATASETS may name "
                       "another",
                       sets->folder);
    qsort(sets->item, sets->count, sizeof *sets->item, by_name);
    return MR_OK;
}

void mr_demo_sets_free(struct mr_demo_sets *sets)
{
    for (size_t i = 0; i < sets->count; i++) {
        free(sets->item[i].name);
        free(sets->item[i].title);
    }
    free(sets->item);
    free(sets->folder);
    *sets = (struct mr_demo_sets){0};
}

mr_status mr_demo_sets_choose(const struct mr_demo_sets *sets, const char *name, const struct mr_demo_set **set_out,
                              struct mr_err *err)
{
    struct mr_near near;
    mr_near_start(&near, name);
    for (size_t i = 0; i < sets->count; i++) {
        *set_out = &sets->item[i];
        if (!strcmp(sets->item[i].name, name)) return MR_OK;
        mr_near_offer(&near, sets->item[i].name);
    }
    const char *const best = mr_near_best(&near);
    return mr_fail(err, MR_EUSAGE, "there is no demo \"%s\"%s%s%s; `millrace demo` lists them", name,
                   best ? ": did you mean \"" : "", best ? best : "", best ? "\"?" : "");
}
