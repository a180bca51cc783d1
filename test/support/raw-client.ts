/** A TLS client that knows nothing of SPIFFE: it shows what it is given, checks nobody, and counts what comes back. */
import { connect } from "node:tls";
import type { X509Svid } from "../../src/x509/index.ts";

export interface RawRequest {
  port: number;
  /** PEM; without it no certificate is shown. */
  credentials?: { certificates: string; privateKey: string } | undefined;
  path?: string;
  headers?: Readonly<Record<string, string>>;
}

/** Certificates and key of an SVID, as a client that took them out of the Workload API has them. */
export function credentialsOf(svid: X509Svid): { certificates: string; privateKey: string } {
  return svid.toPem();
}

/**
 * Sends one HTTP/1.1 request and gives every byte that came back; an empty text means that nothing did.
 *
 * With TLS 1.3 the client's handshake ends before the server has judged it, so the request is always sent.
 */
export function rawRequest({ port, credentials, path = "/", headers = {} }: RawRequest): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect({
      host: "127.0.0.1",
      port,
      rejectUnauthorized: false,
      minVersion: "TLSv1.3",
      ALPNProtocols: ["http/1.1"],
      ...(credentials === undefined ? {} : { cert: credentials.certificates, key: credentials.privateKey }),
    });
    socket.setEncoding("utf8");
    socket.on("secureConnect", () => {
      const lines = Object.entries({ host: "localhost", connection: "close", ...headers }).map((header) =>
        header.join(": "),
      );
      socket.write(`GET ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
    });
    socket.on("data", (text: string) => {
      received += text;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(received));
  });
}
