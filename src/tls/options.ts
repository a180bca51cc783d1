/**
 * Every TLS option of the package. The only caller of `createSecureServer` and `setSecureContext` (S-3): a context that
 * is swapped in without one of the options silently brings TLS 1.2 and resumption back.
 */
import { constants } from "node:crypto";
import { createSecureServer, type Http2SecureServer, type SecureServerOptions } from "node:http2";
import { isIP } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { SpiffeError } from "../base/errors.ts";
import { privateKeyMatchesSync } from "../crypto/index.ts";
import { hideSecret } from "../id/inspect.ts";
import { capabilities } from "../runtime/capabilities.ts";
import type { X509Svid } from "../x509/index.ts";
import type { DialAddress } from "./connect-errors.ts";
import { NO_ROOTS } from "./no-roots.ts";
import { WholeAnswer } from "./whole-answer.ts";

/** Whether a client is asked for its certificate, and whether it may come without. */
export type ClientCertificate = "require" | "optional" | "none";

/** A protocol of HTTP by its name in ALPN. */
export type HttpProtocol = "h2" | "http/1.1";

/** What decides a server's options beside its certificate. */
export interface ServerSettings {
  readonly protocols: readonly HttpProtocol[];
  /** The only name to agree on by ALPN, in place of `protocols`; for what is not HTTP. */
  readonly alpn: string | undefined;
  readonly clientCertificate: ClientCertificate;
  readonly handshakeTimeoutMs: number;
  /** Bytes of a request's head. */
  readonly maxHeaderBytes: number;
  /** Streams of one HTTP/2 connection at a time. */
  readonly maxConcurrentStreams: number;
}

/** A certificate chain with its key, in PEM. */
export interface Material {
  readonly cert: string;
  readonly key: Buffer;
}

/** Header block of a request or response, bytes (S-25). */
export const HEADER_BYTES = 65_536;

/** For how long a connection of HTTP/1.1 may be idle: longer than clients keep theirs, so that these end them. */
const IDLE_MS = 65_000;

/** What stands for a key wherever an object that holds one is logged. */
const PRIVATE_KEY = "[private key]";

const materials = new WeakMap<X509Svid, Material>();

/** PEM of a certificate whose key has been matched with it. */
export function pemMaterial(cert: string, key: string): Material {
  // sockets and servers keep their options, so that logging one would show the key
  return { cert, key: hideSecret(Buffer.from(key), PRIVATE_KEY) };
}

/** PEM of an SVID, once per SVID, after its key has been matched with its leaf. */
export function materialOf(svid: X509Svid): Material {
  const known = materials.get(svid);
  if (known !== undefined) return known;
  if (!privateKeyMatchesSync(svid.privateKeyPkcs8(), svid.leaf.publicKey)) {
    throw new SpiffeError(
      "ERR_SPIFFE_X509_SVID",
      `Expected the private key of ${svid.id} to fit its leaf certificate`,
      {
        reason: "x509.key-mismatch",
      },
    );
  }
  const { certificates, privateKey } = svid.toPem();
  const material = pemMaterial(certificates, privateKey);
  materials.set(svid, material);
  return material;
}

function common(material: Material): Material & { ca: []; minVersion: "TLSv1.3"; rejectUnauthorized: false } {
  return {
    ...material,
    // No roots: the stack has nothing to build a path with, the verdict is made from the presented bytes.
    ca: [],
    minVersion: "TLSv1.3",
    rejectUnauthorized: false,
  };
}

function serverOptions(material: Material, settings: ServerSettings): SecureServerOptions {
  return {
    ...common(material),
    requestCert: settings.clientCertificate !== "none",
    allowHTTP1: true,
    ...alpnOf(settings),
    // The second constant is missing or 0 where the stack has no renegotiation to switch off.
    secureOptions: constants.SSL_OP_NO_TICKET | (constants.SSL_OP_NO_RENEGOTIATION ?? 0),
    handshakeTimeout: settings.handshakeTimeoutMs,
    noDelay: true,
    http1Options: {
      keepAliveTimeout: IDLE_MS,
      ...(capabilities.answerInOneWrite.value ? {} : { ServerResponse: WholeAnswer }),
    },
    maxHeaderSize: settings.maxHeaderBytes,
    settings: {
      maxConcurrentStreams: settings.maxConcurrentStreams,
      maxHeaderListSize: settings.maxHeaderBytes,
      enablePush: false,
    },
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
  } as SecureServerOptions;
}

/** The stacks put HTTP/2 first into a list of their own; only a callback takes it out. */
function alpnOf({ protocols, alpn }: ServerSettings): Pick<SecureServerOptions, "ALPNProtocols" | "ALPNCallback"> {
  // One runtime wants the same answer for every client. One that does not offer it ends the handshake, on all.
  if (alpn !== undefined) return { ALPNCallback: () => alpn };
  if (!protocols.includes("h2")) return { ALPNCallback: () => "http/1.1" };
  return { ALPNProtocols: ["h2", "http/1.1"] };
}

/** Makes the server of a listener. */
export function createServer(material: Material, settings: ServerSettings): Http2SecureServer {
  const server = createSecureServer(serverOptions(material, settings));
  // close() would destroy what has no request: each connection ends by its own rules
  Object.assign(server, { closeIdleConnections: () => {} });
  hideKeyOf(server);
  return server;
}

/** Gives a server another certificate, already matched with its key, for the handshakes to come. */
export function swapServerContext(server: Http2SecureServer, material: Material, settings: ServerSettings): void {
  server.setSecureContext(serverOptions(material, settings));
  hideKeyOf(server);
}

/** Keeps the key out of what logs a server or a dialled socket: Deno copies it, as text, into their context. */
export function hideKeyOf(holder: object): void {
  const { _sharedCreds, _tlsOptions } = holder as { _sharedCreds?: Held; _tlsOptions?: { secureContext?: Held } };
  const context = (_sharedCreds ?? _tlsOptions?.secureContext)?.context;
  if (context?.key !== undefined) hideSecret(context, PRIVATE_KEY);
}

interface Held {
  readonly context?: { readonly key?: unknown };
}

/** Options of one dialled connection. Nothing is saved for resumption; the caller judges the peer by itself. */
export function clientOptions(
  svid: X509Svid,
  to: { address: DialAddress; alpn: readonly string[]; servername: string | undefined },
): ConnectionOptions {
  const { address } = to;
  const host = "host" in address && isIP(address.host) === 0 ? address.host.replace(/\.$/, "") : undefined;
  const name = to.servername ?? host;
  return {
    ...common(materialOf(svid)),
    ca: [...NO_ROOTS],
    ...(address as ConnectionOptions),
    ...(to.alpn.length === 0 ? {} : { ALPNProtocols: [...to.alpn] }),
    ...(name === undefined ? {} : { servername: name }),
    // Names prove nothing here; the SPIFFE ID is compared after the handshake.
    checkServerIdentity: () => undefined,
  };
}
