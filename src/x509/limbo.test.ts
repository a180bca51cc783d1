/** Path validation cases of x509-limbo. Their leaves have no SPIFFE ID, so the rules below the ID are what runs here. */
import assert from "node:assert/strict";
import { existsSync, readFileSync as r, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { runChecksSync } from "../crypto/index.ts";
import { decodePem } from "../encoding/pem.ts";
import { X509Bundle } from "./bundle.ts";
import { Certificate } from "./certificate.ts";
import { checkEndEntity } from "./leaf.ts";
import { findPath } from "./path/search.ts";

const file = process.env.VECTORS_DIR
  ? join(process.env.VECTORS_DIR, "x509-limbo/limbo.json")
  : "../shared/vectors/x509-limbo/limbo.json";
const cases = JSON.parse(readFileSync(file, "utf8")).testcases;
const der = (pem: string) => (decodePem(pem) as any).value[0].der as Uint8Array;
for (const c of cases) {
  const now = c.validation_time ? Date.parse(c.validation_time) : Date.UTC(2023, 11, 2);
  let out: any;
  try {
    const presented: Certificate[] = [];
    for (const [i, pem] of [c.peer_certificate, ...c.untrusted_intermediates].entries()) {
      const v = Certificate.safeParse(der(pem));
      if (!v.ok) {
        out = { ...v, index: i };
        break;
      }
      presented.push(v.value);
    }
    const anchors: Certificate[] = [];
    if (!out)
      for (const pem of c.trusted_certs) {
        const v = Certificate.safeParse(der(pem));
        if (!v.ok) {
          out = { ...v, message: "ROOT " + v.message };
          break;
        }
        anchors.push(v.value);
      }
    if (!out) {
      const bundle = new X509Bundle("x" as any, anchors);
      const e = checkEndEntity(presented[0]!, { lenientPeerKeyUsage: true, lenientPeerExtKeyUsage: true });
      out = e ?? runChecksSync(findPath({ presented, anchorsNamed: (s) => bundle.authoritiesNamed(s), now }));
    }
  } catch (e) {
    out = { ok: "THROW", reason: (e as Error).stack };
  }
  const want = c.expected_result === "SUCCESS";
  console.log(
    out.ok === want ? "same" : out.ok ? "WRONG-ACCEPT" : "WRONG-REFUSE",
    c.id,
    out.ok ? "" : out.reason + " " + out.message,
    out.ok !== want ? c.description.replace(/\s+/g, " ").slice(0, 300) : "",
  );
}
