import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { create, createFileRegistry, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ServerReflectionRequestSchema, ServerReflectionResponseSchema } from "../gen/reflection/reflection_pb.js";
import { callRaw, framed, SECURITY } from "./grpc-call.testing.ts";
import { Authority } from "./testing.ts";

const PATH = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const NOT_FOUND = 5;

type Question = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"]>;

describe("server reflection of the authority", () => {
  let authority: Authority;
  before(async () => {
    authority = await Authority.start({
      trustDomain: "example.org",
      entries: [{ id: "spiffe://example.org/web", socket: "web" }],
    });
  });
  after(() => authority.close());

  function ask(questions: readonly Question[], headers = SECURITY) {
    const frames = questions.map((messageRequest) => {
      return framed(toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, { messageRequest })));
    });
    const call = { path: PATH, body: Buffer.concat(frames), headers };
    return callRaw(authority.socketFor("web"), call, (bytes) => fromBinary(ServerReflectionResponseSchema, bytes)).end;
  }

  async function answers(...questions: Question[]) {
    const { status, messages } = await ask(questions);
    assert.equal(status, 0);
    assert.equal(messages.length, questions.length);
    return messages.map(({ messageResponse }) => messageResponse);
  }

  it("[WE-22] lists the services", async () => {
    const [list] = await answers({ case: "listServices", value: "" });
    assert.ok(list?.case === "listServicesResponse");
    const names = list.value.service.map(({ name }) => name);
    assert.deepEqual(names, ["SpiffeWorkloadAPI", "grpc.reflection.v1.ServerReflection"]);
  });

  it("[WE-22] [WL-03] gives a client all that it needs to make a call", async () => {
    for (const symbol of ["SpiffeWorkloadAPI", "SpiffeWorkloadAPI.FetchX509SVID", "X509SVID", "X509SVID.spiffe_id"]) {
      const [answer] = await answers({ case: "fileContainingSymbol", value: symbol });
      assert.ok(answer?.case === "fileDescriptorResponse", symbol);
      const file = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: file.reverse() }));
      const methods = registry.getService("SpiffeWorkloadAPI")?.methods.map(({ name }) => name);
      assert.equal(methods?.length, 7);
      assert.ok(methods.includes("FetchX509SVID"));
      assert.equal(registry.getMessage("X509SVID")?.fields.length, 5);
    }
  });

  it("answers each question in its turn, also those it has nothing for", async () => {
    const [file, none, member, extension, numbers] = await answers(
      { case: "fileByFilename", value: "google/protobuf/struct.proto" },
      { case: "fileByFilename", value: "../../etc/passwd" },
      { case: "fileContainingSymbol", value: "SpiffeWorkloadAPI.FetchSecrets" },
      { case: "fileContainingExtension", value: { containingType: "X509SVID", extensionNumber: 1 } },
      { case: "allExtensionNumbersOfType", value: "X509SVID" },
    );
    assert.equal(file?.case, "fileDescriptorResponse");
    for (const refused of [none, member, extension]) {
      assert.ok(refused?.case === "errorResponse" && refused.value.errorCode === NOT_FOUND);
    }
    assert.equal(numbers?.case, "allExtensionNumbersResponse");
  });

  it("[WE-06] wants the metadata of the Workload API as well", async () => {
    assert.equal((await ask([{ case: "listServices", value: "" }], {})).status, 3);
    assert.equal((await ask([{ case: "listServices", value: "" }])).status, 0);
  });
});
