package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// bearersJob is a load of kept plaintext connections that show one token after another.
type bearersJob struct {
	Port        int      `json:"port"`
	Path        string   `json:"path"`
	Tokens      []string `json:"tokens"`
	Connections int      `json:"connections"`
	Requests    int      `json:"requests"`
	Warmup      int      `json:"warmup"`
	Out         string   `json:"out"`
}

// bearers sends the requests of a job, each connection one after another, and writes the result.
func bearers(args []string) error {
	var job bearersJob
	content, err := os.ReadFile(args[0])
	if err == nil {
		err = json.Unmarshal(content, &job)
	}
	if err != nil {
		return err
	}
	if _, err := runBearers(job, job.Warmup); err != nil {
		return err
	}
	result, err := runBearers(job, job.Requests)
	if err != nil {
		return err
	}
	content, err = json.Marshal(result)
	if err != nil {
		return err
	}
	return os.WriteFile(job.Out, content, 0o600)
}

func runBearers(job bearersJob, requests int) (loadResult, error) {
	result := loadResult{[]float64{}, []float64{}, map[string]int{}}
	texts := make([][]byte, len(job.Tokens))
	for i, token := range job.Tokens {
		texts[i] = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer %s\r\n\r\n", job.Path, job.Port, token)
	}
	var failed error
	var lock sync.Mutex
	var workers sync.WaitGroup
	sliceStart := time.Now()
	for first := range job.Connections {
		workers.Go(func() {
			connection, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", job.Port), patience)
			reader := (*bufio.Reader)(nil)
			if err == nil {
				defer connection.Close()
				_ = connection.SetDeadline(time.Now().Add(10 * patience))
				reader = bufio.NewReader(connection)
			}
			for i := first; i < requests && err == nil; i += job.Connections {
				start := time.Now()
				status := 0
				if status, err = bearer(connection, reader, texts[i%len(texts)]); err != nil {
					break
				}
				end := time.Now()
				lock.Lock()
				result.Latencies = append(result.Latencies, float64(end.Sub(start).Nanoseconds())/1000)
				result.Statuses[fmt.Sprint(status)]++
				if len(result.Latencies)%slice == 0 {
					result.Slices = append(result.Slices, float64(end.Sub(sliceStart).Nanoseconds())/1000/slice)
					sliceStart = end
				}
				lock.Unlock()
			}
			if err != nil {
				lock.Lock()
				failed = err
				lock.Unlock()
			}
		})
	}
	workers.Wait()
	return result, failed
}

func bearer(connection net.Conn, reader *bufio.Reader, text []byte) (int, error) {
	if _, err := connection.Write(text); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}
