/** Everything that reads bytes from outside. */
import type { Target } from "../mutants.ts";
import { CERTIFICATE_TARGETS } from "./certificates.ts";
import { DOCUMENT_TARGETS } from "./documents.ts";
import { TOKEN_TARGETS } from "./tokens.ts";

export const TARGETS: readonly Target[] = [...CERTIFICATE_TARGETS, ...TOKEN_TARGETS, ...DOCUMENT_TARGETS];
