/** JWT messages of the Workload API. Tokens come from the own agent, so their shape and their fit are judged here. */
import { type Clock, timeOf } from "../base/clock.ts";
import { LIMITS } from "../base/limits.ts";
import { accept, refuse, type Verdict } from "../base/verdict.ts";
import type {
  JWTBundlesResponse,
  JWTSVID,
  JWTSVIDResponse,
  ValidateJWTSVIDResponse,
} from "../gen/workload/workload_pb.js";
import { SpiffeId } from "../id/index.ts";
import { JwtBundle, JwtSvid } from "../jwt/index.ts";
import { decodeOnlyBundles } from "./bundle-map.ts";
import { acceptedHint, firstOfEachHint } from "./hints.ts";
import type { Content, JwtBundles } from "./snapshot.ts";

/** What was asked for. */
export interface JwtSvidRequest {
  readonly audience: readonly string[];
  readonly id?: SpiffeId | undefined;
}

/**
 * Decodes a FetchJWTSVID answer: at least one token, each with the subject it is announced with, the wanted ID if one
 * was named, every requested audience, and not expired.
 */
export function decodeJwtSvids(message: JWTSVIDResponse, request: JwtSvidRequest, clock: Clock): Verdict<JwtSvid[]> {
  if (message.svids.length === 0) return refuse("workload.no-svid", "the field svids is empty");
  if (message.svids.length > LIMITS.svids) {
    return refuse("workload.too-large", `${message.svids.length} SVIDs, more than ${LIMITS.svids}`);
  }
  const svids: JwtSvid[] = [];
  for (const [index, wire] of firstOfEachHint(message.svids).entries()) {
    const svid = decodeJwtSvid(wire, request, clock);
    if (!svid.ok) return refuse(svid.reason, `${wire.spiffeId.slice(0, 300)}: ${svid.message}`, index);
    svids.push(svid.value);
  }
  return accept(svids);
}

function decodeJwtSvid(wire: JWTSVID, request: JwtSvidRequest, clock: Clock): Verdict<JwtSvid> {
  if (wire.spiffeId === "") return refuse("workload.field-missing", "spiffe_id is empty");
  if (wire.svid === "") return refuse("workload.field-missing", "svid is empty");
  const hint = acceptedHint(wire.hint);
  const svid = JwtSvid.safeParseUnverified(wire.svid, hint === undefined ? {} : { hint });
  if (!svid.ok) return svid;
  const { id, audience, expiresAt } = svid.value;
  if (id.uri !== wire.spiffeId) return refuse("jwt.subject", `spiffe_id differs from the token's subject ${id.uri}`);
  if (request.id !== undefined && !id.equals(request.id)) {
    return refuse("jwt.subject", `the token is not for ${request.id.uri}, which was asked for`);
  }
  const absent = request.audience.find((wanted) => !audience.includes(wanted));
  if (absent !== undefined) return refuse("jwt.audience", `the token has no audience ${JSON.stringify(absent)}`);
  if (!(timeOf(clock) < expiresAt.getTime()))
    return refuse("jwt.expired", `the token expired at ${expiresAt.toISOString()}`);
  return svid;
}

/** Decodes a FetchJWTBundles message; each bundle is a plain JWK Set (WL-46). */
export async function decodeJwtBundles(message: JWTBundlesResponse): Promise<Verdict<Content<JwtBundles>>> {
  return decodeOnlyBundles(message.bundles, (trustDomain, bytes) =>
    JwtBundle.safeFromJwks(trustDomain, bytes, "workload-api"),
  );
}

/** What the agent found in a token it validated. */
export interface ValidatedJwtSvid {
  readonly id: SpiffeId;
  /** As the agent returns them: it may leave out what SPIFFE does not define, and numbers are doubles. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Decodes a ValidateJWTSVID answer; both fields are mandatory (WL-50). */
export function decodeValidation(message: ValidateJWTSVIDResponse): Verdict<ValidatedJwtSvid> {
  if (message.spiffeId === "") return refuse("workload.field-missing", "spiffe_id is empty");
  if (message.claims === undefined) return refuse("workload.field-missing", "claims is empty");
  const id = SpiffeId.safeParse(message.spiffeId);
  if (!id.ok) return id;
  const claims = Object.freeze(Object.assign(Object.create(null) as Record<string, unknown>, message.claims));
  return accept({ id: id.value, claims });
}
