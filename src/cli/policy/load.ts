/** Policies from disk: files that hold rules, and gateway files that hold a policy among other things. */
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { SpiffeError } from "../../base/index.ts";
import { type GatewayConfig, loadGatewayConfig } from "../../gateway/index.ts";
import { readPolicyFiles } from "../../gateway/policy-files.ts";
import { readConfigText } from "../../policy/config-text.ts";
import { type Policy, type PolicySource, parsePolicy } from "../../policy/index.ts";
import { formatFaults } from "../../policy/issue.ts";
import { usageError } from "../exit.ts";

/** What the named files hold. */
export interface LoadedFiles {
  readonly gateways: readonly { readonly file: string; readonly config: GatewayConfig }[];
  /** All policy files as one; undefined where none was named. */
  readonly policy: Policy | undefined;
}

/** Whether a text is a gateway file: a block with more in it than a policy has. */
function isGatewayFile(value: unknown): boolean {
  return typeof value === "object" && value !== null && ["policy", "listen", "routes"].some((key) => key in value);
}

/**
 * Reads the files, each by what it is.
 *
 * @param base the folder that relative names start from
 * @throws `ERR_SPIFFE_CONFIG` with everything that is wrong in all of them
 */
export async function loadFiles(names: readonly string[], base: string = "."): Promise<LoadedFiles> {
  const sources: PolicySource[] = [];
  const gateways: { file: string; config: GatewayConfig }[] = [];
  const faults: string[] = [];
  const collect = (error: unknown) => {
    if (!(error instanceof SpiffeError) || error.code !== "ERR_SPIFFE_CONFIG") throw error;
    faults.push(error.message);
  };
  for (const name of names) {
    const file = base === "." ? name : join(base, name);
    try {
      for (const source of readPolicyFiles(file, ".")) {
        const { value, faults: broken } = readConfigText(source.text, { file: source.file, env: process.env });
        for (const fault of broken) faults.push(fault);
        if (broken.length > 0) continue;
        if (isGatewayFile(value)) gateways.push({ file: source.file, config: await loadGatewayConfig(source.file) });
        else sources.push(source);
      }
    } catch (error) {
      collect(error);
    }
  }
  let policy: Policy | undefined;
  try {
    if (sources.length > 0) policy = parsePolicy(sources, { env: process.env });
  } catch (error) {
    collect(error);
  }
  if (faults.length > 0) throw new SpiffeError("ERR_SPIFFE_CONFIG", formatFaults(faults));
  return { gateways, policy };
}

/** Reads the files as the one policy they have to be: policy files, or one gateway file. */
export async function loadPolicy(names: readonly string[], base?: string): Promise<Policy> {
  const { gateways, policy } = await loadFiles(names, base);
  const [gateway, second] = gateways;
  if (second !== undefined || (gateway !== undefined && policy !== undefined)) {
    throw usageError(
      `Expected policy files or one gateway file, but ${names.join(", ")} are more than one policy`,
      "Name one gateway file, or policy files alone",
    );
  }
  const found = gateway?.config.policy ?? policy;
  if (found === undefined)
    throw usageError("Expected a policy, but no file was named", "Name a policy file or a gateway file");
  return found;
}

/** The folder of a file. */
export const folderOf = (file: string): string => dirname(resolve(file));
