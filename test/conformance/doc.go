// Package conformance runs the unmodified Azure IoT SDKs for Node.js against a hub: what they send must arrive, and what they are
// answered must be what they expect. It holds tests only. They need node and the packages in package-lock.json, which `make deps`
// installs, and fail without them.
package conformance
