/* JSON Schema of the job file, made from the same tables that read it, so that editors complete and check as millrace
 * does. */
#include <string.h>

#include "base/options.h"
#include "config/load.h"

/* Pattern of a value with ${...}, which may stand for any scalar. */
static const char reference_pattern[] = "\\$\\{(env|file):[^}]+\\}";

static cJSON *put(cJSON *object, const char *key, cJSON *value)
{
    cJSON_AddItemToObject(object, key, value);
    return value;
}

static cJSON *typed(const char *type)
{
    cJSON *const schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", type);
    return schema;
}

static cJSON *reference(const char *name)
{
    char target[128];
    cJSON *const schema = cJSON_CreateObject();
    snprintf(target, sizeof target, "#/$defs/%s", name);
    cJSON_AddStringToObject(schema, "$ref", target);
    return schema;
}

static cJSON *number(const struct mr_option *row, const char *type, double scale)
{
    cJSON *const schema = typed(type);
    if (!mr_option_has_range(row)) return schema;
    cJSON_AddNumberToObject(schema, "minimum", row->min / scale);
    if (row->max < MR_NO_MAX) cJSON_AddNumberToObject(schema, "maximum", row->max / scale);
    return schema;
}

static cJSON *pattern(const char *text)
{
    cJSON *const schema = typed("string");
    cJSON_AddStringToObject(schema, "pattern", text);
    return schema;
}

static cJSON *choices(const struct mr_option *row)
{
    cJSON *const schema = cJSON_CreateObject();
    cJSON *const names = cJSON_AddArrayToObject(schema, "enum");
    for (size_t i = 0; row->choices[i]; i++) cJSON_AddItemToArray(names, cJSON_CreateString(row->choices[i]));
    return schema;
}

static cJSON *text(bool is_required)
{
    cJSON *const schema = typed("string");
    if (is_required) cJSON_AddNumberToObject(schema, "minLength", 1);
    return schema;
}

static cJSON *list(bool is_required)
{
    cJSON *const schema = typed("array");
    put(schema, "items", text(true));
    if (is_required) cJSON_AddNumberToObject(schema, "minItems", 1);
    return schema;
}

static cJSON *map(bool is_required)
{
    static const char *const types[] = {"string", "number", "boolean"};
    cJSON *const schema = typed("object");
    cJSON *const values = put(schema, "additionalProperties", cJSON_CreateObject());
    cJSON_AddItemToObject(values, "type", cJSON_CreateStringArray(types, 3));
    if (is_required) cJSON_AddNumberToObject(schema, "minProperties", 1);
    return schema;
}

/* The forms that a value may take. */
static void add_forms(const struct mr_option *row, cJSON *forms)
{
    switch (row->type) {
    case MR_OPT_STRING:
        cJSON_AddItemToArray(forms, text(row->required));
        return;
    case MR_OPT_MAP:
        cJSON_AddItemToArray(forms, map(row->required));
        return;
    case MR_OPT_STRINGS:
        cJSON_AddItemToArray(forms, text(true));
        cJSON_AddItemToArray(forms, list(row->required));
        return;
    case MR_OPT_BOOL:
        cJSON_AddItemToArray(forms, typed("boolean"));
        break;
    case MR_OPT_INT:
        cJSON_AddItemToArray(forms, number(row, "integer", 1));
        break;
    case MR_OPT_DOUBLE:
        cJSON_AddItemToArray(forms, number(row, "number", 1));
        break;
    case MR_OPT_ENUM:
        cJSON_AddItemToArray(forms, choices(row));
        break;
    case MR_OPT_DURATION:
        cJSON_AddItemToArray(forms, number(row, "number", 1e6));
        cJSON_AddItemToArray(forms, pattern("^[0-9]+(\\.[0-9]+)? *(us|ms|s|m|h)?$"));
        break;
    case MR_OPT_SIZE:
        cJSON_AddItemToArray(forms, number(row, "integer", 1));
        cJSON_AddItemToArray(forms, pattern("^[0-9]+(\\.[0-9]+)? *(B|[kMGT]B|[KMGT]iB)?$"));
        break;
    }
    cJSON_AddItemToArray(forms, reference("reference"));
}

static cJSON *row_schema(const struct mr_option *row)
{
    cJSON *const schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "description", row->doc);
    add_forms(row, cJSON_AddArrayToObject(schema, "anyOf"));
    cJSON *const fallback = mr_fallback_json(row);
    if (fallback) put(schema, "default", fallback);
    cJSON *const example = row->example ? cJSON_Parse(row->example) : NULL;
    if (example) cJSON_AddItemToArray(cJSON_AddArrayToObject(schema, "examples"), example);
    return schema;
}

static void add_rows(const struct mr_option *table, cJSON *properties, cJSON *required)
{
    for (const struct mr_option *row = table; row && row->key; row++) {
        if (!cJSON_HasObjectItem(properties, row->key)) put(properties, row->key, row_schema(row));
        if (row->required) cJSON_AddItemToArray(required, cJSON_CreateString(row->key));
    }
}

/* An object that takes no keys but its properties and notes. */
static cJSON *closed_object(cJSON **properties_out, cJSON **required_out)
{
    cJSON *const schema = typed("object");
    *properties_out = cJSON_AddObjectToObject(schema, "properties");
    *required_out = cJSON_AddArrayToObject(schema, "required");
    cJSON_AddItemToObject(cJSON_AddObjectToObject(schema, "patternProperties"), "^(x-|\\$schema$)",
                          cJSON_CreateObject());
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

/* $defs: one closed object for each plug-in of a section. */
static void add_plug(const struct mr_section *section, const struct mr_plug *plug, cJSON *defs)
{
    char name[80];
    cJSON *properties, *required;
    cJSON *const schema = closed_object(&properties, &required);
    cJSON_AddStringToObject(schema, "description", plug->summary ? plug->summary : plug->name);
    cJSON_AddItemToObject(cJSON_AddObjectToObject(properties, section->selector), "const",
                          cJSON_CreateString(plug->name));
    add_rows(section->selectors, properties, required);
    add_rows(section->rows, properties, required);
    add_rows(plug->options, properties, required);
    snprintf(name, sizeof name, "%s.%s", section->key, plug->name);
    put(defs, name, schema);
}

/* $defs: the keys of all plug-ins of a section, where the selector may be left out. */
static void add_any_plug(const struct mr_section *section, cJSON *defs, cJSON *rules)
{
    struct mr_plug plug;
    cJSON *properties, *required;
    cJSON *const schema = closed_object(&properties, &required);
    add_rows(section->selectors, properties, required);
    add_rows(section->rows, properties, required);
    cJSON *const none = cJSON_CreateArray(); /* keys that one plug-in requires may be those of another one */
    for (size_t i = 0; mr_plug_at(section->kind, i, &plug); i++) add_rows(plug.options, properties, none);
    cJSON_Delete(none);
    put(defs, section->key, schema);
    cJSON *const rule = cJSON_CreateObject();
    cJSON *const condition = cJSON_AddObjectToObject(cJSON_AddObjectToObject(rule, "if"), "not");
    cJSON_AddItemToArray(cJSON_AddArrayToObject(condition, "required"), cJSON_CreateString(section->selector));
    put(rule, "then", reference(section->key));
    cJSON_AddItemToArray(rules, rule);
}

/* if the selector is NAME then the plug-in's object; editors follow this better than oneOf. */
static cJSON *chosen_schema(const struct mr_section *section, cJSON *defs)
{
    struct mr_plug plug;
    cJSON *const schema = typed("object");
    cJSON *const selector = put(cJSON_AddObjectToObject(schema, "properties"), section->selector, cJSON_CreateObject());
    cJSON *const forms = cJSON_AddArrayToObject(selector, "anyOf");
    cJSON *const names = cJSON_CreateArray();
    cJSON *const rules = cJSON_CreateArray();
    cJSON *const enumeration = cJSON_CreateObject();
    const struct mr_option *const row = mr_option_find(section->selectors, section->selector);
    if (row->required)
        cJSON_AddItemToArray(cJSON_AddArrayToObject(schema, "required"), cJSON_CreateString(section->selector));
    else
        put(schema, "anyOf", cJSON_Parse("[{\"required\":[\"type\"]},{\"required\":[\"file\"]}]"));
    put(enumeration, "enum", names);
    cJSON_AddItemToArray(forms, enumeration);
    cJSON_AddItemToArray(forms, reference("reference"));
    for (size_t i = 0; mr_plug_at(section->kind, i, &plug); i++) {
        char name[80];
        cJSON *const rule = cJSON_CreateObject();
        cJSON *const condition = cJSON_AddObjectToObject(rule, "if");
        cJSON *const chosen =
            cJSON_AddObjectToObject(cJSON_AddObjectToObject(condition, "properties"), section->selector);
        cJSON_AddStringToObject(chosen, "const", plug.name);
        cJSON_AddItemToArray(cJSON_AddArrayToObject(condition, "required"), cJSON_CreateString(section->selector));
        snprintf(name, sizeof name, "%s.%s", section->key, plug.name);
        put(rule, "then", reference(name));
        cJSON_AddItemToArray(rules, rule);
        cJSON_AddItemToArray(names, cJSON_CreateString(plug.name));
        add_plug(section, &plug, defs);
    }
    if (!row->required) add_any_plug(section, defs, rules);
    if (cJSON_GetArraySize(rules))
        put(schema, "allOf", rules);
    else
        cJSON_Delete(rules);
    return schema;
}

/* Exactly one place for bad records. */
static void add_one_place(cJSON *schema)
{
    cJSON *const places = cJSON_Parse("[{\"required\":[\"topic\"]},{\"required\":[\"file\"]},"
                                      "{\"required\":[\"drop\"],\"properties\":{\"drop\":{\"const\":true}}}]");
    put(schema, "oneOf", places);
}

static cJSON *plain_schema(const struct mr_section *section)
{
    cJSON *properties, *required;
    cJSON *const schema = closed_object(&properties, &required);
    add_rows(section->rows, properties, required);
    if (!strcmp(section->key, "bad_records")) add_one_place(schema);
    return schema;
}

static cJSON *section_schema(const struct mr_section *section, cJSON *defs)
{
    cJSON *schema = section->kind == MR_PLUG_NONE ? plain_schema(section) : chosen_schema(section, defs);
    if (section->is_list) {
        cJSON *const array = typed("array");
        put(array, "items", schema);
        cJSON_AddNumberToObject(array, "minItems", 1);
        schema = array;
    }
    cJSON_AddStringToObject(schema, "description", section->doc);
    return schema;
}

void mr_job_schema_print(FILE *out)
{
    cJSON *properties, *required;
    cJSON *const root = closed_object(&properties, &required);
    cJSON *const defs = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "$schema", "https://json-schema.org/draft/2020-12/schema");
    cJSON_AddStringToObject(root, "title", "millrace job file, version " MR_VERSION);
    put(defs, "reference", pattern(reference_pattern));
    for (const struct mr_section *section = mr_sections; section->key; section++) {
        put(properties, section->key, section_schema(section, defs));
        if (section->is_required) cJSON_AddItemToArray(required, cJSON_CreateString(section->key));
    }
    add_rows(mr_job_options, properties, required);
    put(root, "$defs", defs);
    mr_json_print(root, out); /* without memory there is nothing to print */
    cJSON_Delete(root);
}
