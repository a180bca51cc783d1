// A TLS 1.3 peer that presents one certificate and proves it with the key of another.
//
//	forger dial  ADDRESS CERT KEY     connects, sends a request with its Finished, prints what it reads
//	forger serve CERT KEY             listens, prints its port, counts the bytes it gets per connection
package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// forged says it has the certificate's key and signs with another.
type forged struct {
	crypto.Signer
	public crypto.PublicKey
}

func (f forged) Public() crypto.PublicKey { return f.public }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func certificate(certFile, keyFile string) tls.Certificate {
	var chain [][]byte
	rest := must(os.ReadFile(certFile))
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		chain = append(chain, block.Bytes)
	}
	block, _ := pem.Decode(must(os.ReadFile(keyFile)))
	key := must(x509.ParsePKCS8PrivateKey(block.Bytes)).(crypto.Signer)
	leaf := must(x509.ParseCertificate(chain[0]))
	return tls.Certificate{Certificate: chain, Leaf: leaf, PrivateKey: forged{key, leaf.PublicKey}}
}

func config(certFile, keyFile string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{certificate(certFile, keyFile)},
		InsecureSkipVerify: true,
		ClientAuth:         tls.RequestClientCert,
		NextProtos:         []string{"http/1.1"},
	}
}

func main() {
	switch os.Args[1] {
	case "dial":
		conn, err := tls.Dial("tcp", os.Args[2], config(os.Args[3], os.Args[4]))
		if err != nil {
			fmt.Println("handshake:", err)
			return
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(conn, "GET / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n")
		read, _ := io.ReadAll(conn)
		fmt.Printf("read: %q\n", read)
	case "serve":
		listener := must(net.Listen("tcp", "127.0.0.1:0"))
		fmt.Println(listener.Addr().(*net.TCPAddr).Port)
		settings := config(os.Args[2], os.Args[3])
		for {
			raw := must(listener.Accept())
			go func() {
				conn := tls.Server(raw, settings)
				read, _ := io.ReadAll(conn)
				fmt.Println("bytes", len(read))
				conn.Close()
			}()
		}
	}
}
