/** JWS and claims by `jose`, on the runtime's WebCrypto; it knows nothing of SPIFFE. */
import { createLocalJWKSet, type JWK, jwtVerify } from "jose";
import { JWS_ALGORITHMS } from "../../../src/crypto/index.ts";
import { NOW } from "../chains.ts";
import { AUDIENCE, type TokenCase } from "../tokens.ts";
import { ACCEPTED, type Opinion, refused } from "./oracle.ts";

export async function joseOpinion({ token, jwks }: TokenCase): Promise<Opinion> {
  try {
    // jose takes no key whose use is not "sig"
    const keys = jwks.map(({ use: _, ...jwk }) => jwk as unknown as JWK);
    await jwtVerify(token, createLocalJWKSet({ keys }), {
      audience: AUDIENCE,
      algorithms: [...JWS_ALGORITHMS.keys()],
      currentDate: new Date(NOW),
      clockTolerance: 10,
      requiredClaims: ["exp"],
    });
    return ACCEPTED;
  } catch (error) {
    return refused(`${(error as { code?: string }).code}: ${(error as Error).message}`);
  }
}
