#include "modelfile/model_type.h"

#include "base/near.h"
#include "modelfile/model_file.h"
#include "registry.h"

static mr_status type_unknown(const char *path, const char *type, struct mr_err *err)
{
    struct mr_near near;
    mr_near_start(&near, type);
    for (size_t i = 0; mr_models[i]; i++) mr_near_offer(&near, mr_models[i]->name);
    const char *const best = mr_near_best(&near);
    return mr_fail(err, MR_EDATA, "model \"%s\": unknown millrace.type \"%.40s\"%s%s%s", path, type,
                   best ? "; did you mean \"" : "", best ? best : "", best ? "\"?" : "");
}

mr_status mr_model_type_find(const char *path, const struct mr_model_ops **ops_out, struct mr_err *err)
{
    struct mr_safetensors *file;
    mr_status status = mr_model_file_load(path, NULL, 0, &file, err);
    if (status) return status;
    const char *const type = mr_safetensors_metadata(file, "millrace.type");
    *ops_out = type ? mr_model_find(type) : NULL;
    if (!type) {
        status =
            mr_fail(err, MR_EDATA, "model \"%s\": no millrace.type in its metadata: not written for millrace", path);
    } else if (!*ops_out) {
        status = type_unknown(path, type, err);
    }
    mr_safetensors_close(file);
    return status;
}
