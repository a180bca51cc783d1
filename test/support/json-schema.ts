/** The part of JSON Schema 2020-12 that the published schemas use; a keyword it does not know is an error. */

type Schema = Record<string, unknown>;

/** Whether the value is of the schema. */
export function matchesSchema(value: unknown, schema: Schema): boolean {
  return schemaFaults(schema, schema, value).length === 0;
}

const kindOf = (value: unknown): string => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);

/** What in a value does not fit, as places; empty when all fits. */
export function schemaFaults(root: Schema, schema: Schema, value: unknown, at = "$"): string[] {
  const again = (inner: unknown, one: unknown = value, place = at) => schemaFaults(root, inner as Schema, one, place);
  const fits = (inner: unknown) => again(inner).length === 0;
  const block = kindOf(value) === "object" ? (value as Record<string, unknown>) : undefined;
  const list = Array.isArray(value) ? value : undefined;
  const text = typeof value === "string" ? value : undefined;
  const isInteger = Number.isInteger(value);
  const no = (wrong: boolean, keyword: string) => (wrong ? [`${at}: ${keyword}`] : []);
  return Object.entries(schema).flatMap(([keyword, rule]): string[] => {
    switch (keyword) {
      case "$schema":
      case "$defs":
      case "title":
      case "description":
      case "default":
      case "then":
      case "else":
        return [];
      case "$ref": {
        const target = String(rule).replace("#/$defs/", "");
        return again((root.$defs as Record<string, Schema>)[target]);
      }
      case "type":
        return no(![rule].flat().some((kind) => kind === kindOf(value) || (kind === "integer" && isInteger)), keyword);
      case "const":
        return no(value !== rule, keyword);
      case "enum":
        return no(!(rule as unknown[]).includes(value), keyword);
      case "pattern":
        return no(text !== undefined && !new RegExp(String(rule), "u").test(text), keyword);
      case "maxLength":
        return no(text !== undefined && text.length > Number(rule), keyword);
      case "minLength":
        return no(text !== undefined && text.length < Number(rule), keyword);
      case "required":
        return (rule as string[]).flatMap((name) =>
          no(block !== undefined && block[name] === undefined, `required ${name}`),
        );
      case "dependentRequired":
        return Object.entries(rule as Record<string, string[]>).flatMap(([name, others]) =>
          block?.[name] === undefined
            ? []
            : others.flatMap((other) => no(block[other] === undefined, `with ${name}: ${other}`)),
        );
      case "dependentSchemas":
        return Object.entries(rule as Schema).flatMap(([name, inner]) =>
          block?.[name] === undefined ? [] : again(inner),
        );
      case "minimum":
        return no(typeof value === "number" && value < Number(rule), keyword);
      case "maximum":
        return no(typeof value === "number" && value > Number(rule), keyword);
      case "maxProperties":
        return no(block !== undefined && Object.keys(block).length > Number(rule), keyword);
      case "maxItems":
        return no(list !== undefined && list.length > Number(rule), keyword);
      case "minProperties":
        return no(block !== undefined && Object.keys(block).length < Number(rule), keyword);
      case "properties":
        return Object.entries(rule as Schema).flatMap(([name, inner]) =>
          block?.[name] === undefined ? [] : again(inner, block[name], `${at}.${name}`),
        );
      case "additionalProperties": {
        const known = Object.keys((schema.properties ?? {}) as Schema);
        return Object.entries(block ?? {}).flatMap(([name, one]) => {
          if (known.includes(name)) return [];
          return rule === false ? [`${at}.${name}: unknown`] : again(rule, one, `${at}.${name}`);
        });
      }
      case "propertyNames":
        return Object.keys(block ?? {}).flatMap((name) => again(rule, name, `${at}.${name}`));
      case "items":
        return (list ?? []).flatMap((one, i) => again(rule, one, `${at}[${i}]`));
      case "minItems":
        return no(list !== undefined && list.length < Number(rule), keyword);
      case "uniqueItems":
        return no(list !== undefined && new Set(list.map((one) => JSON.stringify(one))).size < list.length, keyword);
      case "not":
        return no(fits(rule), keyword);
      case "allOf":
        return (rule as Schema[]).flatMap((inner) => again(inner));
      case "anyOf":
        return no(!(rule as Schema[]).some(fits), keyword);
      case "oneOf":
        return no((rule as Schema[]).filter(fits).length !== 1, keyword);
      case "if": {
        const next = fits(rule) ? schema.then : schema.else;
        return next === undefined ? [] : again(next);
      }
      default:
        throw new Error(`${at}: the keyword ${keyword} is not known here`);
    }
  });
}
