package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// loadJob is what the load generator is told: bench/load.ts knows the same fields.
type loadJob struct {
	Port   int    `json:"port"`
	Path   string `json:"path"`
	Leaves []struct {
		Cert string `json:"cert"`
		Key  string `json:"key"`
	} `json:"leaves"`
	Connections int    `json:"connections"`
	Requests    int    `json:"requests"`
	Warmup      int    `json:"warmup"`
	Out         string `json:"out"`
}

// loadResult is what it hands back, in microseconds. Status 0 is a connection that was closed without an answer.
type loadResult struct {
	Latencies []float64      `json:"latencies"`
	Slices    []float64      `json:"slices"`
	Statuses  map[string]int `json:"statuses"`
}

const slice = 200
const patience = 20 * time.Second

// How many connections are opened at a time to be held.
const holders = 4

func readJob(file string) (loadJob, []*tls.Config, error) {
	var job loadJob
	content, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(content, &job)
	}
	if err != nil {
		return job, nil, err
	}
	configs := make([]*tls.Config, len(job.Leaves))
	for i, leaf := range job.Leaves {
		pair, err := tls.X509KeyPair([]byte(leaf.Cert), []byte(leaf.Key))
		if err != nil {
			return job, nil, err
		}
		configs[i] = &tls.Config{
			// Whatever authorities the server names: it has to judge this certificate.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
			NextProtos:           []string{"http/1.1"},
			// The server is what is measured: it judges the client, and is not judged.
			InsecureSkipVerify: true,
			// The same key exchange with every stack.
			CurvePreferences: []tls.CurveID{tls.X25519},
		}
	}
	return job, configs, nil
}

func open(job loadJob, config *tls.Config) (*tls.Conn, error) {
	tcp, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", job.Port), patience)
	if err != nil {
		return nil, err
	}
	_ = tcp.SetDeadline(time.Now().Add(patience))
	return tls.Client(tcp, config), nil
}

// request sends one request and gives the status, 0 where the peer closed instead of answering.
func request(connection *tls.Conn, job loadJob, header string) (int, error) {
	_, err := fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n%s\r\n", job.Path, job.Port, header)
	if err != nil {
		return closed(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return closed(err)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func closed(err error) (int, error) {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return 0, err
	}
	return 0, nil
}

// load opens a connection for each request, as many at a time as the job says, and writes the result.
func load(args []string) error {
	job, configs, err := readJob(args[0])
	if err != nil {
		return err
	}
	if _, err := runLoad(job, configs, job.Warmup); err != nil {
		return err
	}
	result, err := runLoad(job, configs, job.Requests)
	if err != nil {
		return err
	}
	content, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return os.WriteFile(job.Out, content, 0o600)
}

func runLoad(job loadJob, configs []*tls.Config, requests int) (loadResult, error) {
	result := loadResult{[]float64{}, []float64{}, map[string]int{}}
	var failed error
	var lock sync.Mutex
	next := 0
	sliceStart := time.Now()
	take := func() (int, bool) {
		lock.Lock()
		defer lock.Unlock()
		next++
		return next - 1, next <= requests && failed == nil
	}
	finished := func(start time.Time, status int, err error) {
		lock.Lock()
		defer lock.Unlock()
		if err != nil {
			failed = err
			return
		}
		end := time.Now()
		result.Latencies = append(result.Latencies, float64(end.Sub(start).Nanoseconds())/1000)
		result.Statuses[fmt.Sprint(status)]++
		if len(result.Latencies)%slice == 0 {
			result.Slices = append(result.Slices, float64(end.Sub(sliceStart).Nanoseconds())/1000/slice)
			sliceStart = end
		}
	}
	var workers sync.WaitGroup
	for range job.Connections {
		workers.Go(func() {
			for {
				i, more := take()
				if !more {
					return
				}
				start := time.Now()
				connection, err := open(job, configs[i%len(configs)])
				status := 0
				if err == nil {
					status, err = request(connection, job, "connection: close\r\n")
					_ = connection.Close()
				}
				finished(start, status, err)
			}
		})
	}
	workers.Wait()
	return result, failed
}

// hold opens connections, sends one request on each, prints "PORT <n>" with their number, and keeps them until SIGTERM.
// Then it sends one more request on each and prints "ALIVE <n>", how many were answered.
func hold(args []string) error {
	job, configs, err := readJob(args[0])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	held := make([]*tls.Conn, job.Requests)
	errs := make([]error, job.Requests)
	var workers sync.WaitGroup
	for first := range holders {
		workers.Go(func() {
			for i := first; i < job.Requests; i += holders {
				held[i], errs[i] = open(job, configs[i%len(configs)])
				if errs[i] == nil {
					errs[i] = asked(held[i], job)
				}
			}
		})
	}
	workers.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("PORT %d\n", len(held))
	<-ctx.Done()
	alive := 0
	for _, connection := range held {
		_ = connection.SetDeadline(time.Now().Add(patience))
		if asked(connection, job) == nil {
			alive++
		}
		_ = connection.Close()
	}
	fmt.Printf("ALIVE %d\n", alive)
	return nil
}

func asked(connection *tls.Conn, job loadJob) error {
	status, err := request(connection, job, "")
	if err == nil && status != http.StatusOK {
		return fmt.Errorf("status %d", status)
	}
	return err
}
