// Command peers does in Go, with go-spiffe, the work that the benches of this project measure in TypeScript.
//
//	peers measure -fixtures FILE -subjects id,x509,jwt,crypto -samples N   verification of prepared inputs
//	peers workload -samples N                                       Workload API calls (SPIFFE_ENDPOINT_SOCKET)
//	peers cold                                                      fetches and prints an ID
//	peers proxy -upstream URL                                       an mTLS reverse proxy; prints its port
//	peers judge                                                     verifies what the Workload API hands out; prints IDs
//	peers serve -peer ID                                            an mTLS server; prints its port and what it handled
//	peers get -url URL -peer ID                                     requests over mTLS; prints the answers
//	peers load JOB                                                  a load of new connections, for bench/tls.ts
//	peers hold JOB                                                  connections that stay open, for bench/tls.ts
//	peers bearers JOB                                               a load of requests with tokens, for bench/tokens.ts
//
// measure and workload print one JSON object: rows as the bench file has them, and verdict counts.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"time"
)

// Row is one line of the bench file.
type Row struct {
	Subject string  `json:"subject"`
	Name    string  `json:"name"`
	Stack   string  `json:"stack"`
	Runtime string  `json:"runtime"`
	Unit    string  `json:"unit"`
	N       int     `json:"n"`
	Min     float64 `json:"min"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Best    float64 `json:"best"`
}

// Verdicts counts what was accepted and refused among the distinct inputs of a row.
type Verdicts struct {
	Accepted int `json:"accepted"`
	Refused  int `json:"refused"`
}

// Result is what a command prints.
type Result struct {
	Rows     []Row               `json:"rows"`
	Verdicts map[string]Verdicts `json:"verdicts"`
}

func row(subject, name string, samples []float64) Row {
	sorted := append([]float64(nil), samples...)
	sort.Float64s(sorted)
	at := func(q float64) float64 {
		index := int(q*float64(len(sorted))+0.999999) - 1
		return sorted[max(0, min(len(sorted)-1, index))]
	}
	return Row{subject, name, "go-spiffe", "go", "us", len(sorted), sorted[0], at(0.5), at(0.99), leastMedian(samples)}
}

// leastMedian is the least median of five runs, which are the samples in the order they were taken in.
func leastMedian(samples []float64) float64 {
	size := (len(samples) + 4) / 5
	least := math.Inf(1)
	for start := 0; start+size <= len(samples); start += size {
		run := append([]float64(nil), samples[start:start+size]...)
		sort.Float64s(run)
		least = min(least, run[max(0, (size+1)/2-1)])
	}
	return least
}

// sample runs op once per sample and returns microseconds; a batch above one is divided by its size.
func sample(samples, batch int, op func(i int)) []float64 {
	for i := range min(samples*batch, 2000) {
		op(i)
	}
	out := make([]float64, 0, samples)
	next := 0
	for range samples {
		start := time.Now()
		for range batch {
			op(next)
			next++
		}
		out = append(out, float64(time.Since(start).Nanoseconds())/1000/float64(batch))
	}
	return out
}

func main() {
	commands := map[string]func([]string) error{"measure": measure, "workload": workload, "cold": cold, "proxy": proxy, "judge": judge,
		"serve": serve, "get": get, "load": load, "hold": hold, "bearers": bearers}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "peers: expected measure, workload, cold, proxy, judge, serve, get, load, hold or bearers")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func print(result Result) error {
	return json.NewEncoder(os.Stdout).Encode(result)
}
