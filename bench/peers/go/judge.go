package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// Judged is what go-spiffe makes of what a Workload API hands out.
type Judged struct {
	X509  []string `json:"x509"`
	JWT   []string `json:"jwt"`
	Agent string   `json:"agent"`
	// OtherBundle is the error for the same chain and an empty bundle, so that a yes means something.
	OtherBundle   string `json:"otherBundle"`
	OtherAudience string `json:"otherAudience"`
}

// judge verifies every SVID of a Workload API by go-spiffe's own rules.
func judge([]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	x509Context, err := client.FetchX509Context(ctx)
	if err != nil {
		return err
	}
	var judged Judged
	for _, svid := range x509Context.SVIDs {
		id, _, err := x509svid.Verify(svid.Certificates, x509Context.Bundles)
		if err != nil {
			return fmt.Errorf("x509 %s: %w", svid.ID, err)
		}
		judged.X509 = append(judged.X509, id.String())
		_, _, err = x509svid.Verify(svid.Certificates, x509bundle.New(id.TrustDomain()))
		judged.OtherBundle = fmt.Sprint(err)
	}
	bundles, err := client.FetchJWTBundles(ctx)
	if err != nil {
		return err
	}
	svids, err := client.FetchJWTSVIDs(ctx, jwtsvid.Params{Audience: "orders"})
	if err != nil {
		return err
	}
	var source jwtbundle.Source = bundles
	for _, svid := range svids {
		parsed, err := jwtsvid.ParseAndValidate(svid.Marshal(), source, []string{"orders"})
		if err != nil {
			return fmt.Errorf("jwt %s: %w", svid.ID, err)
		}
		judged.JWT = append(judged.JWT, parsed.ID.String())
		_, err = jwtsvid.ParseAndValidate(svid.Marshal(), source, []string{"reports"})
		judged.OtherAudience = fmt.Sprint(err)
	}
	byAgent, err := client.ValidateJWTSVID(ctx, svids[0].Marshal(), "orders")
	if err != nil {
		return err
	}
	judged.Agent = byAgent.ID.String()
	return json.NewEncoder(os.Stdout).Encode(judged)
}
