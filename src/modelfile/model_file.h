/** What all model types read from a model file in the same way: metadata, and dense layers ready for a kernel. */
#ifndef MR_MODELFILE_MODEL_FILE_H
#define MR_MODELFILE_MODEL_FILE_H

#include "kernels/mlp_forward/mlp_forward.h"
#include "millrace/model.h"
#include "modelfile/safetensors.h"

/** A list of strings from metadata. items NULL: the file has no such key. */
struct mr_names {
    char **item;
    size_t count;
};

/** Owned by the model that reads it. */
struct mr_model_meta {
    char *version;
    struct mr_names features, labels, activations;
};

/**
 * Opens whatever holds a model: safetensors as it is, ONNX as the native model that it is imported to (onnx/import.h),
 * told apart by what is in the file. bytes: the file's contents, where they are in memory; NULL: `path` is read. Errors
 * as mr_safetensors_open and mr_onnx_import; on error *file_out is NULL.
 */
mr_status mr_model_file_load(const char *path, const void *bytes, size_t byte_count, struct mr_safetensors **file_out,
                             struct mr_err *err);

/** Opens a model file, or its bytes in memory, and checks that its metadata says `type`; open->file is not NULL. Errors
 * as mr_safetensors_open; on error *file_out is NULL. */
mr_status mr_model_file_open(const struct mr_model_open *open, const char *type, struct mr_safetensors **file_out,
                             struct mr_err *err);

/** Reads the metadata. On error meta may be half filled: call deinit. */
mr_status mr_model_meta_read(const struct mr_safetensors *file, struct mr_model_meta *meta, struct mr_err *err);
void mr_model_meta_deinit(struct mr_model_meta *meta);

/** The names of features that a model from nothing is opened with, copied into meta: none where open has none.
 * MR_ENOMEM; then call deinit. */
mr_status mr_model_meta_name(const struct mr_model_open *open, struct mr_model_meta *meta, struct mr_err *err);

/** A tensor of a rank whose values are all finite; rank 1 also of a length. MR_EDATA says what is wrong. Borrowed. */
mr_status mr_model_tensor(const struct mr_safetensors *file, const char *name, size_t rank, uint64_t length,
                          const struct mr_tensor **tensor_out, struct mr_err *err);

/**
 * Reads a layer: tensors `weight` [out, in] and `bias` [out], all finite. fold_input: the file's optional tensors
 * input.mean and input.scale [in] are folded in, in double: w / scale, b - sum of w * mean / scale. shift_out (may be
 * NULL): takes the means as they are, [in], the caller's to free, or NULL without any; only what they lose as float32
 * is then folded. Fails with MR_EDATA when a value is not finite as float32. w and b of the layer are the caller's to
 * free, with mr_dense_deinit; on error both are NULL, and so is *shift_out.
 */
mr_status mr_dense_read(const struct mr_safetensors *file, const char *weight, const char *bias, bool fold_input,
                        struct mr_mlp_layer *layer, float **shift_out, struct mr_err *err);
void mr_dense_deinit(struct mr_mlp_layer *layer);

/**
 * Fills info from the metadata and the width of the output, and checks that names and labels are as many as they must
 * be. is_classifier, class_count: a softmax, a single sigmoid, or a file with labels is a classifier; one output stands
 * for two classes.
 */
mr_status mr_model_info_fill(const struct mr_safetensors *file, const char *type, const struct mr_model_meta *meta,
                             size_t in, size_t out, mr_activation last, struct mr_model_info *info, struct mr_err *err);

/**
 * Stores a model: type, version, feature and label names from info, with these tensors; what mr_model_file_open and
 * mr_model_meta_read read. activations: one a layer, or NULL. Otherwise as mr_safetensors_store.
 */
mr_status mr_model_store(const struct mr_model_info *info, const struct mr_names *activations,
                         const struct mr_tensor_out *tensors, size_t tensor_count, struct mr_blob *out,
                         struct mr_err *err);

/** The same with more metadata, whose keys are none of those that millrace knows. */
mr_status mr_model_store_with(const struct mr_model_info *info, const struct mr_names *activations,
                              const struct mr_tensor_out *tensors, size_t tensor_count,
                              const struct mr_metadata_out *more, size_t more_count, struct mr_blob *out,
                              struct mr_err *err);

/** Adds a layer to info's counts of parameters and operations. */
void mr_model_info_add(struct mr_model_info *info, const struct mr_mlp_layer *layer);

#endif
