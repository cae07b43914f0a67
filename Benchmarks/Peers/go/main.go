// Drives groupcache or fastcache with the workload of the other side.
//
//	go-peer groupcache|fastcache KEYS VALUE_BYTES ROOM SEQUENCE_FILE...
//
// Fills the cache, prints a line, then answers each line "get|view|set THREADS SECONDS" of standard input with one JSON object. A thread
// goes through its sequence file (32-bit little-endian key numbers) with key strings of its own, on a core of its own.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/golang/groupcache"
)

const batch = 1024

type system interface {
	// batch runs one operation per key number and returns how many found nothing.
	batch(operation string, keys []string, numbers []uint32, buffer []byte) int
}

type groupcacheSystem struct{ group *groupcache.Group }

func newGroupcache(room int, value []byte) *groupcacheSystem {
	return &groupcacheSystem{groupcache.NewGroup("bench", int64(room)*int64(17+len(value)), groupcache.GetterFunc(
		func(_ context.Context, _ string, sink groupcache.Sink) error { return sink.SetBytes(value) }))}
}

func (s *groupcacheSystem) batch(operation string, keys []string, numbers []uint32, buffer []byte) int {
	misses := 0
	if operation == "view" { // no copy
		var view groupcache.ByteView
		sink := groupcache.ByteViewSink(&view)
		for _, number := range numbers {
			if s.group.Get(context.Background(), keys[number], sink) != nil || view.At(0) == 0 {
				misses++
			}
		}
		return misses
	}
	for _, number := range numbers {
		destination := buffer
		if s.group.Get(context.Background(), keys[number], groupcache.TruncatingByteSliceSink(&destination)) != nil || destination[0] == 0 {
			misses++
		}
	}
	return misses
}

type fastcacheSystem struct {
	cache *fastcache.Cache
	value []byte
}

func (s *fastcacheSystem) batch(operation string, keys []string, numbers []uint32, buffer []byte) int {
	misses := 0
	if operation == "set" {
		for _, number := range numbers {
			s.cache.Set(bytes(keys[number]), s.value)
		}
		return 0
	}
	for _, number := range numbers {
		if len(s.cache.Get(buffer[:0], bytes(keys[number]))) == 0 {
			misses++
		}
	}
	return misses
}

// bytes is the string's memory without a copy.
func bytes(text string) []byte { return unsafe.Slice(*(**byte)(unsafe.Pointer(&text)), len(text)) }

func main() {
	keyCount, valueBytes, room := number(os.Args[2]), number(os.Args[3]), number(os.Args[4])
	sequences := [][]uint32{}
	keys := [][]string{}
	for _, path := range os.Args[5:] {
		sequences = append(sequences, readSequence(path))
		keys = append(keys, newKeys(keyCount))
	}
	value := make([]byte, valueBytes)
	for index := range value {
		value[index] = 'x'
	}
	var cache system
	if os.Args[1] == "groupcache" {
		cache = newGroupcache(room, value)
	} else {
		if room >= keyCount {
			room *= 2 // its 512 parts are not filled evenly, and all keys must stay
		}
		cache = &fastcacheSystem{fastcache.New(room * (17 + valueBytes + 4)), value}
	}
	all := make([]uint32, keyCount)
	for index := range all {
		all[index] = uint32(index)
	}
	fill := "set"
	if os.Args[1] == "groupcache" {
		fill = "view"
	}
	cache.batch(fill, newKeys(keyCount), all, nil) // strings that no thread asks with: equal addresses would compare faster
	runtime.GC()
	fmt.Println("ready")

	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var operation string
		var threads int
		var seconds float64
		if _, err := fmt.Sscan(input.Text(), &operation, &threads, &seconds); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		result := run(cache, operation, threads, seconds, keys, sequences, valueBytes)
		line, _ := json.Marshal(result)
		fmt.Println(string(line))
	}
}

// Result has nanoseconds per operation of each thread, by the wall's clock and by the thread's.
type Result struct {
	Nanoseconds []float64 `json:"nanoseconds"`
	Used        []float64 `json:"used"`
	Operations  int       `json:"operations"`
	Misses      int       `json:"misses"`
}

var positions [16]int // where the thread goes on in its sequence

func run(cache system, operation string, threads int, seconds float64, keys [][]string, sequences [][]uint32, valueBytes int) Result {
	result := Result{Nanoseconds: make([]float64, threads), Used: make([]float64, threads)}
	var ready, done sync.WaitGroup
	var lock sync.Mutex
	start := make(chan struct{})
	for thread := 0; thread < threads; thread++ {
		ready.Add(1)
		done.Add(1)
		go func(thread int) {
			defer done.Done()
			runtime.LockOSThread() // and never unlock: the pinned thread ends with its goroutine
			pin((runtime.NumCPU() - 1 - thread%runtime.NumCPU()))
			buffer := make([]byte, valueBytes)
			numbers, position, operations, misses := sequences[thread], positions[thread], 0, 0
			ready.Done()
			<-start
			begin, beginUsed := time.Now(), used()
			for time.Since(begin).Seconds() < seconds {
				if position+batch > len(numbers) {
					position = 0
				}
				misses += cache.batch(operation, keys[thread], numbers[position:position+batch], buffer)
				position += batch
				operations += batch
			}
			elapsed, elapsedUsed := time.Since(begin), used()-beginUsed
			positions[thread] = position
			lock.Lock()
			result.Nanoseconds[thread] = float64(elapsed.Nanoseconds()) / float64(operations)
			result.Used[thread] = float64(elapsedUsed) / float64(operations)
			result.Operations += operations
			result.Misses += misses
			lock.Unlock()
		}(thread)
	}
	ready.Wait()
	close(start)
	done.Wait()
	return result
}

func newKeys(count int) []string {
	keys := make([]string, count)
	for index := range keys {
		keys[index] = fmt.Sprintf("key:%013d", index)
	}
	return keys
}

func pin(core int) {
	var mask [16]uint64
	mask[core/64] = 1 << (core % 64)
	syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
}

// used is the CPU time of the calling thread in nanoseconds.
func used() int64 {
	const threadClock = 3 // CLOCK_THREAD_CPUTIME_ID
	var time syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, threadClock, uintptr(unsafe.Pointer(&time)), 0)
	return time.Nano()
}

func readSequence(path string) []uint32 {
	data, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	numbers := make([]uint32, len(data)/4)
	for index := range numbers {
		numbers[index] = binary.LittleEndian.Uint32(data[index*4:])
	}
	return numbers
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}
