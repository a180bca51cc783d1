/**
 * Mutual TLS by SPIFFE ID: a listener, a dialler and a fetch that verify peers against the bundles of a live identity.
 *
 * @module spiffe-edge/tls
 */
export {
  type Authorizer,
  authorizeAny,
  authorizeId,
  authorizeIdPrefix,
  authorizeMemberOf,
  authorizeOneOf,
  type PeerExpectation,
  unsafeAnyPeer,
} from "./authorizers.ts";
export { type ConnectOptions, connect, type VerifiedConnection } from "./connect.ts";
export type { ListenerRequest, ListenerResponse } from "./connections.ts";
export type { ListenerCounters } from "./counters.ts";
export type { ConnectHandlers, Handler, UpgradeHandler } from "./entries.ts";
export { createFetch, type FetchOptions, type SpiffeFetch } from "./fetch.ts";
export type { FetchHandler, FetchInfo } from "./fetch-handler.ts";
export { type GrpcCredentialsOptions, type GrpcModule, grpcCredentials } from "./grpc-credentials.ts";
export { type Http2Options, http2Options, type PeerTransportOptions } from "./http2-options.ts";
export type { TlsIdentity, X509Material } from "./identity.ts";
export {
  type ConnectionHandler,
  type ListenOptions,
  listen,
  type RefusedConnection,
  type TlsListener,
} from "./listen.ts";
export type { ClientCertificate, HttpProtocol } from "./options.ts";
export type { SvidChoice } from "./own-identity.ts";
export { type ConnectionVerdict, connectionPeer, peerOf } from "./peer.ts";
export { createAgent, type PeerAgentOptions } from "./peer-agent.ts";
export type { PeerSessions } from "./peer-sessions.ts";
export type { ProxyProtocolOptions } from "./proxy-gate.ts";
export type { WebCertificate } from "./server-certificate.ts";
export type { StartTls } from "./start-tls.ts";
export type { ThrottleLimits } from "./throttle.ts";
export {
  type DialTarget,
  type OnConnection,
  type TlsPeerOptions,
  tlsOptions,
  type VerifiedTlsOptions,
} from "./tls-options.ts";
export { type StreamOptions, type StreamTarget, streamFactory, type VerifiedStream } from "./verified-stream.ts";
