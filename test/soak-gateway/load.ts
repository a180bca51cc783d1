/** Callers that number their requests: each is sent once, over new and over kept connections, and its answer is known (G-3). */
import http2 from "node:http2";
import type { Duplex } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { connect, createFetch } from "../../src/tls/index.ts";
import type { Workload } from "../../src/workload/index.ts";
import { GATEWAY } from "../support/gateway.ts";

/** A request whose answer was not the expected one. */
export interface Lost {
  readonly number: number;
  readonly by: string;
  readonly what: string;
}

/** Sends one numbered request and gives `<status> <body>`. */
type Client = (number: number, body: string) => Promise<string>;

const TIMEOUT_MS = 30_000;
/** Milliseconds between requests of one caller: enough of both kinds, and room for others on the machine. */
const PAUSES = { "new connections": 30, "kept HTTP/1.1": 5, "kept HTTP/2": 5 } as const;
type Lane = keyof typeof PAUSES;
/** First letters of paths; a gateway may have an upstream for each. */
const LETTERS = ["n", "m", "h"];

const pathOf = (number: number) => `/${LETTERS[number % LETTERS.length]}/${number}`;

/** Load until it is stopped. */
export class Load {
  /** Numbers below this were sent, beginning with the first. */
  sent: number;
  readonly lost: Lost[] = [];
  readonly by: Record<string, number> = {};
  readonly #workload: Workload;
  readonly #port: number;
  readonly #ends: (() => void)[] = [];
  #stopped = false;
  #lanes: Promise<unknown> = Promise.resolve();

  constructor(workload: Workload, port: number, first = 0) {
    this.#workload = workload;
    this.#port = port;
    this.sent = first;
  }

  /** Begins, with so many callers of each kind. */
  async start(callers = 2): Promise<void> {
    const lanes: [Lane, Client][] = [];
    for (let i = 0; i < callers; i++) {
      lanes.push(["new connections", Load.fetching(this.#workload, this.#port)]);
      lanes.push(["kept HTTP/1.1", await this.#keeping()]);
    }
    const session = await this.#session();
    for (let i = 0; i < callers; i++) lanes.push(["kept HTTP/2", session]);
    this.#lanes = Promise.all(lanes.map(([name, client]) => this.#lane(name, client)));
  }

  /** Lets each caller finish its request. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#lanes;
    for (const end of this.#ends) end();
  }

  async #lane(by: Lane, client: Client): Promise<void> {
    while (!this.#stopped) {
      const number = this.sent++;
      this.by[by] = (this.by[by] ?? 0) + 1;
      const body = `${number}`.repeat(1 + (number % 7) * 40);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<string>((resolve) => {
        timer = setTimeout(() => resolve("timeout"), TIMEOUT_MS);
      });
      const answer = await Promise.race([client(number, body).catch((error) => `error ${error}`), late]);
      clearTimeout(timer);
      if (answer !== `200 ${number} ${body}`) {
        this.lost.push({ number, by, what: answer.slice(0, 200) });
        // a caller whose connection is gone would only repeat itself
        if (by !== "new connections") return;
      }
      await wait(PAUSES[by]);
    }
  }

  /** A POST is never sent twice, and has a connection of its own. */
  static fetching(workload: Workload, port: number): Client {
    const call = createFetch(workload, { peer: GATEWAY });
    return async (number, body) => {
      const response = await call(`https://127.0.0.1:${port}${pathOf(number)}`, { method: "POST", body });
      return `${response.status} ${await response.text()}`;
    };
  }

  async #connection(alpn: "h2" | "http/1.1"): Promise<Duplex> {
    const to = { host: "127.0.0.1", port: this.#port, peer: GATEWAY, alpn: [alpn] };
    const { socket } = await connect(this.#workload, to);
    this.#ends.push(() => socket.destroy());
    return socket;
  }

  /** One connection for all requests: it must never end. */
  async #keeping(): Promise<Client> {
    const socket = await this.#connection("http/1.1");
    let text = "";
    let told: (error?: Error) => void = () => {};
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      text += chunk;
      told();
    });
    socket.on("close", () => told(new Error("the connection ended")));
    socket.on("error", (error: Error) => told(error));
    return async (number, body) => {
      if (socket.destroyed) throw new Error("the connection ended before");
      text = "";
      const head = `POST ${pathOf(number)} HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`;
      socket.write(head + body);
      for (;;) {
        await new Promise<void>((resolve, reject) => {
          told = (error) => (error === undefined ? resolve() : reject(error));
        });
        const answer = parsed(text);
        if (answer !== undefined) return answer;
      }
    };
  }

  async #session(): Promise<Client> {
    const socket = await this.#connection("h2");
    const session = http2.connect(`https://127.0.0.1:${this.#port}`, { createConnection: () => socket });
    session.on("error", () => {});
    this.#ends.push(() => session.destroy());
    return (number, body) =>
      new Promise((resolve, reject) => {
        const stream = session.request({ ":method": "POST", ":path": pathOf(number), ":authority": "a" });
        let status: unknown;
        let text = "";
        stream.setEncoding("utf8");
        stream.on("response", (headers) => {
          status = headers[":status"];
        });
        stream.on("data", (chunk: string) => {
          text += chunk;
        });
        stream.once("end", () => resolve(`${status} ${text}`));
        stream.once("error", reject);
        stream.once("close", () => reject(new Error(`the stream closed with code ${stream.rstCode}`)));
        stream.end(body);
      });
  }
}

/** A whole HTTP/1.1 answer as `<status> <body>`; undefined while it is not whole. */
function parsed(text: string): string | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1];
  const body = text.slice(end + 4);
  const length = /\r\ncontent-length: (\d+)\r\n/i.exec(text)?.[1];
  if (length !== undefined) return body.length < Number(length) ? undefined : `${status} ${body}`;
  if (!body.endsWith("0\r\n\r\n")) return undefined;
  let whole = "";
  for (let rest = body; ; ) {
    const size = Number.parseInt(rest, 16);
    const start = rest.indexOf("\r\n") + 2;
    if (size === 0) return `${status} ${whole}`;
    if (rest.length < start + size) return undefined;
    whole += rest.slice(start, start + size);
    rest = rest.slice(start + size + 2);
  }
}
