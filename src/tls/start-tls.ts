/** The plain beginning of protocols that ask for TLS on a connection of their own: what is said before the handshake. */
import { connect as dialTcp, type Socket } from "node:net";
import { usage } from "../base/check-options.ts";
import { SpiffeError } from "../base/errors.ts";
import { dialError } from "./connect-errors.ts";
import { MysqlLogin, mysqlGreetingOffersTls, mysqlPacketLength, mysqlSslRequest } from "./mysql-login.ts";

/** A protocol that begins in plain text. */
export type StartTls = "postgres" | "mysql";

const PROTOCOLS: readonly unknown[] = ["postgres", "mysql"];

/** A connection before TLS. */
export interface Plain {
  /** What the driver has to see before it says anything itself. Nobody has vouched for it. */
  readonly greeting?: Promise<Buffer>;
  /** The connection, once the other side expects a TLS handshake on it. */
  readonly ready: Promise<Socket>;
  /** Shown what the driver wants to send first; nothing of it is sent but what asks for TLS. */
  written?(chunk: Buffer): void;
  /** What the driver gets of what came over the verified connection. */
  fromServer?(chunk: Buffer): Buffer;
  /** What goes over the verified connection of what the driver wrote. */
  fromClient?(chunk: Buffer): Buffer;
}

/** Where and until when. */
export interface PlainTarget {
  readonly host: string;
  readonly port: number;
  readonly signal: AbortSignal;
}

/** The answer and the question are this long at most; a server that sends more is none of these. */
const GREETING_BYTES = 4_096;
const POSTGRES_SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const POSTGRES_YES = 0x53;

function ignore(): void {}

/** The protocol of an option. */
export function startTlsOf(value: StartTls | undefined): StartTls | undefined {
  if (value === undefined || PROTOCOLS.includes(value)) return value;
  throw usage(`Expected startTls to be ${PROTOCOLS.join(" or ")}; got ${String(value)}`);
}

/** Dials and says what the protocol says before TLS. */
export function openPlain(protocol: StartTls, target: PlainTarget): Plain {
  const plain = protocol === "postgres" ? openPostgres(target) : openMysql(target);
  // Whoever awaits them is told; nobody may have come so far.
  plain.ready.catch(ignore);
  plain.greeting?.catch(ignore);
  return plain;
}

function openPostgres(target: PlainTarget): Plain {
  return {
    ready: overPlain(target, async (tcp) => {
      const answer = receive(tcp, target, () => true);
      tcp.write(POSTGRES_SSL_REQUEST);
      const bytes = await answer;
      // A byte more was injected by somebody in between: the server waits for the handshake.
      if (bytes.length !== 1 || bytes[0] !== POSTGRES_YES) throw noTls("PostgreSQL", target);
    }),
  };
}

function openMysql(target: PlainTarget): Plain {
  const login = new MysqlLogin();
  let showGreeting: (bytes: Buffer) => void = ignore;
  let failGreeting: (error: Error) => void = ignore;
  let askFor: (request: Buffer) => void = ignore;
  const greeting = new Promise<Buffer>((resolve, reject) => {
    showGreeting = resolve;
    failGreeting = reject;
  });
  const asked = new Promise<Buffer>((resolve) => {
    askFor = resolve;
  });
  const ready = overPlain(target, async (tcp) => {
    const bytes = await receive(tcp, target, (seen) => seen.length >= mysqlPacketLength(seen));
    if (!mysqlGreetingOffersTls(bytes)) throw noTls("MySQL", target);
    showGreeting(bytes);
    tcp.write(await asked);
  });
  ready.catch(failGreeting);
  return {
    greeting,
    ready,
    written: (chunk) => askFor(mysqlSslRequest(chunk)),
    fromServer: (chunk) => login.fromServer(chunk),
    fromClient: (chunk) => login.fromClient(chunk),
  };
}

/** A TCP connection after the given talk, destroyed when that or the wait for it fails. */
async function overPlain(target: PlainTarget, talk: (tcp: Socket) => Promise<void>): Promise<Socket> {
  const { host, port, signal } = target;
  const tcp = dial(host, port);
  tcp.on("error", ignore);
  const aborted = () => void tcp.destroy();
  signal.addEventListener("abort", aborted, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      tcp.once("connect", resolve);
      tcp.once("error", (error) => reject(dialError(error, { host, port }, "connect")));
      tcp.once("close", () => reject(dialError(new Error("closed"), { host, port }, "connect")));
    });
    tcp.setNoDelay(true);
    await talk(tcp);
    return tcp;
  } catch (error) {
    tcp.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", aborted);
  }
}

function dial(host: string, port: number): Socket {
  try {
    return dialTcp({ host, port });
  } catch (error) {
    // A runtime that lacks the permission to dial throws here instead of emitting.
    throw dialError(error as Error, { host, port }, "connect");
  }
}

/** What comes in until it is enough. */
function receive(tcp: Socket, { host, port }: PlainTarget, enough: (seen: Buffer) => boolean): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let seen: Buffer = Buffer.alloc(0);
    const failed = (why: string) => reject(dialError(new Error(why), { host, port }, "handshake"));
    const take = (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      const tooMuch = seen.length > GREETING_BYTES;
      if (!tooMuch && !enough(seen)) return;
      tcp.off("data", take);
      if (tooMuch) failed("it does not begin like its protocol");
      else resolve(seen);
    };
    tcp.on("data", take);
    tcp.once("close", () => failed("closed by the peer"));
  });
}

function noTls(protocol: string, { host, port }: PlainTarget): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_TLS", `Expected ${protocol} at ${host}:${port} to offer TLS; it does not`, {
    phase: "handshake",
    hint: "Give the server a certificate and switch its TLS on",
  });
}
