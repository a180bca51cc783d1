/** What TLS gets as roots when we dial: none. The verdict is made from the presented bytes, by the bundle. */
import { capabilities } from "../runtime/capabilities.ts";

/**
 * Stands for no roots where an empty list means those of the machine: no authority, ended in 1970, its issuer does not exist,
 * one bit of its signature is flipped, and its key is gone.
 */
export const NOBODY: string = `-----BEGIN CERTIFICATE-----
MIIBgDCCASagAwIBAgIQXKIxTuxtbh+4ChF0wCjjgTAKBggqhkjOPQQDAjARMQ8w
DQYDVQQDDAZub2JvZHkwHhcNNzAwMTAxMDAwMDAwWhcNNzAwMTAxMDAwMDAxWjAR
MQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQXXp6h
IxQwkdAXjdBXicmCpo6bMFFNbkkx4JSKEmJcI2y8oSsZv1TOx2oxWmR23ngGdXrm
/5yqiaU+gu1XfgcNo2AwXjAOBgNVHQ8BAf8EBAMCB4AwDAYDVR0TAQH/BAIwADAd
BgNVHQ4EFgQU3UV3ERFpkZ1Skl47lVbPEDokNGcwHwYDVR0jBBgwFoAUkYlsaeIP
lOcItnxNBzhq/fKd1uAwCgYIKoZIzj0EAwIDSAAwRQIgFqwotHpWj++ocrGnSuDg
0BGXrlnIR8KP4WnIk0m0oYcCIQC03SFguAoHC0HKC3/HAVsIhgT+/TQvjeoqFzTR
1tay1Q==
-----END CERTIFICATE-----
`;

/** The roots of a dialled connection. */
export const NO_ROOTS: readonly string[] = capabilities.emptyRoots.value ? [] : [NOBODY];
