/** YAML to plain values, with the place of each: one document, no aliases, no duplicate keys (S-26). */
import {
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  parseAllDocuments,
  visit,
} from "yaml";
import { LIMITS } from "../base/index.ts";
import { type ConfigIssue, formatIssue } from "./issue.ts";

/** The largest configuration that is read, in bytes of text. */
const MAX_TEXT = 1_048_576;

/** Tags of what JSON has too. */
const PLAIN_TAG = /^(?:!|tag:yaml\.org,2002:(?:str|int|float|bool|null|map|seq))$/;

/** Keys of one block; each is compared with the others of its block. */
const MAX_KEYS = 1_000;

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

/**
 * Why a text would cost the parser more time or stack than any configuration is worth. Its own lexer and the first of
 * its two steps are asked, which keep a stack of their own, so that nothing is deep to one of them and flat to the other.
 */
function excess(text: string): string | undefined {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    for (const _ of parser.next(lexeme));
    const top = parser.stack.at(-1);
    if (top?.type !== "block-map" && top?.type !== "block-seq" && top?.type !== "flow-collection") continue;
    // the document stands below the collections
    if (parser.stack.length - 1 > LIMITS.jsonDepth) return "is nested too deeply to be read";
    const isKeyed = top.type === "block-map" || (top.type === "flow-collection" && top.start.source === "{");
    if (isKeyed && top.items.length > MAX_KEYS) return `has a block of more than ${MAX_KEYS} keys`;
  }
  return undefined;
}

/** Parses configuration text. Never throws for bad text: the faults say what is wrong. */
export function readConfigText(text: string, origin: ConfigOrigin): ConfigText {
  const lines = new LineCounter();
  const place = (offset: number) => {
    if (origin.file === undefined) return "";
    const { line, col } = lines.linePos(offset);
    return `${origin.file}:${line}:${col} `;
  };
  const broken = (faults: string[]): ConfigText => ({ value: undefined, faults, sentence: formatIssue });
  if (text.length > MAX_TEXT) return broken([`${origin.file ?? "configuration"}: is longer than 1 MiB`]);
  const why = excess(text);
  if (why !== undefined) return broken([`${origin.file ?? "configuration"}: ${why}`]);
  const options = { lineCounter: lines, prettyErrors: false, stringKeys: true, schema: "core" } as const;
  const documents = parseAllDocuments(text, options);
  const [document, second] = Array.isArray(documents) ? documents : [];
  const { contents = null } = document ?? {};
  if (document === undefined || contents === null || (isScalar(contents) && contents.value === null)) {
    const found = documents.flatMap((each) => each.errors).map((error) => place(error.pos[0]) + error.message);
    return broken(found.length > 0 ? found : [`${origin.file ?? "configuration"}: is empty`]);
  }
  const faults = [...document.errors, ...document.warnings].map((error) => place(error.pos[0]) + error.message);
  if (second !== undefined) {
    faults.push(`${place(second.range?.[0] ?? 0)}a second document begins; a file holds one configuration`);
  }
  visit(document, {
    Alias(_, node) {
      faults.push(`${place(node.range?.[0] ?? 0)}"*${node.source}" is an alias; write the value out`);
    },
    Node(_, node) {
      if ("tag" in node && node.tag !== undefined && !PLAIN_TAG.test(node.tag)) {
        faults.push(
          `${place(node.range?.[0] ?? 0)}the tag ${node.tag} is not for a configuration; write the value plainly`,
        );
      }
      if ("anchor" in node && node.anchor !== undefined && node.anchor !== "") {
        faults.push(`${place(node.range?.[0] ?? 0)}"&${node.anchor}" is an anchor; write the value out`);
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
