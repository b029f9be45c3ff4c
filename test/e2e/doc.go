// Package e2e shows the private path as it is in the field: real processes in network namespaces that cannot reach each other, the
// unmodified npm SDK on the device, packets captured at the relay, processes killed under load. It needs Linux, root, ip, nft,
// tcpdump and node; `make deps` installs them.
package e2e
