/** The worker that judges, with the module that workerd compiled beside the native backends. */
import "spiffe-edge/crypto/wasm";
import worker from "./worker.ts";

export default worker;
