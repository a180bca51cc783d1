/** Adds cases to a file of cases: what is in the file stays as it is, keys included. */
import type { SpiffeCase } from "../spiffe-cases.ts";

/** What a case is about; `make` builds what is judged, with fresh keys. */
export interface Recipe<C extends SpiffeCase> extends SpiffeCase {
  readonly make: () => Promise<Omit<C, keyof SpiffeCase>>;
}

/** The cases of a file, and after them those of the list that are not among them by name. */
export async function addMissing<C extends SpiffeCase>(
  present: readonly C[],
  recipes: readonly Recipe<C>[],
): Promise<C[]> {
  const known = new Set(present.map(({ name }) => name));
  const cases = [...present];
  for (const { make, ...about } of recipes) {
    if (known.has(about.name)) continue;
    known.add(about.name);
    cases.push({ ...about, ...(await make()) } as C);
  }
  return cases;
}

const WIDTH = 120;

/** JSON as the repository writes it: objects over several lines, lists on one line where they fit; ASCII only. */
export function toJson(value: unknown): string {
  const text = `${layOut(value, "", 0)}\n`;
  return text.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** @param used columns that stand before and after the value on its first line */
function layOut(value: unknown, indent: string, used: number): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    const flat = `[${value.map((item) => JSON.stringify(item)).join(", ")}]`;
    const holdsObjects = value.some((item) => typeof item === "object" && item !== null);
    if (!holdsObjects && used + flat.length <= WIDTH) return flat;
    const items = value.map((item) => deeper + layOut(item, deeper, deeper.length + 1));
    return `[\n${items.join(",\n")}\n${indent}]`;
  }
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  if (members.length === 0) return "{}";
  const lines = members.map(([name, member], index) => {
    const key = `${deeper}${JSON.stringify(name)}: `;
    return key + layOut(member, deeper, key.length + (index === members.length - 1 ? 0 : 1));
  });
  return `{\n${lines.join(",\n")}\n${indent}}`;
}
