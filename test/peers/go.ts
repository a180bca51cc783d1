/** go-spiffe at the other end of a connection: the client and the server of bench/peers/go. */
import { Program, runProgram } from "../support/programs.ts";

/** What the Go client got, one entry per request in one of the lists. */
export interface GoAnswers {
  readonly bodies: readonly string[];
  readonly protocols: readonly string[];
  readonly errors: readonly string[];
}

/** Requests by go-spiffe's client, each on a connection of its own. */
export async function goGet(
  program: string,
  socket: string,
  to: { port: number; peer: string; requests: number; http2?: boolean; path?: string },
): Promise<GoAnswers> {
  const url = `https://127.0.0.1:${to.port}${to.path ?? "/"}`;
  const args = ["get", "-url", url, "-peer", to.peer, "-requests", String(to.requests), `-http2=${to.http2 === true}`];
  const { code, stdout, stderr } = await runProgram([program, args], { env: { SPIFFE_ENDPOINT_SOCKET: socket } });
  if (code !== 0) throw new Error(`peers get ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as GoAnswers;
}

/** A server of go-spiffe. */
export class GoServer {
  readonly port: number;
  readonly #program: Program;

  private constructor(program: Program, port: number) {
    this.#program = program;
    this.port = port;
  }

  /** @param peer who may call: a SPIFFE ID, or a trust domain's */
  static async start(program: string, socket: string, peer: string): Promise<GoServer> {
    const env = { SPIFFE_ENDPOINT_SOCKET: socket };
    const running = new Program([program, ["serve", "-peer", peer]], { env });
    return new GoServer(running, Number((await running.until(/^PORT (\d+)$/m))[1]));
  }

  /** What it handled: path, protocol and peer of each request. */
  get handled(): string[] {
    return this.#lines("HANDLED");
  }

  /** Why its handshakes failed. */
  get refused(): string[] {
    return this.#lines("REFUSED");
  }

  async stop(): Promise<void> {
    await this.#program.end();
  }

  #lines(word: string): string[] {
    const start = `${word} `;
    const lines = this.#program.stdout.split("\n").filter((line) => line.startsWith(start));
    return lines.map((line) => line.slice(start.length));
  }
}
