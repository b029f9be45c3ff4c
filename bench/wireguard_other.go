//go:build !linux

package main

import (
	"context"
	"errors"
)

type wireguard struct{}

func (wireguard) name() string    { return "wireguard-go" }
func (wireguard) needs() []string { return []string{"linux"} }
func (wireguard) start(context.Context, string, *processes) (way, error) {
	return way{}, errors.New("only on Linux")
}
