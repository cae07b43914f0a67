// Calls memcached, or groupcache over HTTP, as peercache-bench calls a peer.
//
//	rpc-load memcached PORT KEYS VALUE_BYTES
//	rpc-load groupcache-peer VALUE_BYTES
//	rpc-load groupcache URL,URL KEYS VALUE_BYTES
//
// A groupcache-peer prints its URL and serves. The others fill the cache, print a line, then answer each line
// "get|set|remove CALLERS SECONDS" of standard input with one JSON object. All end when standard input closes.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A system makes callers. A caller is used by one goroutine and does one operation on one key.
type system interface {
	caller() (func(operation, key string) error, error)
	keys() []string
}

func main() {
	switch os.Args[1] {
	case "groupcache-peer":
		serveGroupcache(number(os.Args[2]))
		io.Copy(io.Discard, os.Stdin)
	case "memcached":
		repeat(newMemcached(os.Args[2], number(os.Args[3]), number(os.Args[4])))
	case "groupcache":
		repeat(newGroupcache(strings.Split(os.Args[2], ","), number(os.Args[3]), number(os.Args[4])))
	default:
		fail(fmt.Errorf("unknown system %s", os.Args[1]))
	}
}

func repeat(cache system) {
	call, err := cache.caller()
	fail(err)
	for _, key := range cache.keys() {
		fail(call("fill", key))
	}
	fmt.Println("ready")
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var operation string
		var callers int
		var seconds float64
		_, err := fmt.Sscan(input.Text(), &operation, &callers, &seconds)
		fail(err)
		line, _ := json.Marshal(run(cache, operation, callers, seconds))
		if operation == "remove" {
			for _, key := range cache.keys() {
				fail(call("fill", key))
			}
		}
		// The last thing: whoever waits for it measures something else then.
		fmt.Println(string(line))
	}
}

// Result has operations per second, and microseconds.
type Result struct {
	Throughput float64 `json:"throughput"`
	P50        float64 `json:"p50"`
	P90        float64 `json:"p90"`
	P95        float64 `json:"p95"`
	P99        float64 `json:"p99"`
	P999       float64 `json:"p999"`
	Max        float64 `json:"max"`
}

func run(cache system, operation string, callers int, seconds float64) Result {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	times := make([][]int64, callers)
	for caller := range times {
		ready.Add(1)
		done.Add(1)
		go func(caller int) {
			defer done.Done()
			call, err := cache.caller()
			fail(err)
			keys, state := cache.keys(), uint64(caller+1)*0x9E3779B97F4A7C15
			ready.Done()
			<-start
			end := time.Now().Add(time.Duration(seconds * 1e9))
			for before := time.Now(); before.Before(end); {
				state ^= state << 13 // xorshift: cheap, and good enough to pick keys
				state ^= state >> 7
				state ^= state << 17
				fail(call(operation, keys[state%uint64(len(keys))]))
				now := time.Now()
				times[caller] = append(times[caller], now.Sub(before).Nanoseconds())
				before = now
			}
		}(caller)
	}
	ready.Wait()
	begin := time.Now()
	close(start)
	done.Wait()
	elapsed := time.Since(begin).Seconds()
	all := []int64{}
	for _, some := range times {
		all = append(all, some...)
	}
	sort.Slice(all, func(left, right int) bool { return all[left] < all[right] })
	microseconds := func(share float64) float64 {
		return float64(all[int(share*float64(len(all)-1))]) / 1000
	}
	return Result{
		float64(len(all)) / elapsed, microseconds(0.5), microseconds(0.9), microseconds(0.95), microseconds(0.99), microseconds(0.999),
		microseconds(1),
	}
}

// name is the key with a number, as long as those of redis-benchmark and of peercache-bench.
func name(index int) string { return fmt.Sprintf("key:%013d", index) }

func number(text string) int {
	value, err := strconv.Atoi(text)
	fail(err)
	return value
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
