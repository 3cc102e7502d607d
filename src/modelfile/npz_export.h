/** A model file as NumPy's archive of arrays. */
#ifndef MR_MODELFILE_NPZ_EXPORT_H
#define MR_MODELFILE_NPZ_EXPORT_H

#include "modelfile/safetensors.h"

/**
 * What numpy.load("model.npz") reads, in place of what the blob held: each tensor an array of its name, type and shape,
 * bit for bit; metadata is the member metadata.json, an object of texts. Not compressed, as numpy.savez writes it.
 * MR_EDATA: more than 2 GiB, which zip files without extensions may not hold; MR_ENOMEM.
 */
mr_status mr_npz_export(const struct mr_safetensors *file, struct mr_blob *out, struct mr_err *err);

#endif
