/** The ways in which this package calls an HTTP server, each with one GET. */
import { connect, createFetch, http2Options, type PeerExpectation, type TlsIdentity } from "../../src/tls/index.ts";

export interface Way {
  readonly name: string;
  readonly protocol: "HTTP/1.1" | "HTTP/2.0";
  /** Gives the body of an answer with status 200; rejects for anything else. */
  get(identity: TlsIdentity, port: number, peer: PeerExpectation, path: string): Promise<string>;
}

/** One GET over a connection of its own. */
export async function byConnect(
  identity: TlsIdentity,
  port: number,
  peer: PeerExpectation,
  path: string,
): Promise<string> {
  const { socket } = await connect(identity, { host: "127.0.0.1", port, peer });
  return new Promise((resolve, reject) => {
    let text = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => (text += chunk));
    socket.once("error", reject);
    socket.once("close", () => {
      if (!/^HTTP\/1\.[01] 200 /.test(text)) return reject(new Error(`closed after ${text.slice(0, 100)}`));
      resolve(text.slice(text.indexOf("\r\n\r\n") + 4));
    });
    socket.write(`GET ${path} HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n`);
  });
}

async function byFetch(identity: TlsIdentity, port: number, peer: PeerExpectation, path: string): Promise<string> {
  const response = await createFetch(identity, { peer })(`https://127.0.0.1:${port}${path}`);
  if (response.status !== 200) throw new Error(`status ${response.status}`);
  return response.text();
}

async function bySession(identity: TlsIdentity, port: number, peer: PeerExpectation, path: string): Promise<string> {
  const { sessionManager } = http2Options(identity, { baseUrl: `https://127.0.0.1:${port}`, peer });
  try {
    const stream = await sessionManager.request("GET", path, {});
    return await new Promise((resolve, reject) => {
      let text = "";
      let status: unknown;
      stream.setEncoding("utf8");
      stream.on("response", (headers) => (status = headers[":status"]));
      stream.on("data", (chunk: string) => (text += chunk));
      stream.once("end", () => (status === 200 ? resolve(text) : reject(new Error(`status ${status}`))));
      stream.once("error", reject);
      stream.once("close", () => reject(new Error(`the stream closed with code ${stream.rstCode}`)));
      stream.end();
    });
  } finally {
    sessionManager.close();
  }
}

export const WAYS: readonly Way[] = [
  { name: "connect", protocol: "HTTP/1.1", get: byConnect },
  { name: "createFetch", protocol: "HTTP/1.1", get: byFetch },
  { name: "http2Options", protocol: "HTTP/2.0", get: bySession },
];
