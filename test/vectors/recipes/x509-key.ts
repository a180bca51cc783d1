/** X.509 keys and signature algorithms, strong, weak and unknown. */
import { createPrivateKey, sign } from "node:crypto";
import { fromHex } from "../../../src/crypto/octets.ts";
import { encodeDer, encodeDerUnsigned, TAG } from "../../../src/encoding/index.ts";
import { Certificate } from "../../../src/x509/index.ts";
import {
  algorithm,
  type Issued,
  issueCa,
  issueLeaf,
  type KeyType,
  type TestSigning,
} from "../../../src/x509/issue.testing.ts";
import { type About, bad, good, LEAF, leafCase, once, root, type X509Recipe, x509 } from "./x509.ts";

const OLD_HASHES = "signatures with SHA-1 or MD5 are refused on every link";
const MD5_WITH_RSA = "1.2.840.113549.1.1.4";

/** A root and a leaf, both with a key of this kind. */
function keyCase(name: string, keyType: KeyType, about: About = {}, signing: TestSigning = {}): X509Recipe {
  return x509(`leaf: ${name}`, "X509-30 X509-37 S-15", about, async () => {
    const ca = await issueCa({ subject: "root", keyType });
    return { chain: [await issueLeaf(ca, { keyType, ...signing })], trusted: [ca], keys: [keyType] };
  });
}

const rsaRoot = once(() => issueCa({ subject: "rsa root", keyType: "RSA-2048" }));

function signedByMd5(issuer: Issued): TestSigning {
  const identifier = algorithm(MD5_WITH_RSA, null);
  return {
    innerAlgorithm: identifier,
    outerAlgorithm: identifier,
    tamper(certificate) {
      const key = createPrivateKey({ key: Buffer.from(issuer.pkcs8), format: "der", type: "pkcs8" });
      const signature = sign("md5", Certificate.parse(certificate).tbs, key);
      certificate.set(signature, certificate.length - signature.length);
    },
  };
}

function underRsa(name: string, about: About, signing: (issuer: Issued) => TestSigning): X509Recipe {
  return x509(`leaf: ${name}`, "X509-37 S-15", about, async () => {
    const ca = await rsaRoot();
    return { chain: [await issueLeaf(ca, signing(ca))], trusted: [ca], keys: ["P-256", "RSA-2048"] };
  });
}

/** A leaf whose P-256 key, as SubjectPublicKeyInfo, is replaced by what `change` makes of it. */
function withKey(
  name: string,
  reason: NonNullable<About["reason"]>,
  change: (spki: Uint8Array) => Uint8Array,
  twin: string = LEAF,
): X509Recipe {
  return x509(`leaf: ${name}`, "X509-37 S-15", { reason, twin }, async () => {
    const ca = await root();
    const key = await issueLeaf(ca);
    const spki = change(Uint8Array.from(key.certificate.spki));
    return { chain: [await issueLeaf(ca, { keyOf: key, spki })], trusted: [ca] };
  });
}

/** A leaf with an Ed25519 key of these octets, in hexadecimal. */
function edwards(name: string, reason: NonNullable<About["reason"]>, point: string): X509Recipe {
  const spki = fromHex(`302a300506032b6570032100${point}`);
  return withKey(name, reason, () => spki, "leaf: keys of Ed25519");
}

const P256 = algorithm("1.2.840.10045.4.3.2");
export const KEYS: readonly X509Recipe[] = [
  keyCase("keys on P-384", "P-384"),
  keyCase("keys on P-521", "P-521"),
  keyCase("keys of RSA, 2048 bits", "RSA-2048"),
  keyCase("keys of RSA, 3072 bits", "RSA-3072"),
  keyCase("keys of RSA, 4096 bits", "RSA-4096"),
  keyCase("RSA-PSS signature by an RSA key", "RSA-2048", {}, { pss: true }),
  keyCase("RSA-PSS signature by an RSA-PSS key", "RSA-PSS-2048"),
  keyCase("keys of Ed25519", "Ed25519"),
  keyCase(
    "RSA-PSS salt shorter than the hash",
    "RSA-2048",
    {
      reason: "x509.algorithm",
      twin: "leaf: RSA-PSS signature by an RSA key",
      choice: "the salt is as long as the hash",
    },
    { pss: true, saltLength: 20 },
  ),
  underRsa("RSA signature with SHA-256", {}, () => ({})),
  underRsa("RSA signature with SHA-512", {}, () => ({ hash: "SHA-512" })),
  underRsa(
    "RSA signature with SHA-1",
    { reason: "x509.algorithm", twin: "leaf: RSA signature with SHA-256", choice: OLD_HASHES },
    () => ({
      hash: "SHA-1",
    }),
  ),
  underRsa(
    "RSA signature with MD5",
    { reason: "x509.algorithm", twin: "leaf: RSA signature with SHA-256", choice: OLD_HASHES },
    signedByMd5,
  ),
  bad("ECDSA signature with SHA-1", "X509-37 S-15", "x509.algorithm", { hash: "SHA-1" }, { choice: OLD_HASHES }),
  good("ECDSA signature by P-256 with SHA-384", "S-15", { hash: "SHA-384" }),
  bad("signed part and certificate name different algorithms", "X509-37 S-15", "x509.algorithm-mismatch", {
    outerAlgorithm: algorithm("1.2.840.10045.4.3.3"),
  }),
  bad("algorithm with parameters it must not have", "X509-37 S-15", "x509.algorithm", {
    innerAlgorithm: algorithm("1.2.840.10045.4.3.2", null),
    outerAlgorithm: algorithm("1.2.840.10045.4.3.2", null),
  }),
  good("algorithm named as it should be", "S-15", { innerAlgorithm: P256, outerAlgorithm: P256 }),
  leafCase(
    "leaf: key of RSA, 1024 bits",
    "S-15",
    { reason: "key.weak", twin: "leaf: key of RSA, 2048 bits", choice: "RSA keys have 2048 to 8192 bits" },
    { keyType: "RSA-1024" },
    { keys: ["P-256", "RSA-1024"] },
  ),
  leafCase("leaf: key of RSA, 2048 bits", "S-15", {}, { keyType: "RSA-2048" }, { keys: ["P-256", "RSA-2048"] }),
  x509(
    "leaf: key of RSA with the exponent 3",
    "S-15",
    { reason: "key.weak", twin: "leaf: key of RSA, 2048 bits", choice: "RSA exponents are odd and above 3" },
    async () => {
      const ca = await root();
      const key = await issueLeaf(ca, { keyType: "RSA-2048" });
      const { numbers } = key.certificate.publicKey;
      if (numbers.kind !== "rsa") throw new Error("Expected an RSA key");
      const body = encodeDer(TAG.sequence, encodeDerUnsigned(numbers.modulus), encodeDerUnsigned(Uint8Array.of(3)));
      const bits = encodeDer(TAG.bitString, Uint8Array.of(0), body);
      const spki = encodeDer(TAG.sequence, algorithm("1.2.840.113549.1.1.1", null), bits);
      return {
        chain: [await issueLeaf(ca, { keyOf: key, spki })],
        trusted: [ca],
        keys: ["P-256", "RSA-2048"],
      };
    },
  ),
  withKey("key that is no point of its curve", "key.not-on-curve", (spki) => {
    spki[spki.length - 1]! ^= 1;
    return spki;
  }),
  withKey("key on secp256k1", "key.unsupported", (spki) => {
    const point = spki.subarray(spki.length - 68);
    const curve = Uint8Array.of(6, 5, 0x2b, 0x81, 4, 0, 10);
    const ecKey = encodeDer(TAG.oid, Uint8Array.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1));
    return encodeDer(TAG.sequence, encodeDer(TAG.sequence, ecKey, curve), point);
  }),
  withKey("key of P-256 as a compressed point", "key.unsupported", (spki) => {
    const compressed = [2 | (spki.at(-1)! & 1), ...spki.subarray(spki.length - 64, spki.length - 32)];
    const bits = encodeDer(TAG.bitString, Uint8Array.of(0, ...compressed));
    return encodeDer(TAG.sequence, spki.subarray(2, spki.length - 68), bits);
  }),
  withKey("key with an unused bit", "key.invalid", (spki) => {
    const octets = spki.slice(spki.length - 65);
    octets[octets.length - 1]! &= 0xfe;
    const bits = encodeDer(TAG.bitString, Uint8Array.of(1), octets);
    return encodeDer(TAG.sequence, spki.subarray(2, spki.length - 68), bits);
  }),
  withKey("key with a byte after it", "key.invalid", (spki) => {
    const content = Uint8Array.of(...spki.subarray(2), 5, 0);
    return encodeDer(TAG.sequence, content);
  }),
  edwards("key of Ed25519 of small order", "key.weak", `01${"00".repeat(31)}`),
  edwards("key of Ed25519 that is not reduced", "key.invalid", `ee${"ff".repeat(30)}7f`),
  edwards("key of Ed25519 that is no point", "key.not-on-curve", `02${"00".repeat(31)}`),
];
