/** What the gateway's tests share: identities of two trust domains, a counting upstream, raw and HTTP/2 clients. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import {
  signTestJwt,
  staticIdentity,
  TestCa,
  type TestJwtKey,
  testJwtBundle,
  testJwtKey,
} from "../authority/testing.ts";
import { TrustDomain } from "../id/index.ts";
import type { JwtBundle } from "../jwt/index.ts";
import { connect, type TlsIdentity } from "../tls/index.ts";
import type { GatewayIdentity } from "./gateway-types.ts";

export const idOf = (name: string, domain = "example.org"): string => `spiffe://${domain}/${name}`;
export const GATEWAY: string = idOf("gateway");

/** An identity whose SVID and bundles a test can change. */
export type Changeable = Awaited<ReturnType<typeof staticIdentity>> & GatewayIdentity;

/** Two trust domains that know each other. */
export class World {
  readonly ca: TestCa;
  readonly partnerCa: TestCa;
  readonly key: TestJwtKey;
  readonly strangerKey: TestJwtKey;
  readonly #bundle: JwtBundle;

  private constructor(ca: TestCa, partnerCa: TestCa, key: TestJwtKey, strangerKey: TestJwtKey) {
    this.ca = ca;
    this.partnerCa = partnerCa;
    this.key = key;
    this.strangerKey = strangerKey;
    this.#bundle = testJwtBundle(TrustDomain.parse("example.org"), key);
  }

  static async create(): Promise<World> {
    const [ca, partnerCa] = await Promise.all([TestCa.create(), TestCa.create({ trustDomain: "partner.example" })]);
    return new World(ca, partnerCa, await testJwtKey(), await testJwtKey());
  }

  /** A workload; also what a gateway or `spiffe()` takes. */
  async identity(name: string, domain = "example.org"): Promise<Changeable> {
    const svid = await (domain === "example.org" ? this.ca : this.partnerCa).issue({ id: idOf(name, domain) });
    const identity = await staticIdentity({ svid, bundles: [this.ca.x509Bundle(), this.partnerCa.x509Bundle()] });
    const jwt = { jwtBundleFor: (domain: TrustDomain) => (domain.name === "example.org" ? this.#bundle : undefined) };
    return { ...identity, jwt };
  }

  /** A JWT-SVID. */
  token(
    name: string,
    claims: Record<string, unknown> = {},
    key: TestJwtKey = this.key,
    header: Record<string, unknown> = {},
  ): Promise<string> {
    return signTestJwt({ key, header, claims: { sub: idOf(name), aud: [GATEWAY], ...claims } });
  }
}

/** A request as an upstream saw it. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  /** Names and values in turn, as received. */
  readonly raw: readonly string[];
  readonly bytes: number;
  readonly trailers: readonly string[];
}

/** The values of a field, in any spelling that a careless program takes for it. */
export function valuesOf(raw: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if ((raw[i] as string).toLowerCase().replaceAll("_", "-") === name) values.push(raw[i + 1] as string);
  }
  return values;
}

/** A plain upstream on loopback that notes every request once its body is through. */
export interface CountingUpstream {
  readonly url: string;
  readonly port: number;
  readonly seen: Seen[];
  /** Requests whose head arrived. */
  heads: number;
  connections: number;
  close(): Promise<void>;
}

/** Those that run: a test that fails leaves its own. */
const running = new Set<CountingUpstream>();

/** Closes all upstreams that run, for the end of a file. */
export async function closeUpstreams(): Promise<void> {
  for (const one of running) await one.close();
}

type Answerer = (request: IncomingMessage, response: ServerResponse) => void;

export async function countingUpstream(
  answer: Answerer = (_, response) => response.end("ok"),
): Promise<CountingUpstream> {
  const seen: Seen[] = [];
  const server: Server = createServer((request, response) => {
    upstream.heads++;
    let bytes = 0;
    request.on("data", (chunk: Uint8Array) => {
      bytes += chunk.byteLength;
    });
    request.on("end", () => {
      const { method = "", url = "", rawHeaders: raw, rawTrailers: trailers } = request;
      seen.push({ method, url, raw, bytes, trailers });
    });
    answer(request, response);
  });
  const upstream: CountingUpstream = {
    url: "",
    port: 0,
    seen,
    heads: 0,
    connections: 0,
    close: () =>
      new Promise((resolve) => {
        running.delete(upstream);
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  server.on("connection", () => {
    upstream.connections++;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  running.add(upstream);
  const { port } = server.address() as AddressInfo;
  return Object.assign(upstream, { port, url: `http://127.0.0.1:${port}` });
}

/** Sends bytes over a verified connection and returns everything that comes back until the other side closes. */
export async function rawExchange(
  identity: TlsIdentity,
  port: number,
  text: string,
  peer: string = GATEWAY,
): Promise<string> {
  const { socket } = await connect(identity, { host: "127.0.0.1", port, peer, alpn: ["http/1.1"] });
  return new Promise((resolve) => {
    let answer = "";
    socket.on("data", (chunk: Uint8Array) => {
      answer += new TextDecoder().decode(chunk);
    });
    socket.on("close", () => resolve(answer));
    socket.on("end", () => socket.end());
    socket.write(text);
  });
}

/** The status line's number. */
export const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);

/** A raw HTTP/1.1 request without body that asks for the connection to be closed. */
export function rawRequest(target: string, fields: string[] = [], method = "GET", host = "Host: edge.example"): string {
  return [`${method} ${target} HTTP/1.1`, ...(host === "" ? [] : [host]), ...fields, "Connection: close", "", ""].join(
    "\r\n",
  );
}

/** An HTTP/2 connection whose peer is verified. */
export async function http2Client(
  identity: TlsIdentity,
  port: number,
  peer: string = GATEWAY,
): Promise<http2.ClientHttp2Session> {
  const { socket } = await connect(identity, { host: "127.0.0.1", port, peer, alpn: ["h2"] });
  const session = http2.connect(`https://127.0.0.1:${port}`, { createConnection: () => socket });
  session.on("error", () => {});
  return session;
}

/** One HTTP/2 exchange; status 0 when the stream was reset. */
export function http2Exchange(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: string,
  trailers?: http2.OutgoingHttpHeaders,
): Promise<{ status: number; headers: http2.IncomingHttpHeaders; text: string; trailers: http2.IncomingHttpHeaders }> {
  return new Promise((resolve) => {
    const result = {
      status: 0,
      headers: {} as http2.IncomingHttpHeaders,
      text: "",
      trailers: {} as http2.IncomingHttpHeaders,
    };
    const stream = session.request(headers, { endStream: body === undefined, waitForTrailers: trailers !== undefined });
    stream.on("response", (received) => {
      result.headers = received;
      result.status = Number(received[":status"] ?? 0);
    });
    stream.on("trailers", (received) => {
      result.trailers = received;
    });
    stream.on("wantTrailers", () => stream.sendTrailers(trailers ?? {}));
    stream.on("data", (chunk: Uint8Array) => {
      result.text += new TextDecoder().decode(chunk);
    });
    stream.on("error", () => {});
    // on one runtime a stream whose body was not wanted ends without closing
    stream.on("end", () => setImmediate(() => resolve(result)));
    stream.on("close", () => resolve(result));
    if (body !== undefined) stream.end(body);
  });
}

/** One HTTP/2 exchange on a connection of its own: some runtimes end the whole session over one bad request. */
export async function http2Once(
  identity: TlsIdentity,
  port: number,
  headers: http2.OutgoingHttpHeaders,
  body?: string,
  trailers?: http2.OutgoingHttpHeaders,
  peer: string = GATEWAY,
): ReturnType<typeof http2Exchange> {
  const session = await http2Client(identity, port, peer);
  try {
    return await http2Exchange(session, headers, body, trailers);
  } finally {
    session.destroy();
  }
}

/** A logger that keeps the fields of `request` lines, or of others. */
export function requestLog(kept = "request"): {
  lines: Record<string, unknown>[];
  debug(): void;
  info(message: string, fields?: object): void;
  warn(): void;
  error(): void;
} {
  const lines: Record<string, unknown>[] = [];
  const info = (message: string, fields?: object) => {
    if (message === kept) lines.push({ ...fields });
  };
  return { lines, info, debug() {}, warn() {}, error() {} };
}

/** Waits for what happens soon by itself; fails after five seconds. */
export async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (what()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail("it did not happen");
}
