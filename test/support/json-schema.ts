/** Judges values by a JSON Schema of the words that ours use; any other word is an error, so that none is read over. */

type Schema = Readonly<Record<string, unknown>>;

const SILENT = new Set(["$schema", "$defs", "title", "description", "default", "then"]);

/** Whether the value is of the schema. */
export function matchesSchema(value: unknown, schema: Schema, root: Schema = schema): boolean {
  return Object.keys(schema).every((word) => SILENT.has(word) || keeps(word, value, schema, root));
}

function keeps(word: string, value: unknown, schema: Schema, root: Schema): boolean {
  const rule = schema[word];
  const matches = (part: unknown, of: unknown = value) => matchesSchema(of, part as Schema, root);
  const record = typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Schema) : {};
  const has = (name: string) => Object.hasOwn(record, name);
  const names = (map: unknown) => Object.keys(map as object);
  switch (word) {
    case "$ref":
      return matches((root.$defs as Schema)[String(rule).replace("#/$defs/", "")]);
    case "type":
      return typeOf(value) === rule || (rule === "number" && typeOf(value) === "integer");
    case "const":
      return value === rule;
    case "enum":
      return (rule as unknown[]).includes(value);
    case "anyOf":
      return (rule as unknown[]).some((part) => matches(part));
    case "not":
      return !matches(rule);
    case "if":
      return !matches(rule) || matches(schema.then);
    case "required":
      return (rule as string[]).every(has);
    case "properties":
      return names(rule).every((name) => !has(name) || matches((rule as Schema)[name], record[name]));
    case "additionalProperties":
      return names(record).every((name) => Object.hasOwn(schema.properties as Schema, name));
    case "dependentRequired":
      return names(rule).every((name) => !has(name) || ((rule as Schema)[name] as string[]).every(has));
    case "dependentSchemas":
      return names(rule).every((name) => !has(name) || matches((rule as Schema)[name]));
    case "items":
      return !Array.isArray(value) || value.every((item) => matches(rule, item));
    case "minItems":
      return !Array.isArray(value) || value.length >= Number(rule);
    case "minLength":
      return typeof value !== "string" || value.length >= Number(rule);
    case "pattern":
      return typeof value !== "string" || new RegExp(String(rule), "u").test(value);
    case "minimum":
      return typeof value !== "number" || value >= Number(rule);
    case "maximum":
      return typeof value !== "number" || value <= Number(rule);
    default:
      throw new Error(`No test knows the schema's word "${word}"`);
  }
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}
