package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// authorizer welcomes one ID, or every member of the trust domain of an ID without a path.
func authorizer(text string) (tlsconfig.Authorizer, error) {
	id, err := spiffeid.FromString(text)
	if err != nil {
		return nil, err
	}
	if id.Path() == "" {
		return tlsconfig.AuthorizeMemberOf(id.TrustDomain()), nil
	}
	return tlsconfig.AuthorizeID(id), nil
}

// serve answers over mTLS. It prints "PORT <port>", and unless told to be quiet "HANDLED <path> <protocol> <peer>" for
// each request and "REFUSED <why>" for each handshake that failed. It ends on SIGTERM.
func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	peer := flags.String("peer", "", "who may call: a SPIFFE ID, or a trust domain's")
	quiet := flags.Bool("quiet", false, "print the port only")
	_ = flags.Parse(args)
	authorize, err := authorizer(*peer)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	refused := log.New(os.Stdout, "REFUSED ", 0)
	if *quiet {
		refused.SetOutput(io.Discard)
	}
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          refused,
		TLSConfig:         tlsconfig.MTLSServerConfig(source, source, authorize),
		Handler: http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
			id := request.TLS.PeerCertificates[0].URIs[0].String()
			if !*quiet {
				fmt.Printf("HANDLED %s %s %s\n", request.URL.Path, request.Proto, id)
			}
			fmt.Fprintf(response, "for %s", id)
		}),
	}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Printf("PORT %d\n", listener.Addr().(*net.TCPAddr).Port)
	if err := server.ServeTLS(listener, "", ""); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// answers is what get prints.
type answers struct {
	// Bodies of answers with status 200.
	Bodies    []string `json:"bodies"`
	Protocols []string `json:"protocols"`
	Errors    []string `json:"errors"`
}

// get sends requests over mTLS, each on a connection of its own, and prints what came back.
func get(args []string) error {
	flags := flag.NewFlagSet("get", flag.ExitOnError)
	url := flags.String("url", "", "where to")
	peer := flags.String("peer", "", "who must answer: a SPIFFE ID, or a trust domain's")
	requests := flags.Int("requests", 1, "how many")
	http2 := flags.Bool("http2", false, "HTTP/2")
	_ = flags.Parse(args)
	authorize, err := authorizer(*peer)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	seen := answers{[]string{}, []string{}, []string{}}
	for range *requests {
		transport := &http.Transport{
			TLSClientConfig:   tlsconfig.MTLSClientConfig(source, source, authorize),
			ForceAttemptHTTP2: *http2,
		}
		client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
		response, err := client.Get(*url)
		if err != nil {
			seen.Errors = append(seen.Errors, err.Error())
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		transport.CloseIdleConnections()
		if err != nil || response.StatusCode != http.StatusOK {
			seen.Errors = append(seen.Errors, fmt.Sprintf("status %d: %v", response.StatusCode, err))
			continue
		}
		seen.Bodies = append(seen.Bodies, string(body))
		seen.Protocols = append(seen.Protocols, response.Proto)
	}
	return json.NewEncoder(os.Stdout).Encode(seen)
}
