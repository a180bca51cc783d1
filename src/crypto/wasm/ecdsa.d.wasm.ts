/** What a static import of the module gives in Workers: a compiled `WebAssembly.Module`. */
declare const module: object;
export default module;
