/**
 * ECDSA verification by WebAssembly, for those who want it by itself; verifications use it without being told wherever
 * it is faster.
 */
export { useWasmModule } from "../choose-backend.ts";
export { type WasmKey, type WasmMemory, WasmVerifier, type WasmVerifierOptions } from "./verifier.ts";
