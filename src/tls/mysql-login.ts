/**
 * The login of MySQL and MariaDB under TLS that the driver does not do itself. The request for TLS takes a packet number
 * between greeting and login, of which the driver knows nothing: until the server has let it in or not, packets of the
 * driver are numbered one higher on the wire, and those of the server one lower for the driver.
 */
import { usage } from "../base/check-options.ts";

const HEADER_BYTES = 4;
/** Capabilities, packet size, character set and what MariaDB adds: with these both request and login begin. */
const CLIENT_BYTES = 32;
const PROTOCOL_10 = 10;
/** `CLIENT_SSL` and `CLIENT_PROTOCOL_41`, in the second byte of the capabilities. */
const SSL_BIT = 0x08;
const PROTOCOL_41_BIT = 0x02;
/** Capabilities, packet size and character set; what follows up to the name means nothing. */
const PLAIN_BYTES = 9;
/** `CLIENT_MYSQL`, in the first byte of the capabilities: without it MariaDB has more of them at the end of these bytes. */
const MYSQL_BIT = 0x01;
const MARIADB_BYTES = 4;
const OK = 0x00;
const ERR = 0xff;

/** Bytes of the packet that these begin, its header included; a header where not even that is there. */
export function mysqlPacketLength(bytes: Buffer): number {
  return HEADER_BYTES + (bytes.length < HEADER_BYTES ? 0 : bytes.readUIntLE(0, 3));
}

/** Whether the bytes are one greeting, of a server that has TLS switched on and takes the logins that are known here. */
export function mysqlGreetingOffersTls(bytes: Buffer): boolean {
  if (bytes.length !== mysqlPacketLength(bytes) || bytes[HEADER_BYTES] !== PROTOCOL_10) return false;
  // After the version: connection number, first part of the nonce, a zero; then the capabilities.
  const version = bytes.indexOf(0, HEADER_BYTES + 1);
  const wanted = SSL_BIT | PROTOCOL_41_BIT;
  return version > 0 && ((bytes[version + 1 + 4 + 8 + 1 + 1] ?? 0) & wanted) === wanted;
}

/**
 * The request for TLS that fits the login which a driver wants to send. It leaves in the clear, so nothing is in it but what a
 * login begins with: in any other form a name or a password might stand there, and in the bytes up to the name whatever was in
 * the driver's memory.
 */
export function mysqlSslRequest(login: Buffer): Buffer {
  const begin = login.subarray(HEADER_BYTES, HEADER_BYTES + CLIENT_BYTES);
  const isLogin =
    begin.length === CLIENT_BYTES &&
    login.length >= mysqlPacketLength(login) &&
    login[3] === 1 &&
    (begin[1]! & PROTOCOL_41_BIT) !== 0;
  if (!isLogin) throw usage("Expected the driver to log in to MySQL by protocol 4.1; it sent something else");
  const request = Buffer.alloc(HEADER_BYTES + CLIENT_BYTES);
  request.writeUIntLE(CLIENT_BYTES, 0, 3);
  request[3] = 1;
  begin.copy(request, HEADER_BYTES, 0, PLAIN_BYTES);
  const more = CLIENT_BYTES - MARIADB_BYTES;
  if ((begin[0]! & MYSQL_BIT) === 0) begin.copy(request, HEADER_BYTES + more, more);
  return withTls(request);
}

function withTls(packet: Buffer): Buffer {
  packet[HEADER_BYTES + 1]! |= SSL_BIT;
  return packet;
}

/** Renumbers the packets of one login. */
export class MysqlLogin {
  #over = false;
  #first = true;
  #ofServer: Buffer = Buffer.alloc(0);
  #ofClient: Buffer = Buffer.alloc(0);

  fromClient(chunk: Buffer): Buffer {
    if (this.#over) return chunk;
    const { packets, rest } = split(Buffer.concat([this.#ofClient, chunk]));
    this.#ofClient = rest;
    for (const packet of packets) {
      packet[3]! = (packet[3]! + 1) & 0xff;
      if (this.#first) withTls(packet);
      this.#first = false;
    }
    return Buffer.concat(packets);
  }

  fromServer(chunk: Buffer): Buffer {
    if (this.#over) return chunk;
    const { packets, rest } = split(Buffer.concat([this.#ofServer, chunk]));
    const out: Buffer[] = [];
    for (const packet of packets) {
      out.push(packet);
      if (this.#over) continue;
      packet[3]! = (packet[3]! - 1) & 0xff;
      this.#over = packet[HEADER_BYTES] === OK || packet[HEADER_BYTES] === ERR;
    }
    this.#ofServer = rest;
    if (this.#over) out.push(rest);
    return Buffer.concat(out);
  }
}

/** Whole packets, and what is left of one that has not come in whole. */
function split(bytes: Buffer): { packets: Buffer[]; rest: Buffer } {
  const packets: Buffer[] = [];
  let rest = bytes;
  while (rest.length >= HEADER_BYTES && rest.length >= mysqlPacketLength(rest)) {
    packets.push(rest.subarray(0, mysqlPacketLength(rest)));
    rest = rest.subarray(mysqlPacketLength(rest));
  }
  return { packets, rest };
}
