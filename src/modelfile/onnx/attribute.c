/* AttributeProto: read when an operator asks for one. */
#include <string.h>

#include "modelfile/onnx/eval.h"

/* Fields of values; that of a type is one more than its number (onnx.proto, AttributeProto). */
enum { FIELD_F = 2, FIELD_I = 3, FIELD_S = 4, FIELD_T = 5 };
enum { FIELD_FLOATS = 7, FIELD_INTS = 8, FIELD_STRINGS = 9, FIELD_TYPE = 20 };

typedef enum {
    ATTRIBUTE_FLOAT = 1,
    ATTRIBUTE_INT,
    ATTRIBUTE_STRING,
    ATTRIBUTE_TENSOR,
    ATTRIBUTE_FLOATS = 6,
    ATTRIBUTE_INTS,
    ATTRIBUTE_STRINGS
} attribute_type;

/* The type that an attribute says, and that of the value which it holds; 0: none. */
static void types_of(struct mr_onnx_span proto, uint64_t *said_out, uint64_t *held_out)
{
    struct mr_onnx_cursor cursor = {.left = proto};
    struct mr_onnx_field field;
    *said_out = *held_out = 0;
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number == FIELD_TYPE && field.kind == MR_WIRE_VARINT) *said_out = field.value;
        if (field.number >= FIELD_F && field.number <= FIELD_STRINGS) *held_out = field.number - 1;
    }
}

static const char *type_name(uint64_t type)
{
    static const char *const names[] = {"nothing",          "a float", "an integer",       "a string",
                                        "a tensor",         "a graph", "a list of floats", "a list of integers",
                                        "a list of strings"};
    return type < sizeof names / sizeof *names ? names[type] : "something else";
}

mr_status mr_onnx_attribute_check(const struct mr_onnx_model *model, const struct mr_onnx_node *node,
                                  const struct mr_onnx_attribute *attribute, struct mr_err *err)
{
    static const struct {
        const char *name;
        attribute_type type;
    } known[] = {
#define MR_ONNX_ATTRIBUTE(name_, type_) {#name_, ATTRIBUTE_##type_},
#include "modelfile/onnx/attributes.def"
#undef MR_ONNX_ATTRIBUTE
    };
    if (!mr_onnx_op_is_known(node)) return MR_OK; /* it is refused for that */
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!mr_onnx_span_is(attribute->name, known[i].name)) continue;
        uint64_t said, held;
        types_of(attribute->proto, &said, &held);
        const uint64_t wrong = said && said != known[i].type ? said : held;
        if ((!said && !held) || (wrong && wrong != known[i].type))
            return mr_onnx_node_fail(model, node, err, MR_EDATA, "its attribute %s is %s, not %s", known[i].name,
                                     type_name(wrong), type_name(known[i].type));
        for (const struct mr_onnx_attribute *other = node->attribute; other < attribute; other++)
            if (mr_onnx_span_is(other->name, known[i].name))
                return mr_onnx_node_fail(model, node, err, MR_EDATA, "its attribute %s is there twice", known[i].name);
        return MR_OK;
    }
    return MR_OK;
}

static const struct mr_onnx_attribute *attribute_find(const struct mr_onnx_node *node, const char *name)
{
    for (size_t i = 0; i < node->attribute_count; i++) {
        if (mr_onnx_span_is(node->attribute[i].name, name)) return &node->attribute[i];
    }
    return NULL;
}

/* The last field of a number and kind; false: there is none. */
static bool field_find(const struct mr_onnx_node *node, const char *name, uint32_t number, int kind,
                       struct mr_onnx_field *field_out)
{
    const struct mr_onnx_attribute *const attribute = attribute_find(node, name);
    struct mr_onnx_cursor cursor = {0};
    struct mr_onnx_field field;
    bool is_found = false;
    if (attribute) cursor.left = attribute->proto;
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number != number || (int)field.kind != kind) continue;
        *field_out = field;
        is_found = true;
    }
    return is_found;
}

bool mr_onnx_attribute_has(const struct mr_onnx_node *node, const char *name)
{
    return attribute_find(node, name) != NULL;
}

int64_t mr_onnx_attribute_int(const struct mr_onnx_node *node, const char *name, int64_t fallback)
{
    struct mr_onnx_field field;
    if (field_find(node, name, FIELD_I, MR_WIRE_VARINT, &field)) return (int64_t)field.value;
    return attribute_find(node, name) ? 0 : fallback; /* writers of proto3 leave out what is 0 */
}

float mr_onnx_attribute_float(const struct mr_onnx_node *node, const char *name, float fallback)
{
    struct mr_onnx_field field;
    float value;
    if (!field_find(node, name, FIELD_F, MR_WIRE_32, &field)) return attribute_find(node, name) ? 0 : fallback;
    const uint32_t bits = (uint32_t)field.value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

struct mr_onnx_span mr_onnx_attribute_text(const struct mr_onnx_node *node, const char *name, const char *fallback)
{
    struct mr_onnx_field field;
    if (field_find(node, name, FIELD_S, MR_WIRE_BYTES, &field)) return field.bytes;
    if (attribute_find(node, name)) return (struct mr_onnx_span){(const unsigned char *)"", 0};
    return (struct mr_onnx_span){(const unsigned char *)fallback, strlen(fallback)};
}

/* One element of a list, or a packed run of them; into the tensor, or counted alone when that is NULL. */
static bool elements_take(const struct mr_onnx_field *field, struct mr_onnx_tensor *list, size_t *count)
{
    struct mr_onnx_span left = field->bytes;
    uint64_t value = field->value;
    if (field->number == FIELD_STRINGS) {
        if (list) list->text[*count] = field->bytes;
        ++*count;
        return field->kind == MR_WIRE_BYTES;
    }
    do {
        if (field->kind == MR_WIRE_BYTES && !left.bytes) break;
        if (field->kind == MR_WIRE_BYTES && field->number == FIELD_INTS && !mr_onnx_varint(&left, &value)) return false;
        if (field->kind == MR_WIRE_BYTES && field->number == FIELD_FLOATS) {
            if (left.bytes < 4) return false;
            value = mr_onnx_u32(left.data);
            left.data += 4;
            left.bytes -= 4;
        }
        const uint32_t bits = (uint32_t)value;
        if (list && field->number == FIELD_INTS) list->i64[*count] = (int64_t)value;
        if (list && field->number == FIELD_FLOATS) memcpy(&list->f32[*count], &bits, sizeof bits);
        ++*count;
    } while (left.bytes);
    return true;
}

static bool list_walk(struct mr_onnx_span proto, uint32_t number, struct mr_onnx_tensor *list, size_t *count_out)
{
    struct mr_onnx_cursor cursor = {.left = proto};
    struct mr_onnx_field field;
    *count_out = 0;
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number == number && !elements_take(&field, list, count_out)) return false;
    }
    return !cursor.is_broken;
}

/* Which list an attribute has. Empty ones have no field: their type says what they are. */
static uint32_t list_number(struct mr_onnx_span proto)
{
    struct mr_onnx_cursor cursor = {.left = proto};
    struct mr_onnx_field field;
    uint32_t number = 0;
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number >= FIELD_FLOATS && field.number <= FIELD_STRINGS) number = field.number;
        if (field.number == FIELD_TYPE && field.kind == MR_WIRE_VARINT && field.value >= 6 && field.value <= 8 &&
            !number)
            number = (uint32_t)field.value + 1;
    }
    return number;
}

mr_status mr_onnx_attribute_list(const struct mr_onnx_model *model, const struct mr_onnx_node *node, const char *name,
                                 struct mr_onnx_arena *arena, struct mr_onnx_tensor **list_out, struct mr_err *err)
{
    static const mr_onnx_type types[] = {MR_ONNX_FLOAT, MR_ONNX_INT64, MR_ONNX_STRING};
    const struct mr_onnx_attribute *const attribute = attribute_find(node, name);
    struct mr_onnx_field field;
    size_t count;
    *list_out = NULL;
    if (!attribute) return MR_OK;
    if (field_find(node, name, FIELD_T, MR_WIRE_BYTES, &field))
        return mr_onnx_tensor_read(&model->place, field.bytes, arena, list_out, NULL, err);
    const uint32_t number = list_number(attribute->proto);
    if (!number) return MR_OK;
    if (!list_walk(attribute->proto, number, NULL, &count))
        return mr_onnx_node_fail(model, node, err, MR_EDATA, "its attribute %s is broken", name);
    *list_out = mr_onnx_tensor_make(arena, types[number - FIELD_FLOATS], 1, (const int64_t[]){(int64_t)count});
    if (!*list_out) return mr_onnx_node_fail(model, node, err, MR_ENOMEM, "out of memory");
    (void)list_walk(attribute->proto, number, *list_out, &count);
    return MR_OK;
}
