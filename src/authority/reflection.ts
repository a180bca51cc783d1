/** gRPC server reflection, version 1: generic clients ask an endpoint which services it has, and in which words (WE-22). */
import { createRegistry, type DescFile, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from "../gen/reflection/reflection_pb.js";
import { SpiffeWorkloadAPI } from "../gen/workload/workload_pb.js";

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

const SERVICES = [SpiffeWorkloadAPI, ServerReflection] as const;
const FILES = [...new Set(SERVICES.flatMap(({ file }) => withImports(file)))];
const REGISTRY = createRegistry(...FILES);

/** Adds the service; it shows declarations alone, which are the same for every caller. */
export function reflectionRoutes(router: ConnectRouter): void {
  router.service(ServerReflection, {
    async *serverReflectionInfo(requests) {
      for await (const originalRequest of requests) {
        yield { validHost: originalRequest.host, originalRequest, messageResponse: answer(originalRequest) };
      }
    },
  });
}

function answer({ messageRequest: { case: what, value } }: ServerReflectionRequest): Answer {
  switch (what) {
    case "listServices": {
      const service = SERVICES.map(({ typeName: name }) => ({ name }));
      return { case: "listServicesResponse", value: { service } };
    }
    case "fileByFilename":
      return fileAnswer(
        FILES.find(({ proto }) => proto.name === value),
        `file ${value}`,
      );
    case "fileContainingSymbol":
      return fileAnswer(fileOf(value), `symbol ${value}`);
    case "allExtensionNumbersOfType":
      if (REGISTRY.getMessage(value) === undefined) return failed(Code.NotFound, `no message ${value} here`);
      return { case: "allExtensionNumbersResponse", value: { baseTypeName: value, extensionNumber: [] } };
    case "fileContainingExtension":
      return failed(Code.NotFound, "no extensions here");
    case undefined:
      return failed(Code.InvalidArgument, "nothing was asked");
  }
}

function fileAnswer(file: DescFile | undefined, what: string): Answer {
  if (file === undefined) return failed(Code.NotFound, `no ${what} here`);
  const fileDescriptorProto = withImports(file).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function failed(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}

/** The file of a type, or of a method, field or value of one. */
function fileOf(symbol: string): DescFile | undefined {
  const type = REGISTRY.get(symbol);
  if (type !== undefined) return type.file;
  const dot = symbol.lastIndexOf(".");
  const [outer, inner] = [REGISTRY.get(symbol.slice(0, Math.max(dot, 0))), symbol.slice(dot + 1)];
  switch (outer?.kind) {
    case "service":
      return outer.methods.some(({ name }) => name === inner) ? outer.file : undefined;
    case "message":
      return outer.members.some(({ name }) => name === inner) ? outer.file : undefined;
    default:
      return undefined;
  }
}

function withImports(file: DescFile): DescFile[] {
  return [file, ...file.dependencies.flatMap(withImports)];
}
