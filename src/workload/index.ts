/** The SPIFFE Workload API: this workload's identity, tokens and bundles, kept current. */
export { BundleSource, type BundleState } from "./bundle-source.ts";
export { type ClientOptions, type JwtSvidOptions, WorkloadApiClient } from "./client.ts";
export type { CallOptions } from "./connection.ts";
export { type Endpoint, endpointFromEnvironment, formatEndpoint, parseEndpoint } from "./endpoint.ts";
export { type JwtSvidInterceptorOptions, jwtSvid } from "./interceptor.ts";
export type { ValidatedJwtSvid } from "./jwt-messages.ts";
export { type JwtFetchOptions, JwtSource, type JwtSourceOptions } from "./jwt-source.ts";
export type { OpenOptions, SourceOptions } from "./open.ts";
export type { JwtBundles, Snapshot, X509Bundles, X509Context } from "./snapshot.ts";
export type { Source, SourceCounters, SourceState } from "./source.ts";
export { Workload, type WorkloadOptions } from "./workload.ts";
export { X509Source, type X509SourceOptions } from "./x509-source.ts";
