package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
)

type memcached struct {
	port  string
	names []string
	value string
}

func newMemcached(port string, keys, valueBytes int) system {
	cache := &memcached{port: port, value: string(bytes.Repeat([]byte("x"), valueBytes))}
	for index := 0; index < keys; index++ {
		cache.names = append(cache.names, name(index))
	}
	return cache
}

func (cache *memcached) keys() []string { return cache.names }

// caller has a connection of its own, like a client of redis-benchmark.
func (cache *memcached) caller() (func(operation, key string) error, error) {
	connection, err := net.Dial("tcp", "127.0.0.1:"+cache.port)
	if err != nil {
		return nil, err
	}
	reader, request := bufio.NewReaderSize(connection, 16384), []byte{}
	return func(operation, key string) error {
		switch operation {
		case "get":
			request = fmt.Appendf(request[:0], "get %s\r\n", key)
		case "remove":
			request = fmt.Appendf(request[:0], "delete %s\r\n", key)
		default:
			request = fmt.Appendf(request[:0], "set %s 0 0 %d\r\n%s\r\n", key, len(cache.value), cache.value)
		}
		if _, err := connection.Write(request); err != nil {
			return err
		}
		line, err := reader.ReadSlice('\n')
		if err != nil || operation != "get" {
			return check(err, line, "STORED", "DELETED", "NOT_FOUND")
		}
		if err := check(nil, line, "VALUE"); err != nil {
			return err
		}
		if _, err = reader.Discard(len(cache.value) + 2); err != nil {
			return err
		}
		line, err = reader.ReadSlice('\n')
		return check(err, line, "END")
	}, nil
}

func check(err error, line []byte, wanted ...string) error {
	if err != nil {
		return err
	}
	for _, start := range wanted {
		if bytes.HasPrefix(line, []byte(start)) {
			return nil
		}
	}
	return fmt.Errorf("memcached answered %q", line)
}
