/** Judges test cases through the public functions of the package: the same on every runtime, in workerd too. */
import { JwtBundle, safeValidateJwtSvid, safeVerifyX509Svid, TrustDomain, X509Bundle } from "spiffe-edge";

const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** @returns `{ ok: true, id }` or `{ ok: false, reason }` */
export async function judge(testCase) {
  const trustDomain = TrustDomain.parse(testCase.trustDomain);
  const verdict = await (testCase.kind === "x509"
    ? judgeChain(testCase, trustDomain)
    : judgeToken(testCase, trustDomain));
  return verdict.ok ? { ok: true, id: verdict.value.id.toString() } : { ok: false, reason: verdict.reason };
}

function judgeChain({ bundle, chain }, trustDomain) {
  const trusted = X509Bundle.fromDer(trustDomain, bytes(bundle));
  const source = { x509BundleFor: (domain) => (domain.equals(trustDomain) ? trusted : undefined) };
  return safeVerifyX509Svid(chain.map(bytes), source);
}

function judgeToken({ jwks, token, audience }, trustDomain) {
  const trusted = JwtBundle.fromJwks(trustDomain, jwks, "workload-api");
  const source = { jwtBundleFor: (domain) => (domain.equals(trustDomain) ? trusted : undefined) };
  return safeValidateJwtSvid(token, source, { audience });
}
