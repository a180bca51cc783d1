package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// proxy is an mTLS reverse proxy of net/http and go-spiffe: any member of the trust domain may call, the upstream
// learns the caller's SPIFFE ID in x-spiffe-id. It prints "PORT <port>" when it serves and ends on SIGTERM.
func proxy(args []string) error {
	flags := flag.NewFlagSet("proxy", flag.ExitOnError)
	upstream := flags.String("upstream", "", "plain HTTP URL of the upstream")
	domain := flags.String("trust-domain", "", "whose members may call")
	_ = flags.Parse(args)
	target, err := url.Parse(*upstream)
	if err != nil {
		return err
	}
	td, err := spiffeid.TrustDomainFromString(*domain)
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
	handler := &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 256},
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
			request.Out.Header.Del("x-spiffe-id")
			if state := request.In.TLS; state != nil && len(state.PeerCertificates) > 0 && len(state.PeerCertificates[0].URIs) > 0 {
				request.Out.Header.Set("x-spiffe-id", state.PeerCertificates[0].URIs[0].String())
			}
		},
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		TLSConfig:         tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeMemberOf(td)),
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
