/** The version of this package; a test holds it to package.json. Reading that file would need a permission on Deno. */
export const VERSION: string = "0.1.0";
