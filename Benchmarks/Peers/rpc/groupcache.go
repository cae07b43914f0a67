package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/golang/groupcache"
)

const room = 1 << 30

func newGroup(bytes int64, value []byte) *groupcache.Group {
	return groupcache.NewGroup("bench", bytes, groupcache.GetterFunc(
		func(_ context.Context, _ string, sink groupcache.Sink) error { return sink.SetBytes(value) }))
}

func serveGroupcache(valueBytes int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	url := "http://" + listener.Addr().String()
	groupcache.NewHTTPPool(url) // registers itself
	newGroup(room, bytes.Repeat([]byte("x"), valueBytes))
	fmt.Println(url)
	go func() { fail(http.Serve(listener, nil)) }()
}

type groupcacheClient struct {
	group *groupcache.Group
	names []string
}

// newGroupcache is a peer that keeps nothing, so that each get of another peer's key is one request.
func newGroupcache(urls []string, keys, valueBytes int) system {
	self := "http://127.0.0.1:1" // nobody calls it
	pool := groupcache.NewHTTPPool(self)
	pool.Set(append(urls, self)...)
	// By default Go keeps two idle connections to a host, and would dial for nearly every request of 50 callers.
	transport := &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 2048}
	pool.Transport = func(context.Context) http.RoundTripper { return transport }
	cache := &groupcacheClient{group: newGroup(0, bytes.Repeat([]byte("x"), valueBytes))}
	for index := 0; len(cache.names) < keys; index++ {
		if _, isOther := pool.PickPeer(name(index)); isOther {
			cache.names = append(cache.names, name(index))
		}
	}
	return cache
}

func (cache *groupcacheClient) keys() []string { return cache.names }

// caller gets; groupcache can neither set nor remove.
func (cache *groupcacheClient) caller() (func(operation, key string) error, error) {
	return func(_, key string) error {
		var value []byte
		return cache.group.Get(context.Background(), key, groupcache.AllocatingByteSliceSink(&value))
	}, nil
}
