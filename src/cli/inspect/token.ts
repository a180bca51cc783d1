/** A token taken apart: everything but what makes it usable. */

import { LIMITS, systemClock } from "../../base/index.ts";
import { decodeBase64Url, isJsonObject, type JsonValue, parseJson } from "../../encoding/index.ts";
import { JwtSvid, safeValidateJwtSvid } from "../../jwt/index.ts";
import { printableJson } from "../printable.ts";
import { iso, remaining } from "./certificate.ts";
import { notVerified, type Outcome, refused, verified } from "./outcome.ts";
import { jwtTrust, type TrustOptions } from "./trust.ts";

/** The largest date that exists, in seconds (ECMA-262 §21.4.1.1). */
const MAX_DATE_S = 8.64e12;

/** Decodes a token, also one that is no JWT-SVID, and judges it. */
export async function inspectToken(
  token: string,
  options: TrustOptions & { readonly audience?: readonly string[] },
): Promise<Outcome> {
  const [header, payload] = token.split(".").map(decoded);
  const signature = decodeBase64Url(token.slice(token.lastIndexOf(".") + 1));
  const lines = [
    `token      ${header === undefined ? "its header is not JSON in base64url" : `header ${printableJson(header)}`}`,
    ...(payload === undefined ? ["           its payload is not JSON in base64url"] : claimLines(payload)),
    `signature  ${signature.ok ? `${signature.value.length} bytes` : "no base64url"}, not shown`,
  ];
  const svid = JwtSvid.safeParseUnverified(token);
  if (!svid.ok) return refused(lines, svid);
  const trust = await jwtTrust(options);
  if ("absent" in trust) return notVerified(lines, trust);
  const verdict = await safeValidateJwtSvid(token, trust.source, { audience: options.audience ?? svid.value.audience });
  if (!verdict.ok) return refused(lines, verdict);
  const { id, expiresAt } = verdict.value;
  const compared = options.audience === undefined ? "; its audience was not compared, --audience does that" : "";
  return verified(lines, `${id} by the JWT bundle of ${id.trustDomain}, until ${iso(expiresAt)}${compared}`);
}

function decoded(part: string): JsonValue | undefined {
  const bytes = decodeBase64Url(part);
  const json = bytes.ok ? parseJson(bytes.value, { maxBytes: LIMITS.token }) : bytes;
  return json.ok ? json.value : undefined;
}

function claimLines(payload: JsonValue): string[] {
  const indented = printableJson(payload, 2).replaceAll("\n", "\n           ");
  const { exp, nbf } = isJsonObject(payload) ? payload : {};
  const [notAfter, notBefore] = [dateOf(exp), dateOf(nbf)];
  const life = notAfter === undefined ? [] : [`life       ${remaining(notBefore, notAfter, systemClock.now())}`];
  return [`claims     ${indented}`, ...life];
}

function dateOf(seconds: JsonValue | undefined): Date | undefined {
  return typeof seconds === "number" && Math.abs(seconds) <= MAX_DATE_S ? new Date(seconds * 1_000) : undefined;
}
