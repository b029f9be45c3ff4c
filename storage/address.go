package storage

import (
	"net"
	"strings"
)

// PathStyle tells whether a host, with or without a port, is one at which clients put the account's name before the container's: an address,
// or the machine's own name.
func PathStyle(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return net.ParseIP(host) != nil || strings.EqualFold(host, "localhost")
}

// Endpoint is the address of the account for an SDK; port is the door's, empty for 443.
func (a *Account) Endpoint(port string) string {
	host := a.HostName()
	out := "https://" + host
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		out = "https://[" + host + "]"
	}
	if port != "" && port != "443" {
		out += ":" + port
	}
	if PathStyle(host) {
		out += "/" + a.AccountName()
	}
	return out
}
