/** What differs between the runtimes, one row per difference with the measured reason. Nothing else asks for the runtime. */
import { type RuntimeName, runtime } from "./detect.ts";

/** One difference: what holds on this runtime, and why that is known. */
export interface Capability<T> {
  readonly value: T;
  readonly why: string;
}

/** The table of differences. */
export interface Capabilities {
  /** The call that gives every certificate a peer presented, in wire order (S-7). */
  readonly peerChain: Capability<"x509-links" | "detailed-certificate" | "none">;
  /** What holds the certificates that a peer sent as octets, to be counted before objects are made of them (S-7). */
  readonly sentOctets: Capability<"handle" | "session" | "none">;
  /** Whether a dial whose list of roots is empty loads none. */
  readonly emptyRoots: Capability<boolean>;
  /** Whether a server can switch TLS session resumption off (S-4). */
  readonly resumptionOff: Capability<boolean>;
  /** Whether the TLS stack refuses a renegotiation that the client starts, or can be told to (S-2). */
  readonly renegotiationOff: Capability<boolean>;
  /** Whether a TLS socket that nobody reads stops taking bytes from the network. */
  readonly readBackpressure: Capability<boolean>;
  /** What stops a TLS socket from reading, for as long as somebody downstream is slow: the stream itself, or the handle below. */
  readonly readStop: Capability<"stream" | "handle-below">;
  /** Whether a TLS socket can be ended so that the other side sees a reset. */
  readonly tlsReset: Capability<boolean>;
  /**
   * Whether a TLS socket tells an end that its peer announced (`close_notify`) from one that anybody on the way can make.
   * Where it does not, an answer of HTTP/1.1 without a length ends like a whole one when it is cut (RFC 9112 section 9.8).
   */
  readonly tlsEnd: Capability<boolean>;
  /** Who can read what comes before TLS: the listener of the TLS server itself, or a plain server that hands sockets on. */
  readonly beforeTls: Capability<"same-server" | "front-server">;
  /** How large the buffer is that TLS keeps for what comes in: as the bytes that it starts with, or of a size of its own. */
  readonly tlsInput: Capability<"by-first-bytes" | "own-size">;
  /** Whether a `node:http` server listens on a descriptor that it is given. */
  readonly httpOnDescriptor: Capability<boolean>;
  /** Whether an HTTP/1.1 server refuses heads above its `maxHeaderSize`. */
  readonly headerLimit: Capability<boolean>;
  /** Whether `end(body)` of an HTTP/1.1 answer behind `http2.createSecureServer` writes head and body together. */
  readonly answerInOneWrite: Capability<boolean>;
  /** Whether the runtime has `node:tls` and `node:http2` servers. */
  readonly tlsServer: Capability<boolean>;
  /**
   * Whether a request over a kept connection of an agent of `node:http` is sent once and never again by the runtime itself
   * (S-24). What this package sends by itself goes without `node:http`.
   */
  readonly keptConnections: Capability<boolean>;
  /** Whether an HTTP/1.1 answer of stated length ends when its bytes come out of an HTTP/2 stream. */
  readonly lengthFromHttp2: Capability<boolean>;
  /** Whether the body of an HTTP/2 request that may get trailers ends without an empty DATA frame of its own. */
  readonly frugalBodyEnd: Capability<boolean>;
  /** What shows first that a stream of HTTP/2 was reset, and did not end: it is closed, or it is destroyed. */
  readonly quietReset: Capability<"closed" | "destroyed">;
  /** What ends with a malformed request of HTTP/2 (RFC 9113 section 8.1.1): its stream, or its connection. */
  readonly malformedStream: Capability<"stream" | "connection">;
  /** The server that answers plaintext requests fastest; those of one runtime's own do not take part in TLS. */
  readonly plainServer: Capability<"bun" | "deno" | "node">;
  /** Whether that server asks for a request's body (`100 Continue`) only when somebody reads it. */
  readonly plainContinue: Capability<boolean>;
  /** How all fields of a `Request` are read fastest: into an object by one call, or one after the other. */
  readonly requestFields: Capability<"toJSON" | "forEach">;
  /** Whether a program can start itself again as it was started, for workers that share its ports. */
  readonly workers: Capability<boolean>;
  /** Whether `exit` of the process is heard of when an error that nobody caught ends it. */
  readonly exitAfterError: Capability<boolean>;
  /** Whether what is started outlives the request that started it: a timer, a fetch, and who waits for them. */
  readonly lastingTimers: Capability<boolean>;
}

function row<T>(value: T, why: string): Capability<T> {
  return Object.freeze({ value, why });
}

const lasting = row(true, "one event loop serves the whole process");
const serves = row(true, "http2.createSecureServer with allowHTTP1 serves both protocols and asks for certificates");

const itself = row(true, "execPath and execArgv start the same program again; reusePort shares a port on Linux");

const TABLE: { readonly [name in RuntimeName]: Capabilities } = {
  node: {
    peerChain: row(
      "x509-links",
      "getPeerCertificate(true) loses an intermediate; X509Certificate links keep wire order",
    ),
    emptyRoots: row(true, "the context gets no roots"),
    sentOctets: row("none", "the session has the leaf alone; links are made for all certificates at once (26.10)"),
    resumptionOff: row(true, "SSL_OP_NO_TICKET in every context leaves nothing that can be resumed"),
    renegotiationOff: row(true, "SSL_OP_NO_RENEGOTIATION is honoured, and TLS 1.3 has no renegotiation"),
    readBackpressure: row(true, "the socket stops at its high-water mark"),
    readStop: row("stream", "pause() reaches the socket below"),
    tlsReset: row(false, "resetAndDestroy() throws, and that of the socket below can end the process (SIGSEGV, 26.10)"),
    tlsEnd: row(false, "the end of TCP gives the same events (26.10)"),
    beforeTls: row("same-server", "bytes that were read and put back with unshift() reach TLS"),
    tlsInput: row(
      "by-first-bytes",
      "it keeps 64 KiB for each connection that it reads from the start, some 11 of them resident (26.10)",
    ),
    httpOnDescriptor: row(true, "listen({ fd }) takes the socket"),
    headerLimit: row(true, "the parser answers 431"),
    answerInOneWrite: row(true, "one write, one TLS record"),
    tlsServer: serves,
    keptConnections: row(true, "a break shows as ECONNRESET with reusedSocket, nothing is repeated"),
    lengthFromHttp2: row(true, "its last write is heard of"),
    frugalBodyEnd: row(true, "the frame that ends the stream is the only one"),
    quietReset: row("closed", "a reset stream is closed when its bytes end, one with END_STREAM is not yet (26.10)"),
    malformedStream: row("stream", "RST_STREAM with PROTOCOL_ERROR; nothing of it reaches JavaScript (26.10)"),
    plainServer: row("node", "node:http is the only one"),
    plainContinue: row(true, "checkContinue of node:http leaves it to the listener"),
    requestFields: row("forEach", "its servers hand out no Request"),
    workers: itself,
    exitAfterError: row(true, "it is the last event"),
    lastingTimers: lasting,
  },
  bun: {
    peerChain: row(
      "detailed-certificate",
      "getPeerCertificate(true) has wire order; X509Certificate links are made out of it, for as much time again",
    ),
    emptyRoots: row(
      false,
      "each dial looks for those of the machine in eight places (1.4.5); one certificate of our own loads none",
    ),
    sentOctets: row("session", "getSession() has the whole chain, in 0.05 ms for 143 certificates beside 4 ms (1.4.5)"),
    resumptionOff: row(true, "SSL_OP_NO_TICKET in every context leaves nothing that can be resumed"),
    renegotiationOff: row(true, "BoringSSL refuses renegotiation by clients; the OpenSSL option is 0 here"),
    readBackpressure: row(true, "the socket stops at its high-water mark"),
    readStop: row("stream", "pause() reaches the socket below"),
    tlsReset: row(true, "resetAndDestroy() sends RST"),
    tlsEnd: row(false, "the end of TCP gives the same events (1.4.5)"),
    beforeTls: row(
      "front-server",
      "a TLS server takes its bytes below JavaScript; a socket of a plain server can be handed to it, put-back bytes too",
    ),
    tlsInput: row("own-size", "TLS takes its bytes below JavaScript"),
    httpOnDescriptor: row(
      false,
      "listen({ fd }) of node:http opens a port of its own, without a word; net and tls take it",
    ),
    headerLimit: row(true, "the parser answers 431"),
    answerInOneWrite: row(false, "head and body are a write each, and a TLS record and a packet each (1.4.5)"),
    tlsServer: serves,
    keptConnections: row(true, "a break shows as ECONNRESET with reusedSocket, nothing is repeated"),
    lengthFromHttp2: row(true, "its last write is heard of"),
    frugalBodyEnd: row(
      false,
      "end() sends one before it asks for trailers (1.4.5); servers take few of them on one connection",
    ),
    quietReset: row(
      "destroyed",
      "a reset stream is destroyed before its end is read, one with END_STREAM after it (1.4.5)",
    ),
    malformedStream: row("stream", "RST_STREAM with PROTOCOL_ERROR; nothing of it reaches JavaScript (1.4.5)"),
    plainServer: row(
      "bun",
      "Bun.serve; not for TLS: reload({ tls }) keeps the old certificate, a second server with reusePort breaks connections (1.4.5)",
    ),
    plainContinue: row(false, "Bun.serve says it before anybody sees the request (1.4.5)"),
    requestFields: row(
      "toJSON",
      "0.3 us under load for all of them; keys() and four times get() take 0.9, forEach() 0.8",
    ),
    workers: itself,
    exitAfterError: row(true, "it is the last event"),
    lastingTimers: lasting,
  },
  deno: {
    peerChain: row(
      "detailed-certificate",
      "X509Certificate links end after two; getPeerCertificate(true) has them all",
    ),
    emptyRoots: row(true, "the context gets no roots"),
    sentOctets: row("handle", "the handle below lists them, in 0.1 ms for 143 certificates beside 9 ms (2.9.6)"),
    resumptionOff: row(false, "neither SSL_OP_NO_TICKET nor setTicketKeys has an effect in rustls here"),
    renegotiationOff: row(true, "rustls has no renegotiation"),
    readBackpressure: row(false, "a paused TLS socket reads on into memory, in both roles; HTTP/2 windows hold"),
    readStop: row(
      "handle-below",
      "pause() of a TLS socket reads on below and loses the end of input; readStop() of the TCP handle below stops (2.9.6)",
    ),
    tlsReset: row(
      false,
      "resetAndDestroy() ends without RST, above and below (2.9.6); the closing message of TLS is missing",
    ),
    tlsEnd: row(false, "the end of TCP gives the same events, and so does a reset (2.9.6)"),
    beforeTls: row("same-server", "put-back bytes reach TLS; a socket of another server answers no HTTP/1.1 (2.9.6)"),
    tlsInput: row("own-size", "starting with bytes in hand changes nothing (2.9.6)"),
    httpOnDescriptor: row(true, "listen({ fd }) takes the socket"),
    headerLimit: row(false, "http2.createSecureServer with allowHTTP1 has no effect of maxHeaderSize (2.9.5)"),
    answerInOneWrite: row(true, "one write, one TLS record (2.9.6)"),
    tlsServer: serves,
    keptConnections: row(
      false,
      "a request that breaks or is destroyed on a kept connection is sent again on a new one",
    ),
    lengthFromHttp2: row(false, "the end of the last write is not heard of (2.9.5): such answers go in chunks"),
    frugalBodyEnd: row(true, "the frame that ends the stream is the only one"),
    quietReset: row("closed", "a reset stream is closed when its bytes end, one with END_STREAM is not yet (2.9.6)"),
    malformedStream: row("connection", "GOAWAY with PROTOCOL_ERROR; nothing of it reaches JavaScript (2.9.6)"),
    plainServer: row(
      "deno",
      "Deno.serve; not for TLS: neither a minimum version nor a new certificate can be set (2.9.5)",
    ),
    plainContinue: row(false, "Deno.serve says it before anybody sees the request (2.9.6)"),
    requestFields: row("forEach", "0.1 us; keys() takes 0.4, and each get() 0.1 more"),
    workers: row(false, "a program does not learn the permissions it was started with, to pass them on"),
    exitAfterError: row(false, "the process ends without it (2.9.6)"),
    lastingTimers: lasting,
  },
  workerd: {
    peerChain: row("none", "no TLS sockets with certificates of peers"),
    emptyRoots: row(true, "no TLS sockets"),
    sentOctets: row("none", "no TLS sockets with certificates of peers"),
    resumptionOff: row(false, "TLS is ended in front of the worker"),
    renegotiationOff: row(false, "TLS is ended in front of the worker"),
    readBackpressure: row(false, "no TLS sockets"),
    readStop: row("stream", "no TLS sockets"),
    tlsReset: row(false, "no TLS sockets"),
    tlsEnd: row(false, "no TLS sockets"),
    beforeTls: row("same-server", "no TCP sockets"),
    tlsInput: row("own-size", "no TCP sockets"),
    httpOnDescriptor: row(false, "no HTTP server of its own"),
    headerLimit: row(false, "no HTTP server of its own"),
    answerInOneWrite: row(true, "no HTTP server of its own"),
    tlsServer: row(false, "TLS is ended in front of the worker"),
    keptConnections: row(false, "no connections of its own"),
    lengthFromHttp2: row(true, "no servers of its own"),
    frugalBodyEnd: row(true, "no servers of its own"),
    quietReset: row("closed", "no HTTP/2 of its own"),
    malformedStream: row("stream", "no HTTP/2 of its own"),
    plainServer: row("node", "no server of its own"),
    plainContinue: row(true, "no server of its own"),
    requestFields: row("forEach", "no server of its own"),
    workers: row(false, "no processes"),
    exitAfterError: row(false, "no processes"),
    lastingTimers: row(false, "timers and fetches belong to a request and end with it"),
  },
};

/** The rows that hold on the runtime this module was loaded in. */
export const capabilities: Capabilities = Object.freeze(TABLE[runtime.name]);
