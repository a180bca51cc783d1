/** Controls of signatures that are checked before they are asked for. */
import type { Control } from "./control-row.ts";

export const AHEAD_CONTROLS: readonly Control[] = [
  {
    name: "crypto-ahead-own-verdict",
    patches: [
      {
        file: "src/crypto/ahead.ts",
        find: "valid = verdicts[at] === true",
        replace: "valid = verdicts.includes(true)",
      },
    ],
    tests: ["src/x509/path/search-ahead.test.ts"],
  },
  {
    name: "crypto-ahead-same-octets",
    patches: [
      {
        file: "src/crypto/ahead.ts",
        find: "one.signature === signature && one.data === data && ",
        replace: "",
      },
    ],
    tests: ["src/crypto/ahead.test.ts"],
  },
  {
    name: "crypto-ahead-known-keys",
    patches: [
      {
        file: "src/crypto/ahead.ts",
        find: "importedBefore(this.#verifier, key)",
        replace: "(importedBefore(this.#verifier, key) ?? this.#verifier.importKey(key))",
      },
    ],
    tests: ["src/crypto/ahead.test.ts"],
  },
  {
    name: "crypto-ahead-tables",
    patches: [
      {
        file: "src/crypto/wasm/verifier.ts",
        find: "if (entry?.place === undefined || (curve ??= entry.curve) !== entry.curve) return undefined;",
        replace: "curve ??= entry?.curve;",
      },
    ],
    tests: ["src/x509/path/search-ahead.test.ts"],
  },
  {
    name: "x509-ahead-decoded-keys",
    patches: [
      {
        file: "src/x509/path/search.ts",
        find: "const key = below && decodedKeyOf(issuer);",
        replace: "const key = below && issuer.publicKey && decodedKeyOf(issuer);",
      },
    ],
    tests: ["src/x509/path/search-ahead.test.ts"],
  },
  {
    name: "x509-ahead-bound",
    patches: [
      {
        file: "src/x509/path/search.ts",
        find: "this.#foresees = 2 * (this.#anchors.size + length - 1) * length <= LIMITS.pathSignatures;",
        replace: "this.#foresees = length > 0;",
      },
    ],
    tests: ["src/x509/path/search-ahead.test.ts"],
  },
];
