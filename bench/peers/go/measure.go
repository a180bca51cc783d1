package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

type fixtures struct {
	TrustDomain string   `json:"trustDomain"`
	Audience    string   `json:"audience"`
	IDs         []string `json:"ids"`
	X509        []struct {
		Name   string     `json:"name"`
		Bundle []byte     `json:"bundle"`
		Chains [][][]byte `json:"chains"`
	} `json:"x509"`
	JWT []struct {
		Name   string          `json:"name"`
		JWKS   json.RawMessage `json:"jwks"`
		Tokens []string        `json:"tokens"`
	} `json:"jwt"`
}

// count runs check over every distinct input once and counts its verdicts.
func count(inputs int, check func(i int) error) Verdicts {
	var verdicts Verdicts
	for i := range inputs {
		if check(i) == nil {
			verdicts.Accepted++
		} else {
			verdicts.Refused++
		}
	}
	return verdicts
}

func measure(args []string) error {
	flags := flag.NewFlagSet("measure", flag.ExitOnError)
	file := flags.String("fixtures", "", "the prepared inputs")
	subjects := flags.String("subjects", "id,x509,jwt", "which to measure")
	samples := flags.Int("samples", 1000, "measurements per row")
	_ = flags.Parse(args)
	content, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	var prepared fixtures
	if err := json.NewDecoder(bytes.NewReader(content)).Decode(&prepared); err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	td, err := spiffeid.TrustDomainFromString(prepared.TrustDomain)
	if err != nil {
		return err
	}
	result := Result{Verdicts: map[string]Verdicts{}}
	add := func(subject, name string, inputs, batch int, check func(i int) error) {
		result.Verdicts[subject+" "+name] = count(inputs, check)
		times := sample(*samples, batch, func(i int) { _ = check(i % inputs) })
		result.Rows = append(result.Rows, row(subject, name, times))
	}
	chains := func(subject string) error {
		for _, set := range prepared.X509 {
			roots, err := x509.ParseCertificates(set.Bundle)
			if err != nil {
				return err
			}
			bundle := x509bundle.FromX509Authorities(td, roots)
			add(subject, set.Name, len(set.Chains), 1, func(i int) error {
				_, _, err := x509svid.ParseAndVerify(set.Chains[i], bundle)
				return err
			})
			if subject == "x509" && set.Name == "chain P-256" {
				// Parsing judges no signature, so there are no verdicts to compare.
				times := sample(*samples, 10, func(i int) { _, _ = x509.ParseCertificate(set.Chains[i%len(set.Chains)][0]) })
				result.Rows = append(result.Rows, row("x509", "parse", times))
			}
		}
		return nil
	}
	tokens := func(subject string) error {
		for _, set := range prepared.JWT {
			bundle, err := jwtbundle.Parse(td, set.JWKS)
			if err != nil {
				return err
			}
			audience := []string{prepared.Audience}
			add(subject, set.Name, len(set.Tokens), 1, func(i int) error {
				_, err := jwtsvid.ParseAndValidate(set.Tokens[i], bundle, audience)
				return err
			})
		}
		return nil
	}
	for _, subject := range strings.Split(*subjects, ",") {
		var err error
		switch subject {
		case "id":
			add("id", "parse", len(prepared.IDs), 100, func(i int) error {
				_, err := spiffeid.FromString(prepared.IDs[i])
				return err
			})
		case "x509":
			err = chains(subject)
		case "jwt":
			err = tokens(subject)
		case "crypto":
			if err = tokens(subject); err == nil {
				err = chains(subject)
			}
		default:
			err = fmt.Errorf("expected a subject of id, x509, jwt, crypto; got %q", subject)
		}
		if err != nil {
			return err
		}
	}
	return print(result)
}
