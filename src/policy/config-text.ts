/** YAML to plain values, with the place of each: one document, no aliases, no duplicate keys (S-26). */
import { Composer, isMap, isNode, isPair, isScalar, isSeq, LineCounter, type Node, visit } from "yaml";
import { LIMITS } from "../base/index.ts";
import { readTokens } from "./config-tokens.ts";
import { type ConfigIssue, formatIssue } from "./issue.ts";

/** Tags of what JSON has too. */
const PLAIN_TAG = /^(?:!|tag:yaml\.org,2002:(?:str|int|float|bool|null|map|seq))$/;

/** A parsed file: the values with variables put in, and what a message about a place says. */
export interface ConfigText {
  readonly value: unknown;
  /** Faults of the text itself; nothing else counts while there are any. */
  readonly faults: readonly string[];
  /** Writes an issue as `gateway.yaml:8:3 place: what; why. Expected: …`. */
  sentence(issue: ConfigIssue): string;
}

/** Where configuration comes from, for the messages, and the variables it may name. */
export interface ConfigOrigin {
  /** Name of the file as people know it; left out, messages name no lines. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

type Path = readonly (string | number)[];

/** Replaces `${NAME}` by the variable's value, in values only and after parsing, so that a value stays one value. */
function substitute(
  value: unknown,
  path: Path,
  env: ConfigOrigin["env"],
  issues: ConfigIssue[],
  put: Map<string, string>,
): unknown {
  if (Array.isArray(value)) return value.map((item, i) => substitute(item, [...path, i], env, issues, put));
  if (typeof value === "object" && value !== null) {
    const copy: Record<string, unknown> = Object.create(null);
    for (const [key, item] of Object.entries(value)) copy[key] = substitute(item, [...path, key], env, issues, put);
    return copy;
  }
  if (typeof value !== "string" || !value.includes("${")) return value;
  const text = value.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{/g, (whole, name?: string) => {
    if (name === undefined) {
      issues.push({ path, what: `"${value}" has a variable without a proper name`, expected: "$" + "{NAME}" });
      return whole;
    }
    const found = Object.hasOwn(env, name) ? env[name] : undefined;
    if (found === undefined) {
      issues.push({ path, what: `the variable ${name} is not set`, expected: `${name} in the environment` });
      return whole;
    }
    return found;
  });
  put.set(JSON.stringify(path), JSON.stringify(text));
  return text;
}

/** The text position of a place: that of its key, or of the list item; of the nearest enclosing place where it is absent. */
function offsetOf(root: unknown, path: Path): number {
  let node = root;
  let offset = isNode(root) ? (root.range?.[0] ?? 0) : 0;
  for (const part of path) {
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === part);
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      next = pair.value;
    } else if (isSeq(node) && typeof part === "number") {
      next = node.items[part];
      if (isNode(next)) offset = next.range?.[0] ?? offset;
    } else break;
    node = next;
  }
  return offset;
}

/** Line and column of an offset, where lines have not been counted. */
function placeOf(text: string, offset: number): { line: number; col: number } {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, col: offset - before.lastIndexOf("\n") };
}

/** Parses configuration text. Never throws for bad text: the faults say what is wrong. */
export function readConfigText(input: string, origin: ConfigOrigin): ConfigText {
  // a mark of the byte order is no character of the first line: the parser would count it as an indent
  const text = input.startsWith("\ufeff") ? input.slice(1) : input;
  const lines = new LineCounter();
  const place = (offset: number) => {
    if (origin.file === undefined) return "";
    const { line, col } = lines.linePos(offset);
    return `${origin.file}:${line}:${col} `;
  };
  const broken = (faults: string[]): ConfigText => ({ value: undefined, faults, sentence: formatIssue });
  const name = origin.file ?? "configuration";
  if (text.length > LIMITS.configText) return broken([`${name}: is longer than 1 MiB`]);
  const tokens = readTokens(text, lines.addNewLine);
  if ("what" in tokens) {
    const { line, col } = placeOf(text, tokens.offset);
    return broken([`${origin.file === undefined ? "" : `${origin.file}:${line}:${col} `}${tokens.what}`]);
  }
  const composer = new Composer({ lineCounter: lines, prettyErrors: false, stringKeys: true, schema: "core" });
  const [document] = [...composer.compose(tokens)];
  const { contents = null } = document ?? {};
  if (document === undefined || contents === null || (isScalar(contents) && contents.value === null)) {
    const found = [...composer.streamInfo().errors, ...(document?.errors ?? [])].map(
      (error) => place(error.pos[0]) + error.message,
    );
    return broken(found.length > 0 ? found : [`${name}: is empty`]);
  }
  const faults = [...document.errors, ...document.warnings].map((error) => place(error.pos[0]) + error.message);
  visit(document, {
    Node(_, node) {
      if ("tag" in node && node.tag !== undefined && !PLAIN_TAG.test(node.tag)) {
        faults.push(
          `${place(node.range?.[0] ?? 0)}the tag ${node.tag} is not for a configuration; write the value plainly`,
        );
      }
    },
    Pair(_, pair) {
      if (isPair(pair) && isScalar(pair.key) && pair.key.value === "__proto__") {
        faults.push(`${place(pair.key.range?.[0] ?? 0)}"__proto__" is no key of a configuration`);
      }
    },
  });
  if (faults.length > 0) return broken(faults);
  const issues: ConfigIssue[] = [];
  const put = new Map<string, string>();
  const sentence = (issue: ConfigIssue) => {
    const value = put.get(JSON.stringify(issue.path));
    const source = document.getIn(issue.path);
    // what a variable held is not repeated in messages
    const hidden =
      value === undefined ? formatIssue(issue) : formatIssue(issue).replaceAll(value, JSON.stringify(source));
    return place(offsetOf(document.contents, issue.path)) + hidden;
  };
  const value = substitute(document.toJS(), [], origin.env, issues, put);
  return { value, faults: issues.map(sentence), sentence };
}
