/** The SPIFFE Workload API: this workload's identity, tokens and bundles, kept current. */
export type { BundleState } from "./bundle-feed.ts";
export { type BundleDocumentOptions, BundleSource, type BundleUrlOptions } from "./bundle-source.ts";
export type { UrlOptions } from "./bundle-url.ts";
export type { IdentityChoice } from "./choice.ts";
export { type ClientOptions, type JwtSvidOptions, WorkloadApiClient } from "./client.ts";
export type { CallOptions } from "./connection.ts";
export { type Endpoint, endpointFromEnvironment, formatEndpoint, parseEndpoint } from "./endpoint.ts";
export type { IdentityFiles } from "./file-identity.ts";
export { FileSource, type FileSourceOptions } from "./file-source.ts";
export { type JwtSvidInterceptorOptions, jwtSvid } from "./interceptor.ts";
export { type CreateJwtFetchOptions, createJwtFetch, type SendRequest } from "./jwt-fetch.ts";
export type { ValidatedJwtSvid } from "./jwt-messages.ts";
export { type JwtFetchOptions, JwtSource, type JwtSourceOptions, type JwtSvidSource } from "./jwt-source.ts";
export {
  type ClientAssertion,
  type ClientAssertionOptions,
  clientAssertion,
  ExchangedToken,
  type TokenExchangeOptions,
  tokenExchange,
} from "./oauth.ts";
export type { OpenOptions, SourceOptions } from "./open.ts";
export type { JwtBundles, Snapshot, X509Bundles, X509Context } from "./snapshot.ts";
export type { Source, SourceCounters, SourceState } from "./source.ts";
export { Workload, type WorkloadOptions } from "./workload.ts";
export { X509Source, type X509SourceOptions } from "./x509-source.ts";
