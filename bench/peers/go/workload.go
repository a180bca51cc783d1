package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// workload measures Workload API calls on one warm connection, after as many that are not measured.
func workload(args []string) error {
	flags := flag.NewFlagSet("workload", flag.ExitOnError)
	samples := flags.Int("samples", 300, "measurements per row")
	_ = flags.Parse(args)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	client, err := workloadapi.New(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	var failed error
	calls := []struct {
		name string
		call func(i int) error
	}{
		{"x509 fetch", func(int) error {
			_, err := client.FetchX509Context(ctx)
			return err
		}},
		{"jwt issue", func(i int) error {
			_, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: fmt.Sprintf("bench-%d-%d", time.Now().UnixNano(), i)})
			return err
		}},
		{"jwt cached", func(int) error {
			_, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "bench-cached"})
			return err
		}},
	}
	result := Result{Verdicts: map[string]Verdicts{}}
	for _, one := range calls {
		for i := range *samples {
			if err := one.call(-i); err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
		}
		times := make([]float64, 0, *samples)
		for i := range *samples {
			start := time.Now()
			if err := one.call(i); err != nil {
				failed = err
			}
			times = append(times, float64(time.Since(start).Nanoseconds())/1000)
		}
		if failed != nil {
			return fmt.Errorf("%s: %w", one.name, failed)
		}
		result.Rows = append(result.Rows, row("workload", one.name, times))
	}
	return print(result)
}

// cold prints the SPIFFE ID of its X.509-SVID: what a fresh process takes for that is measured from outside.
func cold([]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	x509, err := client.FetchX509Context(ctx)
	if err != nil {
		return err
	}
	fmt.Println(x509.DefaultSVID().ID)
	return nil
}
