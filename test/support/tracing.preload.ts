/** Loaded before a program under test: an SDK that writes each finished span as a line on stderr. */
import { trace } from "@opentelemetry/api";
import { BasicTracerProvider, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

const exporter = {
  export(spans: ReadableSpan[], done: (result: { code: number }) => void) {
    for (const { name, kind, attributes } of spans) {
      console.error(`span ${JSON.stringify({ name, kind, path: attributes["url.path"] })}`);
    }
    done({ code: 0 });
  },
  shutdown: () => Promise.resolve(),
};
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
trace.setGlobalTracerProvider(provider);
