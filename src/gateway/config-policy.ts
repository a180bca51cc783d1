/** The policy of a gateway file: a list of rules, or a block with rules, policy files, a candidate and an authorizer. */
import { isSpiffeError } from "../base/index.ts";
import { type AuthorizerSettings, checkAuthorizer } from "../policy/authorizer-settings.ts";
import type { Policy, PolicySource } from "../policy/index.ts";
import { readSources } from "../policy/parse.ts";
import { makePolicy } from "../policy/policy.ts";
import { type CheckedRule, checkMode, checkRules } from "../policy/rules.ts";
import { isRecord, type Path, type Reader, type Values } from "./config-reader.ts";

/** Reads the policy files that a name means. */
export type PolicyFileReader = (glob: string) => readonly { readonly file: string; readonly text: string }[];

/** What the reading of a policy needs beside the block. */
export interface PolicyContext {
  /** Name of the gateway file. */
  readonly file: string;
  /** Whether the gateway file ends with `end: true`. */
  readonly ended: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly routes: readonly string[];
  /** Absent where there is no disk to read from. */
  readonly readFiles: PolicyFileReader | undefined;
  /** Takes faults that are sentences already. */
  readonly faults: string[];
}

/** The policies of a gateway. */
export interface PolicyConfig {
  readonly policy: Policy;
  readonly candidate: Policy | undefined;
  readonly authorizer: AuthorizerSettings | undefined;
}

const EXPECTED = '- { rule: <name>, allow: { ids: ["spiffe://<domain>/<path>"] }, routes: [<name>] }';
const SET_KEYS = ["rules", "files", "mode", "until"];

/** The sources behind `files`, with what each may speak for. */
function sourcesOf(read: Reader, value: unknown, path: Path, context: PolicyContext): PolicySource[] {
  if (value === undefined) return [];
  const expected = '- { glob: "policy.d/*.yaml", idPrefixes: ["spiffe://<domain>/<path>"] }';
  return read.list(value, path, expected).flatMap((item, i) => {
    const at = [...path, i];
    const block = read.object(item, at, ["glob", "idPrefixes"]);
    const glob = read.string(block.glob, [...at, "glob"], '"policy.d/*.yaml"');
    if (block.glob === undefined) read.report(at, 'needs "glob"', undefined, expected);
    const prefixes = read.strings(block.idPrefixes, [...at, "idPrefixes"], '["spiffe://<domain>/<path>"]');
    if (block.idPrefixes === undefined) {
      const why = "a file may speak only for what is written here";
      read.report(at, 'needs "idPrefixes"', why, 'idPrefixes: ["spiffe://<domain>"] for a whole trust domain');
      return [];
    }
    if (glob === undefined) return [];
    if (context.readFiles === undefined) {
      read.report(
        [...at, "glob"],
        "names files, but the configuration is no file itself",
        undefined,
        "rules written out",
      );
      return [];
    }
    try {
      return context.readFiles(glob).map(({ file, text }) => ({ file, text, idPrefixes: prefixes }));
    } catch (error) {
      if (!isSpiffeError(error, "ERR_SPIFFE_CONFIG")) throw error;
      read.report([...at, "glob"], error.message, undefined, "the name of a file that can be read");
      return [];
    }
  });
}

/** Rules written out and in files, as one policy; undefined after reporting why not. */
function readSet(
  read: Reader,
  value: Values | readonly unknown[],
  path: Path,
  context: PolicyContext,
): Policy | undefined {
  const before = read.issues.length + context.faults.length;
  const names = new Map<string, string>();
  const block: Values = Array.isArray(value) ? { rules: value } : (value as Values);
  const at = Array.isArray(value) ? path : [...path, "rules"];
  const auditUntil = checkMode(block, path, (issue) => read.issues.push(issue)) ?? undefined;
  if (block.mode === "audit" && block.files !== undefined) {
    const why = "the mode does not reach rules in files, which would be enforced";
    read.report([...path, "mode"], "stands beside files", why, "mode and until in each file, or in each rule");
  }
  const written = checkRules(block.rules === undefined ? [] : block.rules, at, {
    auditUntil,
    names,
    file: context.file,
  });
  for (const issue of written.issues) read.issues.push(issue);
  for (const [i, rule] of written.rules.entries()) {
    const routes = [...(rule.routes ?? [])];
    for (const [j, name] of routes.entries()) read.reference(name, [...at, i, "routes", j], context.routes, "route");
  }
  const files = readSources(sourcesOf(read, block.files, [...path, "files"], context), context.env, names);
  for (const fault of files.faults) context.faults.push(fault);
  for (const rule of files.rules) checkRoutes(rule, names, context);
  const rules = [...written.rules, ...files.rules];
  if (read.issues.length + context.faults.length > before) return undefined;
  if (rules.length === 0) {
    read.report(
      path,
      value.length === undefined ? "holds no rule" : "is empty",
      "every request would be denied",
      EXPECTED,
    );
    return undefined;
  }
  const own = { file: context.file, ended: context.ended, rules: written.rules.length };
  return makePolicy(rules, {}, [own, ...files.sources]);
}

function checkRoutes(rule: CheckedRule, names: ReadonlyMap<string, string>, { routes, faults }: PolicyContext): void {
  for (const name of rule.routes ?? []) {
    if (routes.includes(name)) continue;
    faults.push(
      `${names.get(rule.name)}: rule ${rule.name}: there is no route "${name}". Expected: one of ${routes.join(", ")}`,
    );
  }
}

/** Reads `policy`; undefined after reporting why not. */
export function readPolicy(read: Reader, value: unknown, context: PolicyContext): PolicyConfig | undefined {
  const path = ["policy"];
  if (value === undefined) return read.report(path, "is missing", "every request would be denied", EXPECTED);
  if (Array.isArray(value)) {
    const policy = readSet(read, value, path, context);
    return policy === undefined ? undefined : { policy, candidate: undefined, authorizer: undefined };
  }
  if (!isRecord(value)) return read.report(path, "is not a list of rules", undefined, EXPECTED);
  const block = read.object(value, path, [...SET_KEYS, "candidate", "authorizer"]);
  const policy = readSet(read, block, path, context);
  const inner = [...path, "candidate"];
  const candidate =
    block.candidate === undefined
      ? undefined
      : readSet(
          read,
          Array.isArray(block.candidate) ? block.candidate : read.object(block.candidate, inner, SET_KEYS),
          inner,
          context,
        );
  const { settings, issues } =
    block.authorizer === undefined
      ? { settings: undefined, issues: [] }
      : checkAuthorizer(block.authorizer, [...path, "authorizer"]);
  read.issues.push(...issues);
  const looked = [...(policy?.headers ?? []), ...(candidate?.headers ?? [])];
  for (const [i, name] of (settings?.headers ?? []).entries()) {
    if (!looked.includes(name)) continue;
    const why = "rules are asked before the authorizer, so that they would see the caller's own value";
    read.report(
      [...path, "authorizer", "headers", i],
      `a rule looks at ${name}`,
      why,
      "another header for one of them",
    );
  }
  return policy === undefined ? undefined : { policy, candidate, authorizer: settings };
}
