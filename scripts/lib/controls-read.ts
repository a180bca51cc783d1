/** Controls of what is read: certificates, bundles, names. */
import { controlsIn } from "./control-row.ts";
import type { Control } from "./controls.ts";

const control = controlsIn("src");

export const READ_CONTROLS: readonly Control[] = [
  control(
    "x509-extension-twice",
    "x509/extensions.ts",
    "if ((seenKnown & (1 << understood)) !== 0) derFault(",
    "if (false) derFault(",
    "x509/certificate.test.ts",
  ),
  control(
    "x509-bundle-equals",
    "x509/bundle.ts",
    "    if (this.authorities.length !== other.authorities.length) return false;\n",
    "",
    "x509/bundle.test.ts",
  ),
  control(
    "x509-bundle-keys",
    "x509/bundle.ts",
    "if (elements.length > LIMITS.bundleKeys) {",
    "if (false) {",
    "x509/bundle.test.ts",
  ),
  control(
    "x509-critical-key-ids",
    "x509/extensions.ts",
    "if (!honoured && critical) extensions",
    "if (false) extensions",
    "x509/path/search.test.ts",
  ),
  control(
    "x509-cost-of-rsa",
    "x509/path/search.ts",
    "return bits > 4_096 ? 4 : 1;",
    "return 1;",
    "x509/path/search.test.ts",
  ),
  control(
    "x509-key-fits",
    "x509/path/search.ts",
    " || !key.value.fits(alg)) {\n      valid",
    ") {\n      valid",
    "x509/path/search.test.ts",
  ),
  control(
    "jwt-lenient-by-true",
    "jwt/validate.ts",
    "lenientHeader: options.lenientHeader === true",
    "lenientHeader: Boolean(options.lenientHeader)",
    "jwt/jws.test.ts",
  ),
  control(
    "x509-lenient-by-true",
    "x509/leaf.ts",
    "leniency.lenientPeerKeyUsage !== true",
    "!leniency.lenientPeerKeyUsage",
    "x509/leaf.test.ts",
  ),
  control(
    "x509-lenient-purposes-by-true",
    "x509/leaf.ts",
    "leniency.lenientPeerExtKeyUsage !== true",
    "!leniency.lenientPeerExtKeyUsage",
    "x509/leaf.test.ts",
  ),
  control(
    "x509-foreseen-key-fits",
    "x509/path/search.ts",
    " || !key.fits(alg) || this",
    " || this",
    "x509/path/search.test.ts",
  ),
  control(
    "x509-constraint-mailboxes",
    "x509/path/name-constraints.ts",
    "budget.left -= Math.max(0, subjects.length - names.length - 1) * bases;",
    "",
    "x509/path/name-constraints.test.ts",
  ),
  control(
    "der-arc-below",
    "encoding/der.ts",
    " && bytes[start] === first && bytes[start + 1] === second",
    " && bytes[start + 1] === second",
    "encoding/der.test.ts",
  ),
  control(
    "der-arc-below-length",
    "encoding/der.ts",
    "const below = this.#contentEnd === start + 3 && ",
    "const below = ",
    "encoding/der.test.ts",
  ),
  control(
    "der-indefinite-length",
    "encoding/der.ts",
    "if (length >= 0x80) {",
    "if (length > 0x80) {",
    "encoding/der.test.ts",
  ),
  control(
    "der-time-digits",
    "encoding/der.ts",
    "if (high < 0 || high > 9 || low < 0 || low > 9) derFault(",
    "if (false) derFault(",
    "encoding/der.test.ts",
  ),
  control("der-time-zone", "encoding/der.ts", " || bytes[this.#contentEnd - 1] !== 0x5a)", ")", "encoding/der.test.ts"),
  control(
    "der-split-whole",
    "encoding/der.ts",
    "  if (elements.length > maxElements)\n    return",
    "  if (false)\n    return",
    "encoding/der.test.ts",
  ),
  control(
    "pem-last-end",
    "encoding/pem.ts",
    '  if (label !== undefined) return refuse("encoding.pem", `Expected an END line',
    '  if (false) return refuse("encoding.pem", `Expected an END line',
    "encoding/pem.test.ts",
  ),
];
