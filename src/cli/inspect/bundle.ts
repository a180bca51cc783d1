/** A SPIFFE bundle: what it would make trusted. */
import { systemClock } from "../../base/index.ts";
import { duration } from "../format.ts";
import { printable } from "../printable.ts";
import { iso, nameOf, remaining } from "./certificate.ts";
import { notVerified, type Outcome, refused } from "./outcome.ts";
import { parseBundle, trustDomainOf, UNNAMED } from "./trust.ts";

/** Shows the authorities and keys of a bundle document, and what of it is left out. */
export function inspectBundle(bytes: Uint8Array): Outcome {
  const verdict = parseBundle(UNNAMED, bytes);
  if (!verdict.ok) return refused([], verdict);
  const { x509, jwt, sequence, refreshHintMs, warnings } = verdict.value;
  const now = systemClock.now();
  const domain = trustDomainOf(x509.authorities);
  const facts = [
    domain === undefined ? "it does not say whose" : `by its authorities of ${domain}`,
    sequence === undefined ? "no sequence" : `sequence ${sequence}`,
    refreshHintMs === undefined ? "no refresh hint" : `refresh hint ${duration(refreshHintMs)}`,
  ];
  const lines = [
    `bundle     ${facts.join(", ")}`,
    ...x509.authorities.map((authority) => {
      const life = `${iso(authority.notBefore)} to ${iso(authority.notAfter)}, ${remaining(authority.notBefore, authority.notAfter, now)}`;
      return `x509-svid  ${printable(nameOf(authority))}  serial ${authority.serialNumber}  ${life}`;
    }),
    ...jwt.keys.map(({ key, keyId }) => {
      return `jwt-svid   kid ${printable(keyId ?? "(none)")}  ${[key.kind, key.curve ?? key.bits].join(" ")}`;
    }),
    ...warnings.map(({ index, ignored, message }) => {
      return `${ignored ? "left out   " : "odd        "}keys[${index}]: ${printable(message)}`;
    }),
  ];
  if (verdict.value.isEmpty) lines.push("empty      nobody is trusted by it");
  return notVerified(lines, { absent: "a bundle is trusted for where it came from", failed: false });
}
