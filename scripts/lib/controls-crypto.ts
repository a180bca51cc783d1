/** Controls of keys, of signatures' encodings, and of the bundles that hold keys. */
import { type Control, controlsIn } from "./control-row.ts";

const control = controlsIn("src");

export const CRYPTO_CONTROLS: readonly Control[] = [
  control(
    "crypto-der-s-length",
    "crypto/signature.ts",
    "if (r.length > size || s.length > size) return undefined;",
    "if (r.length > size) return undefined;",
    "crypto/signature.test.ts",
  ),
  control(
    "crypto-ed25519-small-r",
    "crypto/signature.ts",
    " || isSmallOrder(signature.subarray(0, 32))",
    "",
    "crypto/signature.test.ts",
    "crypto/verifier.test.ts",
  ),
  control(
    "crypto-refused-input",
    "crypto/signature.ts",
    "return normal && { alg: known, signature: normal as",
    "return { alg: known, signature: (normal ?? given) as",
    "crypto/verifier.test.ts",
  ),
  control(
    "crypto-bigint-s",
    "crypto/ecdsa.ts",
    "s === 0n || s >= n) return false;",
    "s === 0n) return false;",
    "crypto/verifier.test.ts",
  ),
  control(
    "crypto-coordinate-modulus",
    "crypto/curves.ts",
    "x < p && y < p",
    "x <= p && y < p",
    "crypto/public-key.test.ts",
  ),
  control(
    "crypto-jwk-coordinates",
    "crypto/public-key.ts",
    "if (x.length !== size || y.length !== size) {",
    "if (false) {",
    "crypto/public-key.test.ts",
  ),
  control(
    "crypto-jwk-type",
    "crypto/public-key.ts",
    'if (kty === "OKP" && member("crv")',
    'if (member("crv")',
    "crypto/public-key.test.ts",
  ),
  control(
    "crypto-equal-length",
    "crypto/octets.ts",
    "if (a.length !== b.length) return false;",
    "",
    "crypto/octets.test.ts",
  ),
  control(
    "jwt-key-operations",
    "jwt/jwk-set.ts",
    'if (keyOps !== undefined && !(Array.isArray(keyOps) && keyOps.includes("verify"))) {',
    "if (false) {",
    "jwt/bundle.test.ts",
  ),
  control(
    "jwt-every-audience",
    "jwt/claims.ts",
    "const known = values.length === 1 ? ",
    "const known = values.length >= 1 ? ",
    "jwt/validate.test.ts",
  ),
  control(
    "jwt-bundle-equals",
    "jwt/bundle.ts",
    "return mine.size === theirs.size && [...mine].every(",
    "return mine.size === theirs.size && [...mine].some(",
    "jwt/bundle.test.ts",
  ),
  control(
    "spiffe-bundle-equals",
    "bundle/spiffe-bundle.ts",
    "      this.jwt.equals(other.jwt) &&\n",
    "",
    "bundle/spiffe-bundle.test.ts",
  ),
];
