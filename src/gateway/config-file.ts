/** The gateway file and the policy files it names, read together: what they say, and what has to be watched. */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { isSpiffeError, LIMITS, SpiffeError } from "../base/index.ts";
import { type ParseOptions, parseGatewayConfig } from "./config.ts";
import type { PolicyFileReader } from "./config-policy.ts";
import type { GatewayConfig } from "./config-types.ts";
import { decodeText, findPolicyFiles, readPolicyFiles } from "./policy-files.ts";

/** One reading of a gateway file. */
export interface GatewayReading {
  /** What came out of it, or the error that says what is wrong with it. */
  readonly config: GatewayConfig | SpiffeError;
  /** Names of policy files as written, also of those that could not be read. */
  readonly globs: readonly string[];
  /** A hash of everything that was read: another one for other text. */
  readonly contents: string;
}

const readings = new WeakMap<GatewayConfig, GatewayReading>();

/** The reading that a configuration came out of; undefined for one that came from no file. */
export function readingOf(config: GatewayConfig): GatewayReading | undefined {
  return readings.get(config);
}

/** Reads a gateway file. Throws nothing of the file's: a fault is a part of the reading. */
export async function readGatewayFile(file: string, options: Omit<ParseOptions, "file"> = {}): Promise<GatewayReading> {
  const globs: string[] = [];
  const hash = createHash("sha256");
  const note = (part: string) => void hash.update(`${part.length}:${part}`);
  const readFiles: PolicyFileReader = (glob) => {
    globs.push(glob);
    const found = (options.readPolicyFiles ?? ((name) => readPolicyFiles(name, dirname(file))))(glob);
    for (const { file: name, text } of found) note(`${name}\n${text}`);
    return found;
  };
  let config: GatewayReading["config"];
  try {
    const text = await readText(file);
    note(text);
    config = parseGatewayConfig(text, { env: options.env, readPolicyFiles: readFiles, file });
  } catch (error) {
    if (!isSpiffeError(error)) throw error;
    config = error as SpiffeError;
    note(config.message);
  }
  const reading = { config, globs, contents: hash.digest("hex") };
  if (!(config instanceof Error)) readings.set(config, reading);
  return reading;
}

async function readText(file: string): Promise<string> {
  try {
    if ((await stat(file)).size > LIMITS.configText)
      throw new SpiffeError("ERR_SPIFFE_CONFIG", `${file}: is longer than 1 MiB`);
    return decodeText(await readFile(file), file, "gateway file");
  } catch (cause) {
    if (cause instanceof SpiffeError) throw cause;
    const code = (cause as { code?: string }).code ?? "unknown error";
    throw new SpiffeError("ERR_SPIFFE_CONFIG", `${file}: the gateway file cannot be read (${code})`, { cause });
  }
}

/**
 * The paths whose change may be one of the configuration: the gateway file, every policy file there is now, and the
 * names as written, so that the folder is watched in which a first file may appear.
 */
export function watchedPaths(file: string, globs: readonly string[]): string[] {
  const base = dirname(file);
  const found = globs.flatMap((glob) => {
    try {
      return [glob, ...findPolicyFiles(glob, base)];
    } catch {
      return [glob];
    }
  });
  return [...new Set([file, ...found.map((name) => resolve(base, name))])];
}

const KNOWN: OptionNames<Omit<ParseOptions, "file">> = { env: true, readPolicyFiles: true };

/**
 * Reads and checks a gateway file.
 *
 * @param file path of a YAML or JSON file
 * @throws `ERR_SPIFFE_CONFIG` when it cannot be read or has a fault
 */
export async function loadGatewayConfig(
  file: string,
  options: Omit<ParseOptions, "file"> = {},
): Promise<GatewayConfig> {
  onlyKnown("loadGatewayConfig", options, KNOWN);
  const { config } = await readGatewayFile(file, options);
  if (config instanceof Error) throw config;
  return config;
}
