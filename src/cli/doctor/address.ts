/** The first checks: is there an address, is it well formed, and does the runtime let this process use it? */
import process from "node:process";
import { isSpiffeError } from "../../base/index.ts";
import { denoNetFlag, isDenoRefusal } from "../../runtime/deno-permission.ts";
import { runtime } from "../../runtime/detect.ts";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../../workload/index.ts";
import { type Finding, failed, failure, noted, ok, skipped } from "./report.ts";

export const VARIABLE = "SPIFFE_ENDPOINT_SOCKET";
const EXAMPLE = "unix:///run/spire/agent/public/api.sock";

/** The address as it was given. */
export function checkVariable(given: string | undefined): { finding: Finding; value?: string } {
  if (given !== undefined) return { finding: ok("the address is given by --socket"), value: given };
  let value: string | undefined;
  try {
    value = process.env[VARIABLE];
  } catch (error) {
    if (!isDenoRefusal(error)) throw error;
    return {
      finding: failed(`Deno does not let this program read ${VARIABLE}`, `run it with --allow-env=${VARIABLE}`),
    };
  }
  if (value !== undefined && value !== "") return { finding: ok(`${VARIABLE} is set`), value };
  const fix = `export ${VARIABLE}=${EXAMPLE}, with the path of the agent's public socket; or give --socket`;
  return { finding: failed(`${VARIABLE} is ${value === undefined ? "not set" : "empty"}`, fix) };
}

/** The address by the letter of the standard. */
export function checkAddress(value: string): { finding: Finding; endpoint?: Endpoint } {
  let endpoint: Endpoint;
  try {
    endpoint = parseEndpoint(value);
  } catch (error) {
    if (!isSpiffeError(error, "ERR_SPIFFE_ENDPOINT")) return { finding: failure(error) };
    const [detail = "", corrected] = error.message.split(" Expected: ");
    const fix = [corrected && `write ${corrected}`, error.hint].filter((line) => line !== undefined).join("\n");
    return { finding: failed(detail, fix) };
  }
  const facts = { socket: formatEndpoint(endpoint) };
  if (endpoint.kind === "unix" || /^(?:127\.|::1$)/.test(endpoint.host)) {
    return { finding: ok(facts.socket, facts), endpoint };
  }
  const fix = "use the agent's unix socket, or be sure that the network itself proves who calls";
  return {
    finding: noted(`${facts.socket} is not on this host: everybody who reaches it is answered`, fix, facts),
    endpoint,
  };
}

interface DenoPermissions {
  querySync(wanted: object): { state: string };
}

/** What Deno lacks for this address; on other runtimes there is nothing to look at. */
export function checkPermissions(endpoint: Endpoint): Finding {
  const deno = (globalThis as { Deno?: { permissions: DenoPermissions } }).Deno;
  if (runtime.name !== "deno" || deno === undefined) return skipped(`${runtime.name} has no permissions`);
  const wanted: [query: object, flag: string][] =
    endpoint.kind === "tcp"
      ? [
          [
            { name: "net", host: denoNetFlag(endpoint.host, endpoint.port).split("=")[1] },
            denoNetFlag(endpoint.host, endpoint.port),
          ],
        ]
      : [
          [{ name: "read", path: endpoint.path }, `--allow-read=${endpoint.path}`],
          [{ name: "write", path: endpoint.path }, `--allow-write=${endpoint.path}`],
          [{ name: "net", host: `unix:${endpoint.path}` }, `--allow-net=unix:${endpoint.path}`],
        ];
  const missing = wanted
    .filter(([query]) => deno.permissions.querySync(query).state !== "granted")
    .map(([, flag]) => flag);
  if (missing.length === 0) return ok("Deno lets this program reach the address");
  return failed(
    `Deno does not let this program reach the address: ${missing.length} of ${wanted.length} permissions lack`,
    `run it with ${missing.join(" ")}`,
  );
}
