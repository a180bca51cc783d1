/** Prints the microseconds from nothing to the first checked ES256 signature by WebAssembly: compile, key, verify. */
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import process from "node:process";
import { PublicKey } from "../src/crypto/index.ts";
import { WasmVerifier } from "../src/crypto/wasm/verifier.ts";

const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
const data = new Uint8Array(createHash("sha512").update("cold").digest());
const signature = new Uint8Array(sign("sha256", data, { key: privateKey, dsaEncoding: "ieee-p1363" }));
const jwk = publicKey.export({ format: "jwk" });
const key = PublicKey.fromJwk(jwk as Record<string, unknown>);
if (!key.ok) throw new Error("no key");
const started = process.hrtime.bigint();
const verifier = new WasmVerifier();
const alg = { family: "ecdsa", hash: "SHA-256", encoding: "p1363" } as const;
const valid = verifier.verify(alg, verifier.importKey(key.value), signature, data);
const took = Number(process.hrtime.bigint() - started) / 1000;
if (!valid) throw new Error("a good signature does not verify");
console.log(took);
process.exit(0);
