/** `spiffe-edge policy explain`. */

import { type Decision, headerName, type Policy, explain as sentence, trace } from "../../policy/index.ts";
import { safeReadInput } from "../../policy/input.ts";
import { isRecord } from "../../policy/read.ts";
import { EXIT, usageError } from "../exit.ts";
import { readInput as readBytes } from "../inspect/input.ts";
import type { PolicyOutcome } from "../policy.ts";
import { printable, printableJson } from "../printable.ts";
import { loadPolicy } from "./load.ts";
import { type LoggedRequest, requestOf } from "./log.ts";

/** The options of the command. */
export interface ExplainOptions {
  policy: string[];
  input?: string;
  request?: string;
  log?: string;
  peer?: string;
  via?: string;
  token?: string;
  claim?: string[];
  method?: string;
  path?: string;
  host?: string;
  listener?: string;
  route?: string;
  header?: string[];
  time?: string;
  json?: true;
}

const PLAIN = ["peer", "via", "token", "method", "path", "host", "listener", "route", "time"] as const;

/** `name=value` apart. */
function pair(text: string, option: string): [name: string, value: string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw usageError(
    `Expected --${option} <name=value>, but "${printable(text)}" has no name before "="`,
    "Write it as name=value",
  );
}

/** A claim's value: JSON where it is, else text. */
function claimValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function jsonInput(text: string): Record<string, unknown> {
  const json = text === "-" ? new TextDecoder().decode(readBytes("-")) : text;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    value = undefined;
  }
  if (isRecord(value)) return value;
  throw usageError(
    "Expected one JSON object as --input, but it is none",
    'Write it as {"peer":"spiffe://…","path":"/…"}',
  );
}

/** What the options say, over what the log or the JSON says. */
function merged(options: ExplainOptions, base: Record<string, unknown>): Record<string, unknown> {
  const input: Record<string, unknown> = { ...base };
  for (const key of PLAIN) if (options[key] !== undefined) input[key] = options[key];
  if (options.header !== undefined) {
    const headers: Record<string, unknown[]> = Object.create(null);
    for (const [name, value] of options.header.map((text) => pair(text, "header"))) (headers[name] ??= []).push(value);
    input.headers = { ...(isRecord(base.headers) ? base.headers : {}), ...headers };
  }
  if (options.claim !== undefined) {
    const claims = options.claim.map((text) => pair(text, "claim")).map(([name, value]) => [name, claimValue(value)]);
    input.claims = { ...(isRecord(base.claims) ? base.claims : {}), ...Object.fromEntries(claims) };
  }
  return input;
}

/** What the log does not hold and the policy looks at. */
function notesOf(policy: Policy, logged: LoggedRequest | undefined, input: Record<string, unknown>): string[] {
  if (logged === undefined) return [];
  const notes: string[] = [];
  const given = isRecord(input.headers) ? Object.keys(input.headers).map(headerName) : [];
  const unknown = policy.headers.filter((name) => !given.includes(name));
  if (unknown.length > 0)
    notes.push(`the log holds no header values; taken as absent: ${unknown.join(", ")} (give --header)`);
  if (input.claims === undefined && (logged.input.via === "jwt" || logged.input.token !== undefined)) {
    notes.push("the log holds no claims; taken as absent (give --claim)");
  }
  return notes;
}

/** How the decision of today compares with the one in the log, and what the difference comes from. */
function comparison({ verdict, reason, rule }: LoggedRequest, now: Decision): { same: boolean; told: string } {
  const same = verdict === now.verdict;
  if (verdict === undefined)
    return { same, told: `the log holds no verdict of a policy, but ${reason ?? "no reason"}` };
  if (reason?.startsWith("policy.authorizer-") === true && now.verdict === "allow")
    return { same, told: `the log says deny (${reason}): the external authorizer, which is not asked here` };
  const by = rule ?? reason;
  if (!same) return { same, told: `the log says ${verdict} (${by}): the policy or what it looked at was another` };
  return {
    same,
    told: `the log says ${verdict} too, by ${rule !== undefined && rule === now.rule ? "the same rule" : by}`,
  };
}

/** Explains what the policy decides on one request. */
export async function explainRequest(options: ExplainOptions): Promise<PolicyOutcome> {
  if ((options.request === undefined) !== (options.log === undefined)) {
    throw usageError("Expected --request and --log together, but one is missing", "Give the id and the file");
  }
  if (options.request !== undefined && options.input !== undefined) {
    throw usageError("Expected one of --input and --request, but both are given", "Leave one out");
  }
  const policy = await loadPolicy(options.policy);
  const logged = options.request === undefined ? undefined : await requestOf(options.log as string, options.request);
  const written = merged(options, logged?.input ?? (options.input === undefined ? {} : jsonInput(options.input)));
  const read = safeReadInput(written);
  if (!read.ok)
    throw usageError(
      `Expected a request that can be judged, but ${read.message.split("\n")[0]}`,
      "Change the option or the input",
    );
  const { peer, facts, refused } = read.value;
  if (refused !== undefined) {
    return { lines: [`deny  ${refused.reason}: ${refused.message}; the policy is not asked`], code: EXIT.done };
  }
  const { decision, rules } = trace(policy, peer, facts);
  const notes = notesOf(policy, logged, written);
  const before = logged && comparison(logged, decision);
  if (options.json === true) {
    const { same } = before ?? {};
    const { verdict, reason, rule } = logged ?? {};
    const compared = logged && { logged: { verdict, reason, rule }, same };
    return { lines: [printableJson({ input: written, decision, ...compared, rules, notes })], code: EXIT.done };
  }
  const audited = decision.audited;
  const width = Math.max(0, ...rules.map(({ rule }) => rule.length));
  const lines = [
    `${decision.verdict}  ${decision.reason}: ${sentence(decision, peer)}`,
    ...(before === undefined ? [] : [`${before.same ? "same" : "was"}  ${before.told}`]),
    ...(audited === undefined ? [] : [`      in audit: rule ${audited.rule} would ${audited.verdict} it`]),
    ...rules.map(({ rule, effect, mode, misfit }) => {
      const what =
        misfit === undefined ? "matches" : misfit === "mode" ? "its audit is over" : `${misfit} does not fit`;
      return `  ${misfit === undefined ? "✓" : "–"} ${rule.padEnd(width)}  ${effect.padEnd(5)}${mode === "audit" ? "  audit" : ""}  ${what}`;
    }),
    ...notes.map((note) => `note: ${note}`),
  ];
  return { lines, code: EXIT.done };
}
