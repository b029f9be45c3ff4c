package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
)

const (
	helloEnv  = "ISTHMUS_BENCH_HELLO" // a ClientHello in base64, for the load's client
	handshake = 0x16                  // first byte of a TLS record that holds one (RFC 8446 5.1)
)

// helloKey carries a ClientHello to the halves of the load.
type helloKey struct{}

// withHello has each connection of the load begin with a real ClientHello for the name.
func withHello(ctx context.Context, name string) (context.Context, error) {
	hello, err := clientHello(ctx, name)
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, helloKey{}, base64.StdEncoding.EncodeToString(hello)), nil
}

// clientHello is what crypto/tls sends first.
func clientHello(ctx context.Context, name string) ([]byte, error) {
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		_ = tls.Client(far, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, NextProtos: []string{"mqtt"}}).HandshakeContext(ctx)
		far.Close()
	}()
	var head [5]byte
	if _, err := io.ReadFull(near, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(near, body); err != nil {
		return nil, err
	}
	return append(head[:], body...), nil
}

var ownHello = sync.OnceValue(func() []byte { //nolint:gochecknoglobals // read once from the environment
	b, _ := base64.StdEncoding.DecodeString(os.Getenv(helloEnv))
	return b
})

// opening is the first write of a connection.
func opening(kind ...byte) []byte {
	return append(ownHello()[:len(ownHello()):len(ownHello())], kind...)
}

// skipHello reads the rest of a record whose first byte was read.
func skipHello(r io.Reader) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint16(head[2:]))
	if got, err := io.CopyN(io.Discard, r, n); err != nil || got != n {
		return errors.Join(err, io.ErrUnexpectedEOF)
	}
	return nil
}
