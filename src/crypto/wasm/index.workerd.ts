/** The sub-path in Workers, which may not compile WebAssembly: the module comes by a static import, compiled by the host. */
import { useWasmModule } from "../choose-backend.ts";
import module from "./ecdsa.wasm";

useWasmModule(module);

export * from "./index.ts";
