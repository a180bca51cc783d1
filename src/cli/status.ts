/** `spiffe-edge status`: what the status port of a running gateway says. */
import { get as request } from "node:http";
import process from "node:process";
import { Command } from "commander";
import { SpiffeError } from "../base/index.ts";
import { isRecord } from "../policy/read.ts";
import { EXIT, type ExitCode, usageError } from "./exit.ts";
import { printable, printableJson } from "./printable.ts";

type Values = Readonly<Record<string, unknown>>;

interface StatusOptions {
  url: string;
  json?: true;
}

/** Milliseconds for the whole answer. */
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 4_194_304;

/** The command; its exit code is handed to `finish`. */
export function statusCommand(finish: (code: ExitCode) => void): Command {
  return new Command("status")
    .description("print the state of a running gateway")
    .option("--url <url>", "its status port", "http://127.0.0.1:9464")
    .option("--json", "print the whole answer of /status")
    .addHelpText(
      "after",
      `
The exit code is 0 when the gateway is ready, and 1 when it is not or does not answer.

Examples:
  spiffe-edge status
  spiffe-edge status --url http://127.0.0.1:9464 --json`,
    )
    .action(async (options: StatusOptions) => finish(await status(options)));
}

async function status({ url, json }: StatusOptions): Promise<ExitCode> {
  const at = URL.canParse(url) ? new URL(url) : undefined;
  if (at?.protocol !== "http:" || at.pathname !== "/" || at.search !== "" || at.username !== "") {
    throw usageError(`Expected a status port as --url, but got "${url}"`, "Write it as http://127.0.0.1:9464");
  }
  const state = await ask(new URL("/status", at));
  process.stdout.write(json === true ? `${printableJson(state, 2)}\n` : linesOf(state));
  return state.ready === true ? EXIT.done : EXIT.failed;
}

/** Asks without a proxy and without following anybody elsewhere. */
function ask(url: URL): Promise<Values> {
  const fail = (what: string, cause?: unknown) =>
    new SpiffeError("ERR_SPIFFE_NOT_READY", `Expected the state of a gateway from ${url.href}, but ${what}`, {
      cause,
      hint: "Is the gateway running, and is status.port of its file the port of --url?",
    });
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("error", (error) => reject(fail(error.message, error)));
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length <= MAX_BYTES) return;
        reject(fail("the answer is too long"));
        asked.destroy();
      });
      response.on("end", () => {
        const value = response.statusCode === 200 ? parse(text) : undefined;
        if (value === undefined) reject(fail("somebody else answers there"));
        else resolve(value);
      });
    });
    asked.setTimeout(TIMEOUT_MS);
    const timer = setTimeout(() => {
      reject(fail(`there was no answer in ${TIMEOUT_MS / 1_000} s`));
      asked.destroy();
    }, TIMEOUT_MS);
    asked.on("close", () => clearTimeout(timer));
    asked.on("error", (error: NodeJS.ErrnoException) => reject(fail(error.code ?? error.message, error)));
  });
}

function parse(text: string): Values | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) && typeof value.state === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

const block = (value: unknown): Values => (isRecord(value) ? value : {});
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const sum = (value: unknown): number =>
  Object.values(block(value)).reduce<number>((all, one) => all + (typeof one === "number" ? one : 0), 0);

/** The state for a person; what an answer lacks is left out. */
function linesOf(state: Values): string {
  const lines: string[][] = [["state", `${state.state}${state.ready === true ? ", ready" : ", not ready"}`]];
  const say = (name: string, ...parts: (string | false)[]) =>
    lines.push([name, parts.filter((part) => part !== false).join("  ")]);
  const { id, expiresAt, rotations } = block(state.identity);
  if (id !== undefined) say("identity", `${id}`, `until ${expiresAt}`, `${rotations} rotations`);
  for (const item of list(state.listeners)) {
    const { name, address, port, clientCertificate, counters } = block(item);
    const { open, accepted, refused } = block(counters);
    say("listener", `${name}`, `${address}:${port}`, `certificates: ${clientCertificate}`);
    say("", `${open} open, ${accepted} accepted, ${refused} refused`);
  }
  for (const item of list(state.upstreams)) {
    const { name, id: pinned, breaker, addresses, counters } = block(item);
    const healthy = list(addresses).filter((one) => block(one).healthy === true).length;
    const { answered = 0, ...failed } = block(block(counters).tries);
    say("upstream", `${name}`, pinned !== undefined && `${pinned}`, breaker !== undefined && `breaker ${breaker}`);
    say(
      "",
      `${healthy} of ${list(addresses).length} addresses healthy, ${answered} answers, ${sum(failed)} failed tries`,
    );
  }
  const { last } = block(state.reload);
  const { result, at, error } = block(last);
  if (result !== undefined) say("reload", `${result} at ${at}`, error !== undefined && `${error}`.split("\n")[0]!);
  for (const reason of list(state.reasons)) say("not ready", `${reason}`);
  for (const warning of list(state.warnings)) say("warning", `${warning}`);
  return lines.map(([name = "", text = ""]) => `${name.padEnd(10)} ${printable(text)}\n`).join("");
}
