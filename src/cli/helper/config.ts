/** The helper's file: the keys of spiffe-helper's configuration, as YAML. All that is wrong is told at once, with its place. */
import { readFile } from "node:fs/promises";
import { constants } from "node:os";
import process from "node:process";
import { SpiffeError } from "../../base/index.ts";
import { type Path, Reader, type Values } from "../../gateway/config-reader.ts";
import { readConfigText } from "../../policy/config-text.ts";
import { formatFaults } from "../../policy/issue.ts";
import { parseEndpoint } from "../../workload/index.ts";
import { splitArguments } from "./arguments.ts";

/** A token that is written to a file. */
export interface TokenFile {
  readonly audience: readonly string[];
  readonly name: string;
}

/** A command that is run after each change, without a shell. */
export interface RenewCommand {
  readonly file: string;
  readonly args: readonly string[];
  /** Milliseconds it may take; absent for one that goes on running and is signalled. */
  readonly timeoutMs?: number | undefined;
}

/** The checked file. */
export interface HelperConfig {
  readonly socket: string;
  readonly folder: string;
  readonly hint?: string | undefined;
  readonly x509?: { readonly svid: string; readonly key: string; readonly bundle: string } | undefined;
  readonly jwtBundle?: string | undefined;
  readonly tokens: readonly TokenFile[];
  readonly modes: { readonly cert: number; readonly key: number; readonly jwtBundle: number; readonly token: number };
  readonly intermediatesToBundle: boolean;
  readonly federated: boolean;
  readonly omitExpired: boolean;
  readonly daemon: boolean;
  readonly command?: RenewCommand | undefined;
  readonly pidFile?: string | undefined;
  readonly signal?: NodeJS.Signals | undefined;
  readonly health?: { readonly port: number; readonly livePath: string; readonly readyPath: string } | undefined;
}

const KEYS = [
  "agent_address",
  "cert_dir",
  "svid_file_name",
  "svid_key_file_name",
  "svid_bundle_file_name",
  "jwt_bundle_file_name",
  "jwt_svids",
  "cert_file_mode",
  "key_file_mode",
  "jwt_bundle_file_mode",
  "jwt_svid_file_mode",
  "hint",
  "add_intermediates_to_bundle",
  "include_federated_domains",
  "omit_expired",
  "daemon_mode",
  "cmd",
  "cmd_args",
  "cmd_timeout",
  "pid_file_name",
  "renew_signal",
  "health_checks",
];

/** What a reload command may take where nothing is said. */
const COMMAND_TIMEOUT_MS = 30_000;

/** Bits that would let anybody read, or anybody but the owner write: not for keys and tokens. */
const OPEN_BITS = 0o137;

/** The names that federated bundles get. */
export const FEDERATED = ".spiffe-trust-bundle.pem";

/**
 * Reads and checks the file.
 *
 * @throws `ERR_SPIFFE_CONFIG` with a line for each fault: file, line, column, what is wrong, what was expected
 */
export async function loadHelperConfig(file: string): Promise<HelperConfig> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "unknown error";
    throw new SpiffeError("ERR_SPIFFE_CONFIG", `${file}: the helper's file cannot be read (${code})`, { cause });
  }
  return parseHelperConfig(text, file, process.env);
}

/** {@link loadHelperConfig} for text that is at hand. */
export function parseHelperConfig(
  text: string,
  file: string,
  env: Readonly<Record<string, string | undefined>>,
): HelperConfig {
  const refuse = (faults: readonly string[]) => new SpiffeError("ERR_SPIFFE_CONFIG", formatFaults(faults));
  // what spiffe-helper reads, which YAML takes for one long text
  const first = text.split("\n").find((line) => /^\s*[^\s#/]/.test(line)) ?? "";
  if (/^\s*\w+\s*=/.test(first)) {
    throw refuse([`${file}: is HCL, the form of spiffe-helper. Expected: YAML with the same keys, as cert_dir: certs`]);
  }
  const source = readConfigText(text, { file, env });
  if (source.faults.length > 0) throw refuse(source.faults);
  const read = new Settings();
  const config = readConfig(read, read.object(source.value, [], KEYS), env);
  if (read.issues.length > 0) throw refuse(read.issues.map((issue) => source.sentence(issue)));
  return config;
}

function readConfig(read: Settings, top: Values, env: Readonly<Record<string, string | undefined>>): HelperConfig {
  const x509 = readX509(read, top);
  const tokens = readTokens(read, top.jwt_svids);
  const jwtBundle = read.fileName(top, "jwt_bundle_file_name");
  if (x509 === undefined && tokens.length === 0 && jwtBundle === undefined && read.issues.length === 0) {
    const expected =
      "svid_file_name with svid_key_file_name and svid_bundle_file_name, jwt_svids, or jwt_bundle_file_name";
    read.report([], "names no file to write", undefined, expected);
  }
  const names = [x509?.svid, x509?.key, x509?.bundle, jwtBundle, ...tokens.map(({ name }) => name)];
  for (const name of new Set(names.filter((name, i) => name !== undefined && names.indexOf(name) !== i))) {
    read.report([], `two files are called "${name}"`, undefined, "different names");
  }
  const folder = read.text(top, "cert_dir", "a folder");
  if (folder === undefined) read.missing("cert_dir", "a folder to write into");
  const health = readHealth(read, top.health_checks);
  return {
    socket: readSocket(read, top, env),
    folder: folder ?? "",
    hint: read.text(top, "hint", "a hint of the Workload API"),
    x509,
    jwtBundle,
    tokens,
    modes: {
      cert: read.mode(top, "cert_file_mode", 0o644, 0o111),
      key: read.mode(top, "key_file_mode", 0o600, OPEN_BITS),
      jwtBundle: read.mode(top, "jwt_bundle_file_mode", 0o600, 0o111),
      token: read.mode(top, "jwt_svid_file_mode", 0o600, OPEN_BITS),
    },
    intermediatesToBundle: read.flag(top, "add_intermediates_to_bundle", false),
    federated: read.flag(top, "include_federated_domains", false),
    omitExpired: read.flag(top, "omit_expired", false),
    ...readRenewal(read, top),
    health,
  };
}

/** An address, or a path alone. There is no default path: whoever came first to it could pose as the agent. */
function readSocket(read: Settings, top: Values, env: Readonly<Record<string, string | undefined>>): string {
  const given = read.text(top, "agent_address", "unix:///path, or /path") ?? env.SPIFFE_ENDPOINT_SOCKET ?? "";
  const socket = given.startsWith("/") ? `unix://${given}` : given;
  if (socket === "") read.missing("agent_address", "unix:///path, or SPIFFE_ENDPOINT_SOCKET in the environment");
  try {
    if (socket !== "") parseEndpoint(socket);
  } catch (error) {
    read.report(["agent_address"], (error as Error).message);
  }
  return socket;
}

function readX509(read: Settings, top: Values): HelperConfig["x509"] {
  const keys = ["svid_file_name", "svid_key_file_name", "svid_bundle_file_name"] as const;
  const [svid, key, bundle] = keys.map((name) => read.fileName(top, name));
  const given = keys.filter((name) => top[name] !== undefined);
  if (given.length > 0 && given.length < keys.length) {
    const absent = keys.filter((name) => top[name] === undefined);
    read.report([given[0]!], `comes without ${absent.join(" and ")}`, "the three belong together", keys.join(", "));
  }
  return svid === undefined || key === undefined || bundle === undefined ? undefined : { svid, key, bundle };
}

function readTokens(read: Settings, value: unknown): TokenFile[] {
  if (value === undefined) return [];
  const expected = "- { jwt_audience: <audience>, jwt_svid_file_name: <name> }";
  return read.list(value, ["jwt_svids"], expected).flatMap((item, i) => {
    const path: Path = ["jwt_svids", i];
    const block = read.object(item, path, ["jwt_audience", "jwt_extra_audiences", "jwt_svid_file_name"]);
    const first = read.string(block.jwt_audience, [...path, "jwt_audience"], "an audience");
    if (block.jwt_audience === undefined) read.report(path, "has no jwt_audience", undefined, expected);
    if (block.jwt_svid_file_name === undefined) read.report(path, "has no jwt_svid_file_name", undefined, expected);
    const extra = read.strings(block.jwt_extra_audiences, [...path, "jwt_extra_audiences"], "a list of audiences");
    const name = read.fileName(block, "jwt_svid_file_name", path);
    return first === undefined || name === undefined ? [] : [{ audience: [...new Set([first, ...extra])], name }];
  });
}

function readRenewal(read: Settings, top: Values): Pick<HelperConfig, "daemon" | "command" | "pidFile" | "signal"> {
  const daemon = read.flag(top, "daemon_mode", true);
  const [file, pidFile] = [read.text(top, "cmd", "a program"), read.text(top, "pid_file_name", "a file")];
  const signal = read.signal(top, "renew_signal");
  for (const name of ["cmd", "cmd_args", "cmd_timeout", "pid_file_name", "renew_signal"]) {
    if (!daemon && top[name] !== undefined) {
      read.report([name], "stands beside daemon_mode: false", "nothing is run or signalled then", "one of the two");
    }
  }
  for (const name of ["cmd_args", "cmd_timeout"]) {
    if (top.cmd === undefined && top[name] !== undefined) read.report([name], "comes without cmd");
  }
  if (pidFile !== undefined && top.renew_signal === undefined) {
    read.report(["pid_file_name"], "comes without renew_signal", undefined, "renew_signal: SIGHUP");
  }
  if (signal !== undefined && pidFile === undefined && file === undefined) {
    read.report(["renew_signal"], "has nobody to go to", undefined, "pid_file_name or cmd");
  }
  // A command that can be signalled may go on running; one that can not has to end.
  const timeoutMs =
    top.cmd_timeout === undefined && signal !== undefined
      ? undefined
      : read.duration(top.cmd_timeout, ["cmd_timeout"], COMMAND_TIMEOUT_MS);
  const command = file === undefined ? undefined : { file, args: read.args(top.cmd_args), timeoutMs };
  return { daemon, command, pidFile, signal };
}

function readHealth(read: Settings, value: unknown): HelperConfig["health"] {
  const keys = ["listener_enabled", "bind_port", "liveness_path", "readiness_path"];
  const block = read.object(value, ["health_checks"], keys);
  const port = read.port(block.bind_port, ["health_checks", "bind_port"], 8_081);
  const livePath = read.urlPath(block, "liveness_path", "/live");
  const readyPath = read.urlPath(block, "readiness_path", "/ready");
  if (livePath === readyPath) {
    read.report(["health_checks"], `has "${livePath}" for both paths`, undefined, "different paths");
  }
  return read.flag(block, "listener_enabled", false, ["health_checks"]) ? { port, livePath, readyPath } : undefined;
}

/** Values as this file has them. */
class Settings extends Reader {
  missing(key: string, expected: string): void {
    this.report([], `has no ${key}`, undefined, `${key}: ${expected}`);
  }

  text(block: Values, key: string, expected: string): string | undefined {
    return this.string(block[key], [key], expected);
  }

  flag(block: Values, key: string, fallback: boolean, path: Path = []): boolean {
    const value = block[key] === undefined ? fallback : block[key];
    if (typeof value === "boolean") return value;
    this.report([...path, key], `${JSON.stringify(value)} is neither true nor false`, undefined, "true or false");
    return fallback;
  }

  /** A name of its own in the folder: neither a path nor hidden. */
  fileName(block: Values, key: string, path: Path = []): string | undefined {
    const name = this.string(block[key], [...path, key], "a file name");
    if (name === undefined) return undefined;
    if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(name) && !name.endsWith(FEDERATED)) return name;
    const expected = `letters, digits, dots, dashes and underscores, not ending in ${FEDERATED}`;
    return this.report([...path, key], `"${name}" is no file name`, undefined, expected);
  }

  /** Octal digits in quotes: a number would be read as decimal. */
  mode(block: Values, key: string, fallback: number, forbidden: number): number {
    const value = block[key];
    if (value === undefined) return fallback;
    const mode = typeof value === "string" && /^0?[0-7]{3}$/.test(value) ? Number.parseInt(value, 8) : undefined;
    const shown = `"0${fallback.toString(8)}"`;
    if (mode === undefined) {
      this.report(
        [key],
        `${JSON.stringify(value)} is no file mode`,
        undefined,
        `octal digits in quotes, such as ${shown}`,
      );
    } else if ((mode & forbidden) !== 0 || (mode & 0o400) === 0) {
      const why = forbidden === OPEN_BITS ? "others could read or change it, or its owner could not" : undefined;
      this.report([key], `${JSON.stringify(value)} is no mode for this file`, why, `a mode such as ${shown}`);
    }
    return mode ?? fallback;
  }

  signal(block: Values, key: string): NodeJS.Signals | undefined {
    const name = this.text(block, key, "a signal such as SIGHUP");
    if (name === undefined) return undefined;
    const fatal = name === "SIGKILL" || name === "SIGSTOP";
    if (Object.hasOwn(constants.signals, name) && !fatal) return name as NodeJS.Signals;
    return this.report([key], `"${name}" is no signal to reload by`, undefined, "a signal such as SIGHUP or SIGUSR1");
  }

  args(value: unknown): string[] {
    if (Array.isArray(value)) return value.length === 0 ? [] : this.strings(value, ["cmd_args"], "a list of arguments");
    const text = value === undefined ? "" : typeof value === "string" ? value : undefined;
    const args = text === undefined ? undefined : splitArguments(text);
    if (args !== undefined) return args;
    const expected = "a list, or text split at spaces, with double quotes in pairs";
    this.report(["cmd_args"], `${JSON.stringify(value)} are no arguments`, undefined, expected);
    return [];
  }

  urlPath(block: Values, key: string, fallback: string): string {
    const value = this.string(block[key], ["health_checks", key], "a path") ?? fallback;
    if (/^\/[A-Za-z0-9._~/-]{0,99}$/.test(value)) return value;
    this.report(["health_checks", key], `"${value}" is no path`, undefined, `such as ${fallback}`);
    return fallback;
  }
}
