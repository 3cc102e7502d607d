/* Without libFuzzer: feeds every file of the folders and files named on the command line to the target once. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static size_t replayed_count;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    fseek(file, 0, SEEK_END);
    const long bytes = ftell(file);
    rewind(file);
    /* Exactly as many bytes as the file has, so that the address sanitizer sees any read past the end. */
    uint8_t *data = malloc(bytes > 0 ? (size_t)bytes : 1);
    const int is_read = data && bytes >= 0 && fread(data, 1, (size_t)bytes, file) == (size_t)bytes;
    fclose(file);
    if (is_read) LLVMFuzzerTestOneInput(data, (size_t)bytes);
    free(data);
    replayed_count++;
    return is_read ? 0 : 1;
}

static int replay_path(const char *path)
{
    struct stat info;
    if (stat(path, &info)) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(info.st_mode)) return replay_file(path);
    DIR *folder = opendir(path);
    int failed = folder ? 0 : 1;
    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        char name[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        failed |= replay_path(name);
    }
    if (folder) closedir(folder);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) failed |= replay_path(argv[i]);
    printf("%zu inputs replayed\n", replayed_count);
    return failed || !replayed_count;
}
