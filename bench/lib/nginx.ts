/** nginx with client certificates as a peer: one worker, kept connections to the upstream, an access log. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../test/support/ports.ts";
import { type Serving, startServing } from "./serving.ts";

const PLACES = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];

/** Starts it in a folder with material in PEM; undefined where it is not installed. */
export async function startNginx(
  { ca, cert, key }: { ca: string; cert: string; key: string },
  upstream: string,
  folder: string,
): Promise<Serving | undefined> {
  const program = PLACES.find((place) => existsSync(place));
  if (program === undefined) return undefined;
  const port = await freePort();
  const file = (name: string, content: string) => {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const config = file(
    "nginx.conf",
    `worker_processes 1; pid ${join(folder, "nginx.pid")}; error_log stderr error;
events { worker_connections 1024; }
http {
  access_log ${join(folder, "nginx-access.log")};
  keepalive_requests 1000000000;
  client_body_temp_path ${join(folder, "body")}; proxy_temp_path ${join(folder, "proxy")};
  fastcgi_temp_path ${join(folder, "fastcgi")}; uwsgi_temp_path ${join(folder, "uwsgi")}; scgi_temp_path ${join(folder, "scgi")};
  upstream orders { server ${new URL(upstream).host}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${file("nginx-cert.pem", cert)}; ssl_certificate_key ${file("nginx-key.pem", key)};
    ssl_client_certificate ${file("nginx-ca.pem", ca)}; ssl_verify_client on; ssl_protocols TLSv1.3; ssl_session_tickets off;
    location / { proxy_pass http://orders; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header X-Client-Dn $ssl_client_s_dn; }
  }
}
`,
  );
  const start = `(sleep 0.7; echo PORT ${port}) & exec ${program} -c ${config} -g 'daemon off;'`;
  return startServing(["sh", ["-c", start]]);
}
