/** Encodings: bytes and text in, values or verdicts out. */
export * from "./base64.ts";
export * from "./der.ts";
export * from "./encode-der.ts";
export * from "./pem.ts";
export * from "./strict-json.ts";
