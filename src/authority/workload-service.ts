/** The SPIFFE Workload API, server side, for the workload behind one socket. */
import { create, type DescMessage, equals, type JsonObject, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext, type Interceptor } from "@connectrpc/connect";
import type { Clock } from "../base/index.ts";
import { LIMITS } from "../base/index.ts";
import {
  JWTBundlesResponseSchema,
  SpiffeWorkloadAPI,
  X509BundlesResponseSchema,
  X509SVIDResponseSchema,
} from "../gen/workload/workload_pb.js";
import { SpiffeId, type TrustDomain } from "../id/index.ts";
import { type JwtBundleSource, safeValidateJwtSvid } from "../jwt/index.ts";
import { type Change, turns } from "./change.ts";
import type { IssuedX509 } from "./generation.ts";

/** One identity of the caller. */
export interface CallerIdentity {
  readonly id: SpiffeId;
  readonly hint: string;
  x509(): Promise<IssuedX509>;
  jwt(audience: readonly string[]): Promise<string>;
}

/** The bundles of one trust domain in the forms of the Workload API. */
export interface PublishedBundle {
  readonly trustDomain: TrustDomain;
  /** Concatenated DER. */
  readonly x509: Uint8Array;
  /** A JWK Set, UTF-8 JSON. */
  readonly jwks: Uint8Array;
}

/** What the service asks about the workload behind its socket. */
export interface Caller extends JwtBundleSource {
  readonly clock: Clock;
  readonly change: Change;
  /** Aborts when the authority closes. */
  readonly closed: AbortSignal;
  /** The caller's identities, in the order of their entries; empty when it has none (any more). */
  identities(): readonly CallerIdentity[];
  ownBundle(): PublishedBundle;
  /** Bundles of the trust domains its entries federate with. */
  federatedBundles(): readonly PublishedBundle[];
}

/** WE-06: exactly one value `true`, before anything else is looked at. A repeated header arrives joined, so it differs. */
export const requireSecurityHeader: Interceptor = (next) => (request) => {
  if (request.header.get("workload.spiffe.io") !== "true") {
    throw new ConnectError("the metadata workload.spiffe.io: true is missing", Code.InvalidArgument);
  }
  return next(request);
};

/** Routes of the Workload API for one caller. */
export function workloadRoutes(caller: Caller): (router: ConnectRouter) => void {
  const identities = (): readonly CallerIdentity[] => {
    const found = caller.identities();
    if (found.length === 0) throw new ConnectError("no identity issued to the caller", Code.PermissionDenied);
    return found;
  };

  /** Sends the full state at once and again whenever it differs; ends when the caller has no identity any more. */
  async function* stream<D extends DescMessage>(
    schema: D,
    context: HandlerContext,
    build: () => Promise<MessageShape<D>>,
  ): AsyncGenerator<MessageShape<D>> {
    let sent: MessageShape<D> | undefined;
    for await (const _ of turns(caller.change, context.signal, caller.closed)) {
      const next = await build();
      if (sent !== undefined && equals(schema, sent, next)) continue;
      sent = next;
      yield next;
    }
    if (caller.closed.aborted) throw new ConnectError("the authority is closing", Code.Unavailable);
  }

  const x509Svids = async () => {
    const callers = identities();
    const issued = await Promise.all(callers.map((identity) => identity.x509()));
    const { x509 } = caller.ownBundle();
    return create(X509SVIDResponseSchema, {
      svids: callers.map((identity, index) => ({
        spiffeId: identity.id.uri,
        x509Svid: (issued[index] as IssuedX509).certificates,
        x509SvidKey: (issued[index] as IssuedX509).privateKey,
        bundle: x509,
        hint: identity.hint,
      })),
      federatedBundles: byId(caller.federatedBundles(), "x509"),
    });
  };
  const x509Bundles = async () => {
    identities();
    const bundles = byId([caller.ownBundle(), ...caller.federatedBundles()], "x509");
    return create(X509BundlesResponseSchema, { bundles });
  };
  const jwtBundles = async () => {
    identities();
    const bundles = byId([caller.ownBundle(), ...caller.federatedBundles()], "jwks");
    return create(JWTBundlesResponseSchema, { bundles });
  };
  const unimplemented = () => {
    throw new ConnectError("WIT-SVIDs are not issued here", Code.Unimplemented);
  };

  return (router) => {
    router.service(SpiffeWorkloadAPI, {
      fetchX509SVID: (_, context) => stream(X509SVIDResponseSchema, context, x509Svids),
      fetchX509Bundles: (_, context) => stream(X509BundlesResponseSchema, context, x509Bundles),
      fetchJWTBundles: (_, context) => stream(JWTBundlesResponseSchema, context, jwtBundles),
      async fetchJWTSVID({ audience, spiffeId }) {
        if (audience.length === 0 || audience.includes("")) {
          throw new ConnectError("audience must be given", Code.InvalidArgument);
        }
        const wanted = selected(identities(), spiffeId);
        const tokens = await Promise.all(wanted.map((identity) => identity.jwt(audience)));
        if (tokens.some((token) => token.length > LIMITS.token)) {
          throw new ConnectError("the audience makes the token too long", Code.InvalidArgument);
        }
        return {
          svids: wanted.map(({ id, hint }, index) => ({ spiffeId: id.uri, svid: tokens[index] as string, hint })),
        };
      },
      async validateJWTSVID({ audience, svid }) {
        if (audience === "") throw new ConnectError("audience must be given", Code.InvalidArgument);
        if (svid === "") throw new ConnectError("svid must be given", Code.InvalidArgument);
        identities();
        const verdict = await safeValidateJwtSvid(svid, caller, { audience, clock: caller.clock });
        if (!verdict.ok) throw new ConnectError(`${verdict.reason}: ${verdict.message}`, Code.InvalidArgument);
        const { id, claims } = verdict.value;
        // A token that this authority signed: no number in it is above what a Struct carries.
        return { spiffeId: id.uri, claims: claims as JsonObject };
      },
      fetchWITSVID: unimplemented,
      fetchWITBundles: unimplemented,
    });
  };
}

function selected(identities: readonly CallerIdentity[], spiffeId: string): readonly CallerIdentity[] {
  if (spiffeId === "") return identities;
  const id = SpiffeId.safeParse(spiffeId);
  if (!id.ok) throw new ConnectError(`spiffe_id: ${id.message}`, Code.InvalidArgument);
  const wanted = identities.filter((identity) => identity.id.equals(id.value));
  if (wanted.length === 0) throw new ConnectError("not an identity of the caller", Code.PermissionDenied);
  return wanted;
}

function byId(bundles: readonly PublishedBundle[], form: "x509" | "jwks"): Record<string, Uint8Array> {
  return Object.fromEntries(bundles.map((bundle) => [bundle.trustDomain.id.uri, bundle[form]]));
}
